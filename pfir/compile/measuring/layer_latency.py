"""Latency layer by layer, of the original and the result: always an estimate, in sum the original's latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import Kernel
from pfir.compile.prepare import fixed
from pfir.compile.run_context import RunContext
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.edit import array, is_op, producer
from pfir.ir.model import Model
from pfir.measurement import Measurement
from pfir.report.record import Layer
from pfir.target import FLOAT32, INT8

Priced = tuple[Sequence[Kernel], EstimateDevice]
"""The kernels of a network, and what prices them."""


def layers(run_context: RunContext, result: Model, baseline: Measurement) -> tuple[Layer, ...]:
    """The kernels of both, what takes longest in the original first.

    Args:
        result: The compressed model.
        baseline: The original's latency; where it was measured, estimates of both sides are scaled by the same factor,
            so that the original's layers take as long together.
    """
    backend, request, target = run_context.backend, run_context.request, run_context.target
    models, targets = (run_context.models.baseline, result), (replace(target, arithmetic=FLOAT32), target)
    kernels = [backend.kernels(fixed(m, request), t) for m, t in zip(models, targets, strict=True)]
    if not kernels[0]:
        return ()
    devices = [backend.estimator(t) for t in targets]
    factor = baseline.seconds / sum(_seconds((kernels[0], devices[0])).values())
    scaled = (device.scaled(factor, device.error, device.basis) for device in devices)
    return compared(*zip(kernels, scaled, strict=True), computed_in(result, target.arithmetic.name))


def compared(before: Priced, after: Priced, types: Mapping[str, str]) -> tuple[Layer, ...]:
    """Kernels of two networks by name, what takes longest first.

    Args:
        types: What the kernels of the second compute in, by name.
    """
    old, new = _seconds(before), _seconds(after)
    families = {kernel.name: kernel.family for kernel in (*after[0], *before[0])}
    found = [Layer(name, family, old.get(name), new.get(name), types.get(name)) for name, family in families.items()]
    return tuple(sorted(found, key=lambda layer: -max(layer.before_s or 0.0, layer.after_s or 0.0)))


def computed_in(model: Model, floats: str) -> dict[str, str]:
    """What each node computes in, by name: eight bits where all that it computes with has eight.

    Args:
        floats: What floats are.
    """
    return {node.name or node.outputs[0].name: INT8 if _is_integer(node) else floats for node in model.nodes()}


def _is_integer(node: gs.Node) -> bool:
    """Whether a node has nothing to compute with but integers: float weights make it a float layer."""
    if is_op(node, "QuantizeLinear", "DequantizeLinear"):
        return True
    if any(array(t) is not None and t.dtype == np.float32 and t.values.ndim > 1 for t in node.inputs):
        return False
    made = [producer(t) for t in node.inputs if isinstance(t, gs.Variable) and not t.is_empty()]
    return bool(made) and all(each is not None and is_op(each, "DequantizeLinear") for each in made)


def _seconds(priced: Priced) -> dict[str, float]:
    """Of each name, all kernels that have it together."""
    kernels, device = priced
    found: dict[str, float] = {}
    for kernel in kernels:
        found[kernel.name] = found.get(kernel.name, 0.0) + device.seconds(kernel)
    return found
