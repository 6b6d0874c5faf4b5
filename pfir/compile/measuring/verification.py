"""Verification: the library's outputs against ONNX Runtime's on the same compressed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.errors import DeviceError, RunError, VerifyError
from pfir.report.record import Verification
from pfir.run.classify import class_scores
from pfir.target import FLOAT16, FLOAT32, Arithmetic

TOLERANCE = 1e-3
"""Largest error allowed, relative to the largest value of the output: float32 sums in another order stay far below."""
HALF_TOLERANCE = 5e-2
"""The same of float16, which rounds every value to 1/2048 of it: nets of twenty to fifty layers were within 1/100."""
STEP_TOLERANCE, HALF_STEP_TOLERANCE = 5e-2, 1e-1
"""The same of a library of integers, by whether its floats are float32. Where a value lies between two steps it rounds
as it happens to, and each step changes what is rounded behind it: ONNX Runtime's own two ways to compute such a model
differ by up to 4 % of an output (MediaPipe's face net), and where they differ by more, twice as much is allowed."""
MOST_DIFFERING = 0.5
"""Share of the runs in which some output may differ by more than `TOLERANCE` for that reason, unless ONNX Runtime's own
two ways differ in more of them; on the others its integers are the same."""
SMALLEST = 1e-3
"""An output whose largest value is below this is judged as if it were this, so that float32 may always err by 1e-6: a
sigmoid or a softmax is right to about 1e-7 of one however near zero it is, in ONNX Runtime too, and sums that cancel
are right to 1e-7 of what is summed."""

Arrays = Mapping[str, np.ndarray]
Case = tuple[Arrays, Arrays]
"""Inputs, and the outputs that are expected of them."""
Place = tuple[str, Callable[[], tuple[Artifact, Device]]]
"""A name, and what gives the artifact that runs there and the device."""


def tolerance(arithmetic: Arithmetic) -> float:
    """Of a library that computes so."""
    return HALF_TOLERANCE if arithmetic == FLOAT16 else TOLERANCE


def verify(
    artifact: Artifact,
    device: Device,
    cases: Sequence[Case],
    arithmetic: Arithmetic = FLOAT32,
    unfused: Sequence[Arrays] = (),
) -> Verification:
    """Run the library on the device and compare, case by case.

    Args:
        cases: At least one; the first holds samples, which tell how large the outputs usually are.
        unfused: Of a quantized model, what ONNX Runtime gives for the same inputs if it computes node by node: as right
            as what is expected. Empty of any other model.

    Raises:
        VerifyError: An output is missing, of another shape, not finite where it should be, or too far off.
        RunError: The library does not load, crashes or hangs.
        DeviceError: The device cannot be set up.
    """
    compared, equal = _Comparison(cases, unfused, arithmetic), []
    errors: list[tuple[float, float]] = []
    for place, (feeds, expected) in enumerate(cases):
        found = device.run(artifact, feeds)
        errors.append(compared.error(place, found))
        equal += _equal_answers(found, expected)
    differing = compared.differing([relative for _, relative in errors])
    absolute, relative = (max((e[i] for e in errors), default=0.0) for i in (0, 1))
    agreement = sum(equal) / len(equal) if equal else None
    return Verification(
        device.name,
        True,
        "onnxruntime",
        absolute,
        relative,
        compared.allowed,
        samples=_samples(cases),
        top1_agreement=agreement,
        near_zero=_near_zero(cases, compared.allowed * SMALLEST),
        differing=differing,
    )


class _Comparison:
    """What libraries are compared with, and how far they may be off."""

    def __init__(self, cases: Sequence[Case], unfused: Sequence[Arrays], arithmetic: Arithmetic) -> None:
        self._cases, self._unfused, self._arithmetic = cases, unfused, arithmetic
        self._usual = {name: largest(y) for name, y in cases[0][1].items()}
        self._own = [self._worst(other, y)[1] for (_, y), other in zip(cases, unfused, strict=False)]
        self.allowed = tolerance(arithmetic)
        if unfused:
            steps = HALF_STEP_TOLERANCE if arithmetic == FLOAT16 else STEP_TOLERANCE
            self.allowed = max(steps, 2 * max(self._own))

    def error(self, place: int, found: Arrays) -> tuple[float, float]:
        """The largest error of this case's outputs, absolute and relative to their usual size."""
        expected = self._cases[place][1]
        for name, y in expected.items():
            _check_form(name, found.get(name), y, self._arithmetic)
        answers = [expected, *self._unfused[place : place + 1]]
        absolute, relative, name = min((self._worst(found, each) for each in answers), key=lambda worst: worst[1])
        if relative > self.allowed:
            raise VerifyError(
                f"output {name} of the compiled library differs from ONNX Runtime's by {absolute:.3g} "
                f"({relative:.3g} of its usual size; allowed is {self.allowed:g}){_advice(self._arithmetic)}"
            )
        return absolute, relative

    def differing(self, errors: Sequence[float]) -> float | None:
        """The share of cases in which a library of integers has other roundings; None of any other library.

        Raises:
            VerifyError: They are more than chance explains.
        """
        if not self._unfused or self._arithmetic != FLOAT32:
            return None
        ours, own = (float(np.mean(np.array(each) > TOLERANCE)) for each in (errors, self._own))
        if ours > max(MOST_DIFFERING, own):
            raise VerifyError(
                f"the compiled library rounds otherwise than ONNX Runtime on {ours:.0%} of the inputs; allowed is "
                f"{max(MOST_DIFFERING, own):.0%}"
            )
        return ours

    def _worst(self, found: Arrays, expected: Arrays) -> tuple[float, float, str]:
        """The errors of the output that is furthest off, and its name."""
        errors = ((*_error(found[name], y, self._usual[name]), name) for name, y in expected.items())
        return max(errors, key=lambda error: error[1], default=(0.0, 0.0, ""))


def verify_somewhere(
    places: Sequence[Place],
    cases: Sequence[Case],
    arithmetic: Arithmetic,
    note: Callable[[str], None],
    unfused: Sequence[Arrays] = (),
) -> Verification:
    """Verify at the first place that can be set up; why the ones before it could not is told to `note`.

    Args:
        places: Each a name and a function that gives the artifact for it and the device; at least one. Where another
            than the first takes its place, or none does, the first is named as what was not verified on.
        unfused: As for `verify`.

    Raises:
        VerifyError: The outputs differ there, or the library does not load, crashes or hangs.
    """
    missed: list[tuple[str, str]] = []
    for name, set_up in places:
        try:
            artifact, device = set_up()
            found = verify(artifact, device, cases, arithmetic, unfused)
        except RunError as error:
            raise VerifyError(f"the compiled library fails while running: {error}") from error
        except DeviceError as error:
            missed.append((name, str(error)))
            note(f"cannot verify on {name}: {error}")
            continue
        return replace(found, not_verified_on=missed[0][0], reason=missed[0][1]) if missed else found
    return Verification(places[0][0], False, skipped="; ".join(": ".join(m) for m in missed))


def _near_zero(cases: Sequence[Case], floor: float) -> tuple[str, ...]:
    """Outputs that are nowhere above what may be an error."""
    names = [name for name, y in cases[0][1].items() if y.dtype.kind == "f"]
    return tuple(name for name in names if all(largest(expected[name]) <= floor for _, expected in cases))


def largest(y: np.ndarray) -> float:
    """The largest finite magnitude."""
    return float(np.abs(y[np.isfinite(y)]).max(initial=0.0))


def _samples(cases: Sequence[Case]) -> int:
    """How many there are in all cases: the length of the first axis of the outputs, summed."""
    return sum(max((len(y) for y in expected.values() if y.ndim), default=1) for _, expected in cases)


def _equal_answers(found: Arrays, expected: Arrays) -> list[bool]:
    """Whether the best class of each sample is the same; empty where the outputs are no scores of classes."""
    ours, theirs = class_scores(found), class_scores(expected)
    return [] if theirs is None or ours is None else (ours.argmax(1) == theirs.argmax(1)).tolist()


def _check_form(name: str, found: np.ndarray | None, expected: np.ndarray, arithmetic: Arithmetic) -> None:
    """Return only if an output has the shape that is expected, and finite numbers where it should."""
    if found is None or found.shape != expected.shape:
        shape = "missing" if found is None else list(found.shape)
        raise VerifyError(f"output {name} of the library is {shape}; ONNX Runtime gives {list(expected.shape)}")
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        why = f"output {name} of the compiled library is not finite where ONNX Runtime's is"
        raise VerifyError(why + _advice(arithmetic))


def _error(found: np.ndarray, expected: np.ndarray, usual: float) -> tuple[float, float]:
    """The largest difference, absolute and relative to the output's usual size."""
    finite = np.isfinite(expected)
    difference = np.abs(found[finite].astype(np.float64) - expected[finite])
    absolute = float(difference.max(initial=0.0))
    return absolute, absolute / max(largest(expected), usual, SMALLEST)


def _advice(arithmetic: Arithmetic) -> str:
    if arithmetic != FLOAT16:
        return ""
    return "; it computes in float16, which holds nothing above 65504 and four digits: compile with --precision float32"
