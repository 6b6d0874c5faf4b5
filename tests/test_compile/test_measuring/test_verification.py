import numpy as np
import pytest

from pfir.compile.measuring.verification import (
    HALF_STEP_TOLERANCE,
    SMALLEST,
    STEP_TOLERANCE,
    TOLERANCE,
    verify,
    verify_somewhere,
)
from pfir.devices.base import Device
from pfir.errors import DeviceError, RunError, VerifyError
from pfir.target import FLOAT16, FLOAT32

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


class Both(Fake):
    """Gives its outputs one after the other."""

    def run(self, artifact, inputs):
        return self.outputs.pop(0)


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
    assert found.passed and (found.not_verified_on, found.reason) == ("emulated", "no network")


class Broken(Fake):
    """Cannot be set up, or has a library that fails."""

    def run(self, artifact, inputs):
        raise self.outputs


@pytest.mark.parametrize("words", ["illegal instruction", "did not answer to run within 1800 s", "failed to load"])
def test_a_library_that_fails_while_running_is_no_reason_to_look_elsewhere(words):
    places = [("aarch64", lambda: (None, Broken(RunError(words)))), ("host", lambda: (None, Fake(EXPECTED)))]
    with pytest.raises(VerifyError, match=f"fails while running: {words}"):
        verify_somewhere(places, CASES, FLOAT32, lambda _: None)


def test_a_device_that_turns_out_on_first_use_not_to_be_one_is_passed_over():
    places = [("aarch64", lambda: (None, Broken(DeviceError("no qemu")))), ("host", lambda: (None, Fake(EXPECTED)))]
    assert verify_somewhere(places, CASES, FLOAT32, lambda _: None).not_verified_on == "aarch64"


def test_where_the_library_itself_runs_no_other_place_is_missed():
    found = verify_somewhere([("a", lambda: (None, Fake(EXPECTED)))], CASES, FLOAT32, lambda _: None)
    assert found.not_verified_on is None and found.reason is None


@pytest.mark.parametrize("scale", [1e-7, 1e-12, 0.0])
def test_outputs_near_zero_may_err_by_what_a_sigmoid_does(scale):
    cases = [({}, {"y": EXPECTED["y"] * np.float32(scale)})]
    floor = TOLERANCE * SMALLEST
    found = verify(None, Fake({"y": cases[0][1]["y"] + np.float32(floor / 2)}), cases)
    assert found.passed and found.max_rel_error <= found.tolerance and found.near_zero == ("y",)
    with pytest.raises(VerifyError):
        verify(None, Fake({"y": cases[0][1]["y"] + np.float32(2 * floor)}), cases)


def test_the_floor_forgives_nothing_in_outputs_of_the_usual_size():
    wrong = EXPECTED["y"] * np.array([[1.01, 1.0]], np.float32)
    assert verify(None, Fake(EXPECTED), CASES).near_zero == ()
    for scale in (np.float32(SMALLEST), np.float32(1.0)):
        with pytest.raises(VerifyError):
            verify(None, Fake({"y": wrong * scale}), [({}, {"y": EXPECTED["y"] * scale})])


def test_where_an_extreme_gives_nothing_the_samples_say_how_large_outputs_are():
    tiny = {"y": np.full((1, 2), 1e-5, np.float32)}

    off = {"y": tiny["y"] + np.float32(5e-4)}
    assert verify(None, Both([EXPECTED, off]), [*CASES, ({}, tiny)]).passed
    with pytest.raises(VerifyError):
        verify(None, Both([off, EXPECTED]), [({}, tiny), *CASES])


def test_without_any_place_the_verification_is_skipped_with_the_reason():
    def broken():
        raise DeviceError("no network")

    found = verify_somewhere([("emulated", broken)], CASES, FLOAT32, lambda _: None)
    assert not found.passed and found.skipped == "emulated: no network"


def test_float16_may_err_more_and_is_told_by_its_answers():
    cases = [({}, EXPECTED), ({}, {"y": np.array([[1.0, 1.01]], np.float32)})]
    found = verify(None, Fake({"y": EXPECTED["y"] * np.float32(1.01)}), cases[:1], FLOAT16)
    assert found.tolerance == 5e-2 and (found.samples, found.top1_agreement) == (1, 1.0)

    answers = [EXPECTED, {"y": np.array([[1.02, 1.0]], np.float32)}]
    found = verify(None, Both(answers), cases, FLOAT16)
    assert (found.samples, found.top1_agreement) == (2, 0.5) and found.max_rel_error == pytest.approx(0.01, rel=0.02)


def test_what_float16_cannot_hold_is_told_with_what_to_do():
    for y in (np.array([[np.inf, -2.0]]), EXPECTED["y"] * 1.2):
        with pytest.raises(VerifyError, match="65504.*--precision float32"):
            verify(None, Fake({"y": y.astype(np.float32)}), CASES, FLOAT16)


def test_outputs_that_are_no_scores_have_no_agreement():
    expected = {"y": np.ones((1, 2, 3), np.float32)}
    found = verify(None, Fake(expected), [({}, expected)], FLOAT16)
    assert found.top1_agreement is None and found.samples == 1


def test_a_mismatch_is_not_tried_elsewhere():
    places = [("a", lambda: (None, Fake({}))), ("b", lambda: (None, Fake(EXPECTED)))]
    with pytest.raises(VerifyError):
        verify_somewhere(places, CASES, FLOAT32, lambda _: None)


def _steps(*errors):
    """Answers of a library that is off by these shares of the output, one for each of as many cases."""
    return Both([{"y": EXPECTED["y"] * np.float32(1 + error)} for error in errors])


def _cases(count):
    return [({}, EXPECTED)] * count


def test_a_library_of_integers_may_round_otherwise_on_some_inputs():
    found = verify(None, _steps(0, 0, 0.03), _cases(3), FLOAT32, [EXPECTED] * 3)
    assert found.differing == pytest.approx(1 / 3) and found.tolerance == STEP_TOLERANCE
    assert found.max_rel_error == pytest.approx(0.03, rel=0.01)


@pytest.mark.parametrize(
    ("errors", "said"), [((0, 0.01, 0.01), "rounds otherwise .* on 67%"), ((0, 0, 0.2), "output y .* allowed is 0.05")]
)
def test_a_library_of_integers_that_rounds_otherwise_too_often_or_too_far_is_refused(errors, said):
    with pytest.raises(VerifyError, match=said):
        verify(None, _steps(*errors), _cases(3), FLOAT32, [EXPECTED] * 3)


def test_what_onnx_runtime_computes_node_by_node_is_as_right_as_what_it_fuses():
    unfused = [{"y": EXPECTED["y"] * np.float32(1.04)}] * 3
    found = verify(None, _steps(0.04, 0.04, 0), _cases(3), FLOAT32, unfused)
    assert found.max_rel_error < 1e-6 and found.differing == 0 and found.tolerance == pytest.approx(0.08, rel=0.01)


def test_where_onnx_runtimes_own_ways_differ_on_all_inputs_a_library_may_too():
    unfused = [{"y": EXPECTED["y"] * np.float32(1.02)}] * 3
    assert verify(None, _steps(-0.01, -0.01, -0.01), _cases(3), FLOAT32, unfused).differing == 1


def test_integers_beside_float16_round_otherwise_wherever_they_do():
    found = verify(None, _steps(0.06, 0.06, 0.06), _cases(3), FLOAT16, [EXPECTED] * 3)
    assert found.differing is None and found.tolerance == HALF_STEP_TOLERANCE
