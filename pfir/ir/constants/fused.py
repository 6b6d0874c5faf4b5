"""What ONNX Runtime's own operators on floats make of constant channels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.channel_sums import ChannelSums, contraction
from pfir.ir.constants.known_constants import KnownConstants, Values, only_zero
from pfir.ir.constants.layers import read, through
from pfir.ir.coupling.zero_points import read_with
from pfir.ir.edit import operand
from pfir.ir.weights import meant, numbers

_ACTIVATIONS: dict[str, Callable[[Values], Values]] = {
    "": lambda x: x,
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "Tanh": np.tanh,
}


def _layer(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants behind a convolution or product, what is added to it, and an activation function."""
    found = contraction(node, known.trace.shapes)
    if found is None or axis != found.out_axis:
        return None
    total = through(found, read(known, node, found))
    if operand(node, 3) is not None:
        other = known.operand(node.inputs[3], len(known.trace.axes[node.outputs[0].name]), axis)
        total = np.full(total.size, np.nan) if other is None else total + other
    name = str(node.attrs.get("activation", ""))
    return _ACTIVATIONS[name](total) if name in _ACTIVATIONS else None


def _activation(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The zeros behind an activation function of the input, or of its sum with a bias: all are zero at zero."""
    rank = len(known.trace.axes[node.outputs[0].name])
    parts = [known.operand(t, rank, axis) for t in node.inputs if t.name]
    width = known.trace.axes[node.outputs[0].name][axis].size
    return None if any(p is None for p in parts) else only_zero(np.broadcast_to(sum(parts), width))


def _attention(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants of the values, the last third of W x + b: an average of equal numbers is these."""
    weight, bias, place = numbers(node.inputs[1]), numbers(operand(node, 2)), 2
    if axis != place or weight is None or (bias is None and operand(node, 2) is not None):
        return None
    rows = weight[:, 2 * weight.shape[1] // 3 :].astype(np.float64)
    bias = np.zeros(len(rows.T)) if bias is None else bias[-len(rows.T) :].astype(np.float64)
    found = ChannelSums(rows.T, rows.T != 0, bias, True, place, place)
    return through(found, read(known, node, found))


def _quantized_attention(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants of `_attention` on integers, of which only zero is followed."""
    weight = meant(node.inputs[1]) if isinstance(node.inputs[1], gs.Constant) else None
    bias, values = numbers(operand(node, 2)), known.at((node.inputs[0].name, 2))
    if axis != 2 or weight is None or bias is None or not isinstance(read_with(node, 0), int):
        return None
    rows = weight[:, 2 * weight.shape[1] // 3 :].T
    zero = np.zeros(rows.shape[1], bool) if values is None else values == read_with(node, 0)
    return np.where(((rows != 0) & ~zero).any(1), np.nan, bias[-len(rows) :].astype(np.float64))


def _averages(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants of the third input, the values: an average of equal numbers is these."""
    return known.at((node.inputs[2].name, 2)) if axis == 2 else None


FUSED: dict[str, Callable[[KnownConstants, gs.Node, int], Values | None]] = {
    "Attention": _attention,
    "BiasGelu": _activation,
    "FastGelu": _activation,
    "FusedConv": _layer,
    "FusedGemm": _layer,
    "FusedMatMul": _layer,
    "Gelu": _activation,
    "MultiHeadAttention": _averages,
    "QAttention": _quantized_attention,
    "QuickGelu": _activation,
}
