"""The running statistics of BatchNormalization, taken anew on what now flows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.batch_norm import batch_norm
from pfir.ir.edit import Names, reads, set_input
from pfir.ir.model import Model
from pfir.ir.operators.table import operator_of
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Activations, Change, Context, Pass
from pfir.passes.batch_norm.channel_statistics import channel_statistics, usable


@dataclass(frozen=True)
class ReestimateBatchNorm(Pass):
    """Give every BatchNormalization the mean and variance of what reaches it on the calibration data.

    Layers that lost channels shift and scale what follows; normalised by what flows now, each channel has the mean and
    deviation that scale and bias were trained for. Layers are done from the inputs on, each behind those before it with
    their new statistics, so that the result is what one endless batch in training mode would normalise by.

    A BatchNormalization stays that is in training mode, has statistics that are not constants, normalises each
    position for itself (spatial=0), or lies in the body of If, Loop or Scan.

    Raises:
        UsageError: The context has no activations.
        DataError: The calibration data holds nothing, or gives values that are not finite.

    Source: Li et al., "EagleEye: Fast Sub-net Evaluation for Efficient Neural Network Pruning", ECCV 2020,
    arXiv:2007.02491, section 3.3 (adaptive batch normalization); theirs averages the statistics of batches in one run.
    """

    name: ClassVar[str] = "reestimate-batch-norm"

    def apply(self, model: Model, context: Context) -> Change:
        if context.activations is None:
            raise UsageError("reestimate-batch-norm needs calibration data: give --data")
        infer_shapes(model)
        count = 0
        for wave in _waves(model.graph):
            _renew(model, context.activations, wave)
            count += len(wave)
        return Change(count > 0, (f"estimated anew: {count}",) if count else ())


def _renew(model: Model, activations: Activations, wave: list[gs.Node]) -> None:
    """These layers, none of which reads from another, get the statistics of what they read."""
    read = list({node.inputs[0].name: node.inputs[0] for node in wave}.values())
    found = channel_statistics(model.until([t.name for t in read]), activations, read)
    names = Names(model.graph)
    for node in wave:
        mean, variance = found[node.inputs[0].name]
        for index, values in zip(operator_of(node).statistics, (mean, usable(variance)), strict=True):
            old = node.inputs[index]
            # A constant of its own: the one at hand may be shared with other layers.
            set_input(node, index, gs.Constant(names.fresh(f"{old.name}_anew"), values.astype(old.values.dtype)))


def _waves(graph: gs.Graph) -> Iterator[list[gs.Node]]:
    """The layers to do, those first that depend on no other, then those that depend on them only, and so on."""
    depth: dict[str, int] = {}
    waves: dict[int, list[gs.Node]] = {}
    for node in graph.nodes:
        reached = max((depth.get(name, 0) for name in reads(node)), default=0)
        if _can_be_done(node):
            waves.setdefault(reached, []).append(node)
            reached += 1
        depth |= {t.name: reached for t in node.outputs}
    yield from (waves[key] for key in sorted(waves))


def _can_be_done(node: gs.Node) -> bool:
    norm = batch_norm(node)
    return norm is not None and not norm.refusal and all(values is not None for values in norm.statistics)
