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


def verify(artifact: Artifact, device: Device, cases: Sequence[Case], arithmetic: Arithmetic = FLOAT32) -> Verification:
    """Run the library on the device and compare, case by case.

    Args:
        cases: At least one; the first holds samples, which tell how large the outputs usually are.

    Raises:
        VerifyError: An output is missing, of another shape, not finite where it should be, or too far off.
        RunError: The library does not load, crashes or hangs.
        DeviceError: The device cannot be set up.
    """
    errors, equal = [], []
    usual = {name: largest(y) for name, y in cases[0][1].items()}
    for feeds, expected in cases:
        found = device.run(artifact, feeds)
        errors += [_error(name, found.get(name), y, usual[name], arithmetic) for name, y in expected.items()]
        equal += _equal_answers(found, expected)
    absolute, relative = (max((e[i] for e in errors), default=0.0) for i in (0, 1))
    agreement = sum(equal) / len(equal) if equal else None
    return Verification(
        device.name,
        True,
        "onnxruntime",
        absolute,
        relative,
        tolerance(arithmetic),
        samples=_samples(cases),
        top1_agreement=agreement,
        near_zero=_near_zero(cases, tolerance(arithmetic) * SMALLEST),
    )


def verify_somewhere(
    places: Sequence[Place],
    cases: Sequence[Case],
    arithmetic: Arithmetic,
    note: Callable[[str], None],
) -> Verification:
    """Verify at the first place that can be set up; why the ones before it could not is told to `note`.

    Args:
        places: Each a name and a function that gives the artifact for it and the device; at least one. Where another
            than the first takes its place, or none does, the first is named as what was not verified on.

    Raises:
        VerifyError: The outputs differ there, or the library does not load, crashes or hangs.
    """
    missed: list[tuple[str, str]] = []
    for name, set_up in places:
        try:
            artifact, device = set_up()
            found = verify(artifact, device, cases, arithmetic)
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


def _error(
    name: str, found: np.ndarray | None, expected: np.ndarray, usual: float, arithmetic: Arithmetic
) -> tuple[float, float]:
    if found is None or found.shape != expected.shape:
        shape = "missing" if found is None else list(found.shape)
        raise VerifyError(f"output {name} of the library is {shape}; ONNX Runtime gives {list(expected.shape)}")
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        why = f"output {name} of the compiled library is not finite where ONNX Runtime's is"
        raise VerifyError(why + _advice(arithmetic))
    finite = np.isfinite(expected)
    difference = np.abs(found[finite].astype(np.float64) - expected[finite])
    absolute = float(difference.max(initial=0.0))
    relative = absolute / max(largest(expected), usual, SMALLEST)
    if relative > tolerance(arithmetic):
        raise VerifyError(
            f"output {name} of the compiled library differs from ONNX Runtime's by {absolute:.3g} "
            f"({relative:.3g} of its usual size; allowed is {tolerance(arithmetic):g}){_advice(arithmetic)}"
        )
    return absolute, relative


def _advice(arithmetic: Arithmetic) -> str:
    if arithmetic != FLOAT16:
        return ""
    return "; it computes in float16, which holds nothing above 65504 and four digits: compile without --fp16"
