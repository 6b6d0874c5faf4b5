"""The pairs of QuantizeLinear and DequantizeLinear around activations, and which of them have one scale for all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.edit import array, cut, held, is_op, operand, producer, replace_uses
from pfir.ir.model import Model

MOVES = (
    *("Concat", "DepthToSpace", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape"),
    *("Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze", "Upsample"),
)
"""Operators whose results have the numbers of what they read, so that one scale serves both sides."""


@dataclass(frozen=True, eq=False)
class ActivationPair:
    """A QuantizeLinear with one scale, and the nodes that make floats of its integers.

    Args:
        quantize: The QuantizeLinear.
        dequantize: The DequantizeLinear nodes that read it, all with its scale and zero point.
        scale: A float32 number above 0.
        zero_point: The integer that stands for 0.
        least: The least integer.
        most: The greatest one.
        group: The name of the first QuantizeLinear of those that share a scale, since numbers only move from one to the
            other; its own name where it shares with none.
    """

    quantize: gs.Node
    dequantize: tuple[gs.Node, ...]
    scale: float
    zero_point: int
    least: int
    most: int
    group: str

    @property
    def data(self) -> gs.Tensor:
        """The tensor of floats that it makes integers of."""
        return self.quantize.inputs[0]


def activation_pairs(model: Model) -> tuple[ActivationPair, ...]:
    """Those of the main graph, in order.

    Raises:
        UsageError: A QuantizeLinear has a scale for each channel or one that is computed, or its integers are read by
            something else than a DequantizeLinear with the same scale.
    """
    pairs: dict[str, ActivationPair] = {}
    for node in model.nodes():
        if is_op(node, "QuantizeLinear"):
            pairs[node.outputs[0].name] = _pair(node, pairs)
    return tuple(pairs.values())


def scale_arrays(pairs: tuple[ActivationPair, ...], scales: dict[str, float]) -> dict[str, np.ndarray]:
    """The initializers of these pairs with other scales.

    Args:
        scales: By group.
    """
    nodes = [(node, pair.group) for pair in pairs for node in (pair.quantize, *pair.dequantize)]
    held = [(node.inputs[1], scales[group]) for node, group in nodes if group in scales]
    return {tensor.name: np.full_like(tensor.values, scale) for tensor, scale in held}


def replace_pair(graph: gs.Graph, pair: ActivationPair, result: gs.Tensor) -> None:
    """Let all that reads the floats of a pair read another tensor; an output of the graph keeps its name."""
    holding = held(graph)
    for step in pair.dequantize:
        if step.outputs[0].name in holding:
            step.op, step.inputs = "Identity", [result]
        else:
            replace_uses(step.outputs[0], result)
            cut(step)
    cut(pair.quantize)


def _pair(node: gs.Node, before: dict[str, ActivationPair]) -> ActivationPair:
    said = _said(node)
    readers = tuple(node.outputs[0].outputs)
    if said is None or any(not is_op(r, "DequantizeLinear") or _said(r) != said for r in readers):
        raise UsageError(
            f"node {node.name}: only a QuantizeLinear with one constant scale, whose integers DequantizeLinear nodes "
            "with the same scale read, can be trained through"
        )
    scale, zero, kind = said
    limits = np.iinfo(kind)
    return ActivationPair(
        node, readers, scale, zero, int(limits.min), int(limits.max), _group(node, said, before) or node.name
    )


def _said(node: gs.Node) -> tuple[float, int, str] | None:
    """Scale, zero point and its type; None where there is not one constant of each."""
    scale, zero = array(node.inputs[1]), array(operand(node, 2))
    if scale is None or scale.size != 1 or (zero is None) != (operand(node, 2) is None):
        return None
    kind = "uint8" if zero is None else zero.dtype.name
    return float(scale.ravel()[0]), 0 if zero is None else int(zero.ravel()[0]), kind


def _group(node: gs.Node, said: tuple[float, int, str], before: dict[str, ActivationPair]) -> str | None:
    """The group of what this node's numbers come from, where they are only moved and keep their scale."""
    mover = producer(node.inputs[0])
    if mover is None or not is_op(mover, *MOVES):
        return None
    for tensor in mover.inputs:
        step = producer(tensor)
        pair = None if step is None or not is_op(step, "DequantizeLinear") else before.get(step.inputs[0].name)
        if pair is not None and _said(pair.quantize) == said:
            return pair.group
    return None
