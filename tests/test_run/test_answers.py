"""Counts of right answers, and the bounds that they leave."""

import numpy as np
import pytest

from pfir.data import open_data
from pfir.run.answers import Answers, answers, bounds
from pfir.run.session import Session
from tests.support.net import Net


@pytest.mark.parametrize("count", [1, 10, 1000])
def test_bounds_hold_the_share_and_lie_in_0_to_1(count):
    for hits in {0, count // 2, count}:
        low, high = bounds(hits, count)
        assert -1e-12 <= low <= hits / count <= high + 1e-12 <= 1 + 1e-11


def test_more_samples_leave_less_doubt():
    widths = [high - low for low, high in (bounds(n // 2, n) for n in (10, 100, 1000))]
    assert widths == sorted(widths, reverse=True)


def test_chance_is_the_accuracy_of_answers_that_know_nothing():
    rng = np.random.default_rng(0)
    labels, given = rng.choice(3, 20000, p=[0.7, 0.2, 0.1]), rng.choice(3, 20000, p=[0.5, 0.5, 0])
    found = Answers(labels, given, 1.0, 3)
    assert found.chance == pytest.approx(0.7 * 0.5 + 0.2 * 0.5, abs=0.01)
    assert found.accuracy == pytest.approx(found.chance, abs=0.015)


def test_a_model_is_asked_about_each_part_and_labels_outside_are_left_out(tmp_path):
    net = Net(0)
    model = net.model((net.op("Identity", net.input("N", 3)),))
    np.savez(tmp_path / "d.npz", x=9 * np.eye(3, dtype=np.float32), y=[0, 1, 7])
    data = open_data(tmp_path / "d.npz", model.inputs())
    found = answers(Session(model), [(data, np.array([0])), (data, np.array([1, 2]))])
    assert (found.count, found.hits, found.classes) == (2, 2, 3) and found.confidence > 0.99
    turned = answers(Session(model), [(data, np.arange(3))], lambda feeds: {n: -x for n, x in feeds.items()})
    assert turned.hits == 0
