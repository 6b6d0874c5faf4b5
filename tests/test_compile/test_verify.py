from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import Artifact, Kernel
from pfir.compile.verify import samples_to_verify, verify, verify_somewhere
from pfir.devices.base import Device
from pfir.errors import DeviceError, VerifyError
from pfir.target import FLOAT16, FLOAT32, parse_target

EXPECTED = {"y": np.array([[1.0, -2.0]], np.float32)}
CASES = [({}, EXPECTED)]


class Fake(Device):
    name = "fake"

    def __init__(self, outputs):
        self.outputs = outputs

    def measure(self, artifact):
        raise DeviceError("no clock")

    def run(self, artifact, inputs):
        return self.outputs


def test_equal_outputs_pass_with_their_error():
    found = verify(None, Fake({"y": EXPECTED["y"] + np.float32(1e-4)}), CASES)
    assert found.passed and found.device == "fake" and found.max_rel_error == pytest.approx(5e-5, rel=0.01)


@pytest.mark.parametrize(
    "outputs",
    [{}, {"y": np.zeros((1, 3))}, {"y": EXPECTED["y"] * 1.1}, {"y": np.array([[np.nan, -2.0]])}],
    ids=["missing", "shape", "far", "nan"],
)
def test_a_mismatch_is_an_error_and_never_a_result(outputs):
    with pytest.raises(VerifyError, match="output y"):
        verify(None, Fake(outputs), CASES)


def test_the_first_place_that_works_is_used_and_the_others_are_explained():
    notes = []

    def broken():
        raise DeviceError("no network")

    found = verify_somewhere(
        [("emulated", broken), ("host", lambda: (None, Fake(EXPECTED)))], CASES, FLOAT32, notes.append
    )
    assert found.device == "fake" and notes == ["cannot verify on emulated: no network"]


def test_without_any_place_the_verification_is_skipped_with_the_reason():
    def broken():
        raise DeviceError("no network")

    found = verify_somewhere([("emulated", broken)], CASES, FLOAT32, lambda _: None)
    assert not found.passed and found.skipped == "emulated: no network"


def test_float16_may_err_more_and_is_told_by_its_answers():
    cases = [({}, EXPECTED), ({}, {"y": np.array([[1.0, 1.01]], np.float32)})]
    found = verify(None, Fake({"y": EXPECTED["y"] * np.float32(1.01)}), cases[:1], FLOAT16)
    assert found.tolerance == 5e-2 and (found.samples, found.top1_agreement) == (1, 1.0)

    class Both(Fake):
        def run(self, artifact, inputs):
            return self.outputs.pop(0)

    answers = [EXPECTED, {"y": np.array([[1.02, 1.0]], np.float32)}]
    found = verify(None, Both(answers), cases, FLOAT16)
    assert (found.samples, found.top1_agreement) == (2, 0.5) and found.max_rel_error == pytest.approx(0.0198, rel=0.02)


def test_float16_is_verified_on_as_many_samples_as_do_not_take_long():
    def samples(macs, arithmetic=FLOAT16):
        target = replace(parse_target("cortex-a76"), arithmetic=arithmetic)
        kernels = (Kernel("conv", "conv", macs, 0, 0),) * 2
        return samples_to_verify(Artifact("tvm", target, {}, "", (), (), kernels))

    assert [samples(macs) for macs in (0, 10**6, 10**8, 10**10)] == [16, 16, 10, 1]
    assert samples(10**6, FLOAT32) == 1


def test_what_float16_cannot_hold_is_told_with_what_to_do():
    for y in (np.array([[np.inf, -2.0]]), EXPECTED["y"] * 1.2):
        with pytest.raises(VerifyError, match="65504.*without --fp16"):
            verify(None, Fake({"y": y.astype(np.float32)}), CASES, FLOAT16)


def test_outputs_that_are_no_scores_have_no_agreement():
    expected = {"y": np.ones((1, 2, 3), np.float32)}
    found = verify(None, Fake(expected), [({}, expected)], FLOAT16)
    assert found.top1_agreement is None and found.samples == 1


def test_a_mismatch_is_not_tried_elsewhere():
    places = [("a", lambda: (None, Fake({}))), ("b", lambda: (None, Fake(EXPECTED)))]
    with pytest.raises(VerifyError):
        verify_somewhere(places, CASES, FLOAT32, lambda _: None)
