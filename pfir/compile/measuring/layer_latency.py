"""Latency layer by layer, of the original and the result: always an estimate, in sum the original's latency."""

from __future__ import annotations

from collections.abc import Sequence

from pfir.artifact import Kernel
from pfir.compile.prepare import fixed
from pfir.compile.run_context import RunContext
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.model import Model
from pfir.measurement import Measurement
from pfir.report.record import Layer


def layers(run_context: RunContext, result: Model, baseline: Measurement) -> tuple[Layer, ...]:
    """The kernels of both, what takes longest in the original first.

    Args:
        result: The compressed model.
        baseline: The original's latency; where it was measured, estimates of both sides are scaled by the same factor,
            so that the original's layers take as long together.
    """
    sides = [
        run_context.backend.kernels(fixed(m, run_context.request), run_context.target)
        for m in (run_context.models.baseline, result)
    ]
    if not sides[0]:
        return ()
    estimator = run_context.backend.estimator(run_context.target)
    factor = baseline.seconds / sum(_seconds(estimator, sides[0]).values())
    return compared(*sides, estimator.scaled(factor, estimator.error, estimator.basis))


def compared(before: Sequence[Kernel], after: Sequence[Kernel], device: EstimateDevice) -> tuple[Layer, ...]:
    """Kernels of two networks by name, what takes longest first."""
    old, new = _seconds(device, before), _seconds(device, after)
    families = {kernel.name: kernel.family for kernel in (*after, *before)}
    found = [Layer(name, family, old.get(name), new.get(name)) for name, family in families.items()]
    return tuple(sorted(found, key=lambda layer: -max(layer.before_s or 0.0, layer.after_s or 0.0)))


def _seconds(device: EstimateDevice, kernels: Sequence[Kernel]) -> dict[str, float]:
    """Of each name, all kernels that have it together."""
    found: dict[str, float] = {}
    for kernel in kernels:
        found[kernel.name] = found.get(kernel.name, 0.0) + device.seconds(kernel)
    return found
