"""Criteria: what each is of, and which lose least."""

import numpy as np
import pytest

from pfir.passes.sparsity import criteria
from pfir.passes.sparsity.criteria import CRITERIA, MEASURED, magnitude, obc, reconstructed, sparsegpt, wanda
from pfir.passes.sparsity.task import Task
from tests.test_passes.test_sparsity.tasks import tasks


def inner(pattern="unstructured") -> Task:
    return tasks(pattern)[0]


@pytest.mark.parametrize("pattern", ["unstructured", "2:4", "1x4", "4x1", "channel-vectors"])
@pytest.mark.parametrize("name", CRITERIA)
def test_half_of_the_weights_goes(name, pattern):
    weight = CRITERIA[name](inner(pattern))(0.5)
    assert np.mean(weight == 0) == 0.5


@pytest.mark.parametrize("name", [*MEASURED, "movement"])
def test_where_nothing_is_known_it_goes_by_magnitude(name):
    blind = Task(inner().layer, inner().pattern)
    assert np.array_equal(CRITERIA[name](blind)(0.5), magnitude(blind)(0.5))
    assert np.array_equal(reconstructed(blind, magnitude(blind))(0.5), magnitude(blind)(0.5))


def test_those_that_make_up_for_what_goes_lose_less():
    task = inner()
    plain, seen, blocks, exact = (task.error(each(task)(0.6)) for each in (magnitude, wanda, sparsegpt, obc))
    assert exact < blocks < seen and blocks < plain
    assert task.error(reconstructed(task, magnitude(task))(0.6)) < plain


def test_movement_goes_by_what_moves():
    task = inner()
    moved = Task(task.layer, task.pattern, movement=-np.square(task.layer.rows))
    weight = CRITERIA["movement"](moved)(0.5)
    assert np.abs(weight[weight != 0]).max() <= np.abs(task.layer.weight[weight == 0]).min()


def test_large_layers_go_by_blocks(monkeypatch):
    task = inner()
    monkeypatch.setattr(criteria, "MOST_WORK", 1)
    assert np.array_equal(obc(task)(0.5) == 0, sparsegpt(task)(0.5) == 0)
    assert task.error(obc(task)(0.5)) < task.error(sparsegpt(task)(0.5))
