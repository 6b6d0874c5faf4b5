"""What a library is verified on: samples first, extremes among them where they say something."""

from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import Artifact
from pfir.compile.measuring.verification_inputs import (
    extremes,
    inputs_to_verify,
    is_steady,
    runs_to_verify,
    some_samples,
)
from pfir.data import open_data
from pfir.data.generated import Range, generated
from pfir.ir.shapes import fix_sizes
from pfir.run.session import Session
from pfir.target import FLOAT16, FLOAT32, Arithmetic, parse_target
from tests.support.jobs import small_net, write_data
from tests.support.kernels import of_macs
from tests.support.net import parsed


def _library(macs: int, arithmetic: Arithmetic = FLOAT32) -> Artifact:
    target = replace(parse_target("cortex-a76"), arithmetic=arithmetic)
    return Artifact("tvm", target, {}, "", (), (), (of_macs(macs),) * 2)


def test_a_library_is_verified_on_as_many_runs_as_do_not_take_long():
    large = (0, 10**6, 10**8, 10**10)
    assert [runs_to_verify(_library(macs)) for macs in large] == [8, 8, 5, 1]
    assert [runs_to_verify(_library(macs, FLOAT16)) for macs in large] == [16, 16, 10, 1]


def test_samples_repeat_where_the_data_is_shorter_than_the_batch(tmp_path):
    data = open_data(write_data(tmp_path, count=2), small_net().inputs())
    (only,) = some_samples(data, 5, 3)
    x = only["in0"]
    assert x.shape[0] == 5
    np.testing.assert_array_equal(x[[0, 1, 0, 1, 0]], x)


@pytest.mark.parametrize(("macs", "runs"), [(10**6, 8), (2 * 10**8, 2), (10**10, 1)])
def test_samples_come_first_and_extremes_among_them(macs, runs):
    model = fix_sizes(small_net(), 2)
    data = generated(model.inputs(), 40, 0, {"in0": Range(low=0.0, high=1.0)})
    found = [x["in0"] for x in inputs_to_verify(data, model, _library(macs))]
    assert len(found) == runs and all(x.shape == (2, 3, 16, 16) and x.dtype == np.float32 for x in found)
    np.testing.assert_array_equal(found[0], data.batch(np.arange(2))["in0"])
    seen = data.batch(np.arange(40))["in0"]
    if runs > 1:
        assert set(np.unique(found[1])) == {seen.min(), seen.max()}
    if runs > 3:
        assert not found[2].any() and set(np.unique(found[3])) == {seen.min(), seen.max()}
        np.testing.assert_array_equal(found[4], data.batch(np.arange(2, 4))["in0"])


def test_extremes_that_say_nothing_give_their_place_to_samples():
    model = parsed("g (float[1,4] x) => (int64[1,1] y) { y = ArgMax<axis = 1>(x) }")
    found = [x["x"] for x in inputs_to_verify(generated(model.inputs(), 40), model, _library(0))]
    assert len(found) == 8 and all(x.any() for x in found)


def test_float16_is_verified_on_samples_only():
    model = fix_sizes(small_net())
    data = generated(model.inputs(), 40, 0)
    found = inputs_to_verify(data, model, _library(0, FLOAT16))
    np.testing.assert_array_equal(np.concatenate([x["in0"] for x in found]), data.batch(np.arange(16))["in0"])


def test_integers_stay_within_what_samples_hold():
    specs = parsed("g (int64[1,50] t, float[1,2] x, bool[1,9] b) => (int64[1,50] y) { y = Identity(t) }").inputs()
    data = generated(specs, 20, 0, {"t": Range(low=2, high=9)})
    ends, zeros, others = extremes(data, data.batch(np.arange(1)))
    assert set(ends["t"].ravel()) == set(others["t"].ravel()) == {2, 9} and set(zeros["t"].ravel()) == {2}
    assert not zeros["x"].any() and (ends["t"] != others["t"]).all() and ends["b"].dtype == bool


def test_an_extreme_at_which_onnx_runtime_itself_wavers_says_nothing():
    divided = "g (float[1,4] x) => (float[1,4] y) { n = ReduceL2<axes = [1]>(x) y = Div(x, n) }"
    ranked = "g (float[1,4] x) => (int64[1,1] y) { y = ArgMax<axis = 1>(x) }"
    plain = "g (float[1,4] x) => (float[1,4] y) { y = Tanh(x) }"
    zeros, sample = np.zeros((1, 4), np.float32), np.array([[1.0, 2, 3, 4]], np.float32)
    for text, at_zero in ((divided, False), (ranked, False), (plain, True)):
        session = Session(parsed(text))
        answers = session.predict({"x": sample})
        assert [is_steady(session, {"x": x}, answers) for x in (zeros, sample)] == [at_zero, True]


def test_an_extreme_that_the_model_cannot_run_says_nothing():
    session = Session(
        parsed("g (int64[1,1] t) => (float[1,1,2] y) { y = Gather(table, t) }", table=np.ones((3, 2), np.float32))
    )
    answers = session.predict({"t": np.array([[0]])})
    assert [is_steady(session, {"t": np.array([[i]])}, answers) for i in (2, 5)] == [True, False]
