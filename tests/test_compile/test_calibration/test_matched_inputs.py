"""Generated inputs come nearer to the statistics that a model holds, and are moved for more of them."""

import numpy as np
import pytest

from pfir.compile.calibration import matched_inputs
from pfir.compile.calibration.matched_inputs import BATCH, LEAST, MOST, Matching, Moved
from pfir.data.generated import Range, generated
from pfir.ir.shapes import fix_sizes
from pfir.passes.batch_norm.match_statistics import ADDED, matching_graph
from pfir.train.steps import Steps
from tests.support.jobs import small_net
from tests.support.small_nets import after_conv
from tests.test_compile.test_selection.search_context import run_context


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(matched_inputs, "STEPS", 20)
    monkeypatch.setattr(matched_inputs, "MOST", LEAST)


@pytest.fixture
def data():
    return generated(fix_sizes(small_net()).inputs(), 40, 0)


def matching(model=None, budget_s=600.0):
    return Matching(fix_sizes(model or small_net()), budget_s)


def test_matched_inputs_are_nearer_and_within_the_range(data):
    found = matching().of(data, Range(low=-1.5, high=1.5))
    given = data.batch(np.arange(LEAST))["in0"]
    assert found.shape == given.shape and found.min() >= -1.5 - 1e-6 and found.max() <= 1.5 + 1e-6
    batch = {"in0": given[:BATCH]}
    steps = Steps(matching_graph(small_net(), BATCH), batch)
    nothing = {ADDED: np.zeros_like(given[:BATCH])}
    before, after = (steps(nothing, {"in0": np.clip(x[:BATCH], -1.5, 1.5)})[0] for x in (given, found))
    assert after < before


def test_a_model_without_statistics_or_time_has_none(data):
    plain = after_conv("Relu")
    assert matching(plain).of(generated(fix_sizes(plain).inputs(), 40, 0), Range()) is None
    assert matching(budget_s=1e-9).count == 0 and matching(budget_s=1e-9).of(data, Range()) is None
    assert matching().count == LEAST <= MOST


def test_a_few_samples_are_moved_to_make_more(data):
    samples = data.batch(np.arange(4))["in0"]
    more = Moved("in0", samples, 12, seed=1)
    indices = np.arange(12)
    first = more.batch(indices)["in0"]
    np.testing.assert_array_equal(first[:4], samples)
    assert not np.array_equal(first[4:8], samples) and len(more) == 12
    np.testing.assert_array_equal(more.batch(indices[6:])["in0"], first[6:])
    again = more.anew(1).batch(indices)["in0"]
    assert not np.array_equal(again[:4], samples) and more.anew(0) is more
    assert more.anew(1).fingerprint() != more.fingerprint()
    flat = Moved("x", np.ones((3, 5), np.float32), 7, seed=1)
    np.testing.assert_array_equal(flat.batch(np.arange(7))["x"], np.ones((7, 5)))


def test_a_run_without_data_calibrates_on_matched_inputs(model):
    samples = run_context(model, data=None).samples
    assert any("match the statistics" in note for note in samples.notes)
    assert isinstance(samples.calibration, Moved) and not isinstance(samples.scoring, Moved)
