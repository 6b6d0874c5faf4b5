"""Verification: the library's outputs against ONNX Runtime's on the same compressed model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.errors import DeviceError, VerifyError
from pfir.report.record import Verification

TOLERANCE = 1e-3
"""Largest error allowed, relative to the largest value of the output: float32 sums in another order stay far below."""


def verify(
    artifact: Artifact, device: Device, feeds: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray]
) -> Verification:
    """Run the library on the device and compare.

    Raises:
        VerifyError: An output is missing, of another shape, not finite where it should be, or too far off.
        DeviceError: The device does not answer.
    """
    found = device.run(artifact, feeds)
    errors = [_error(name, found.get(name), y) for name, y in expected.items()]
    absolute, relative = (max(e[i] for e in errors) for i in (0, 1))
    return Verification(device.name, True, "onnxruntime", absolute, relative, TOLERANCE)


def verify_somewhere(
    places: list[tuple[str, Callable[[], tuple[Artifact, Device]]]],
    feeds: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
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
                return verify(artifact, device, feeds, expected)
        except DeviceError as error:
            reasons.append(f"{name}: {error}")
            note(f"cannot verify on {reasons[-1]}")
    return Verification(places[0][0], False, skipped="; ".join(reasons) or "no device can run it")


def _error(name: str, found: np.ndarray | None, expected: np.ndarray) -> tuple[float, float]:
    if found is None or found.shape != expected.shape:
        shape = "missing" if found is None else list(found.shape)
        raise VerifyError(f"output {name} of the library is {shape}; ONNX Runtime gives {list(expected.shape)}")
    if not np.array_equal(np.isfinite(found), np.isfinite(expected)):
        raise VerifyError(f"output {name} of the compiled library is not finite where ONNX Runtime's is")
    finite = np.isfinite(expected)
    difference = np.abs(found[finite].astype(np.float64) - expected[finite])
    absolute = float(difference.max(initial=0.0))
    relative = absolute / max(float(np.abs(expected[finite]).max(initial=0.0)), 1e-6)
    if relative > TOLERANCE:
        raise VerifyError(
            f"output {name} of the compiled library differs from ONNX Runtime's by {absolute:.3g} "
            f"({relative:.3g} of its largest value; allowed is {TOLERANCE:g})"
        )
    return absolute, relative
