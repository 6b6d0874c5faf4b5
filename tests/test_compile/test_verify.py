import numpy as np
import pytest

from pfir.compile.verify import verify, verify_somewhere
from pfir.devices.base import Device
from pfir.errors import DeviceError, VerifyError

EXPECTED = {"y": np.array([[1.0, -2.0]], np.float32)}


class Fake(Device):
    name = "fake"

    def __init__(self, outputs):
        self.outputs = outputs

    def measure(self, artifact):
        raise DeviceError("no clock")

    def run(self, artifact, inputs):
        return self.outputs


def test_equal_outputs_pass_with_their_error():
    found = verify(None, Fake({"y": EXPECTED["y"] + np.float32(1e-4)}), {}, EXPECTED)
    assert found.passed and found.device == "fake" and found.max_rel_error == pytest.approx(5e-5, rel=0.01)


@pytest.mark.parametrize(
    "outputs",
    [{}, {"y": np.zeros((1, 3))}, {"y": EXPECTED["y"] * 1.1}, {"y": np.array([[np.nan, -2.0]])}],
    ids=["missing", "shape", "far", "nan"],
)
def test_a_mismatch_is_an_error_and_never_a_result(outputs):
    with pytest.raises(VerifyError, match="output y"):
        verify(None, Fake(outputs), {}, EXPECTED)


def test_the_first_place_that_works_is_used_and_the_others_are_explained():
    notes = []

    def broken():
        raise DeviceError("no network")

    found = verify_somewhere(
        [("emulated", broken), ("host", lambda: (None, Fake(EXPECTED)))], {}, EXPECTED, notes.append
    )
    assert found.device == "fake" and notes == ["cannot verify on emulated: no network"]


def test_without_any_place_the_verification_is_skipped_with_the_reason():
    def broken():
        raise DeviceError("no network")

    found = verify_somewhere([("emulated", broken)], {}, EXPECTED, lambda _: None)
    assert not found.passed and found.skipped == "emulated: no network"


def test_a_mismatch_is_not_tried_elsewhere():
    places = [("a", lambda: (None, Fake({}))), ("b", lambda: (None, Fake(EXPECTED)))]
    with pytest.raises(VerifyError):
        verify_somewhere(places, {}, EXPECTED, lambda _: None)
