"""Verification: the library's outputs against ONNX Runtime's on the same compressed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.errors import DeviceError, VerifyError
from pfir.report.record import Verification
from pfir.run.classify import class_scores
from pfir.target import FLOAT16, FLOAT32

TOLERANCE = 1e-3
"""Largest error allowed, relative to the largest value of the output: float32 sums in another order stay far below."""
HALF_TOLERANCE = 5e-2
"""The same of float16, which rounds every value to 1/2048 of it: nets of twenty to fifty layers were within 1/100."""
HALF_SAMPLES, HALF_MACS = 16, 2e9
"""How many samples a library of float16 is verified on, a single one says little of how often it answers otherwise, and
how much they may multiply together: the emulator computes float16 in software, some fifty million a second."""

Arrays = Mapping[str, np.ndarray]
Case = tuple[Arrays, Arrays]
"""Inputs, and the outputs that are expected of them."""


def tolerance(arithmetic: str) -> float:
    """Of a library that computes so."""
    return HALF_TOLERANCE if arithmetic == FLOAT16 else TOLERANCE


def samples_to_verify(artifact: Artifact) -> int:
    """How many samples a library is verified on."""
    if artifact.target.arithmetic != FLOAT16:
        return 1
    macs = sum(kernel.macs for kernel in artifact.kernels)
    return min(HALF_SAMPLES, max(1, int(HALF_MACS / max(macs, 1))))


def verify(artifact: Artifact, device: Device, cases: Sequence[Case], arithmetic: str = FLOAT32) -> Verification:
    """Run the library on the device and compare, case by case.

    Raises:
        VerifyError: An output is missing, of another shape, not finite where it should be, or too far off.
        DeviceError: The device does not answer.
    """
    errors, equal = [], []
    for feeds, expected in cases:
        found = device.run(artifact, feeds)
        errors += [_error(name, found.get(name), y, arithmetic) for name, y in expected.items()]
        equal += _equal_answers(found, expected)
    absolute, relative = (max(e[i] for e in errors) for i in (0, 1))
    agreement = sum(equal) / len(equal) if equal else None
    return Verification(device.name, True, "onnxruntime", absolute, relative, tolerance(arithmetic),
                        samples=_samples(cases), top1_agreement=agreement)  # fmt: skip


def verify_somewhere(
    places: list[tuple[str, Callable[[], tuple[Artifact, Device]]]],
    cases: Sequence[Case],
    arithmetic: str,
    note: Callable[[str], None],
) -> Verification:
    """Verify at the first place that can be set up; why the ones before it could not is told to `note`.

    Args:
        places: Each a name and a function that gives the artifact for it and the open device; at least one. Where
            none works the first is named as what was not verified on.

    Raises:
        VerifyError: The outputs differ there.
    """
    reasons = []
    for name, set_up in places:
        try:
            artifact, device = set_up()
            with device:
                return verify(artifact, device, cases, arithmetic)
        except DeviceError as error:
            reasons.append(f"{name}: {error}")
            note(f"cannot verify on {reasons[-1]}")
    return Verification(places[0][0], False, skipped="; ".join(reasons) or "no device can run it")


def _samples(cases: Sequence[Case]) -> int:
    """How many there are in all cases: the length of the first axis of the outputs, summed."""
    return sum(max((len(y) for y in expected.values() if y.ndim), default=1) for _, expected in cases)


def _equal_answers(found: Arrays, expected: Arrays) -> list[bool]:
    """Whether the best class of each sample is the same; empty where the outputs are no scores of classes."""
    ours, theirs = class_scores(found), class_scores(expected)
    return [] if theirs is None or ours is None else (ours.argmax(1) == theirs.argmax(1)).tolist()


def _error(name: str, found: np.ndarray | None, expected: np.ndarray, arithmetic: str) -> tuple[float, float]:
    if found is None or found.shape != expected.shape:
        shape = "missing" if found is None else list(found.shape)
        raise VerifyError(f"output {name} of the library is {shape}; ONNX Runtime gives {list(expected.shape)}")
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        why = f"output {name} of the compiled library is not finite where ONNX Runtime's is"
        raise VerifyError(why + _advice(arithmetic))
    finite = np.isfinite(expected)
    difference = np.abs(found[finite].astype(np.float64) - expected[finite])
    absolute = float(difference.max(initial=0.0))
    relative = absolute / max(float(np.abs(expected[finite]).max(initial=0.0)), 1e-6)
    if relative > tolerance(arithmetic):
        raise VerifyError(
            f"output {name} of the compiled library differs from ONNX Runtime's by {absolute:.3g} "
            f"({relative:.3g} of its largest value; allowed is {tolerance(arithmetic):g}){_advice(arithmetic)}"
        )
    return absolute, relative


def _advice(arithmetic: str) -> str:
    if arithmetic != FLOAT16:
        return ""
    return "; it computes in float16, which holds nothing above 65504 and four digits: compile without --fp16"
