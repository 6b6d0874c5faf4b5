"""What quantized operators make of constant channels: integers, where it is not left to the runtime which."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.channel_sums import integer_contraction
from pfir.ir.constants.known_constants import KnownConstants, Values, only_zero
from pfir.ir.constants.layers import dilutes, read, through
from pfir.ir.coupling.zero_points import point, scale_input
from pfir.ir.edit import array, operand
from pfir.ir.linear import linear_layer
from pfir.ir.operators.records import Integers
from pfir.ir.operators.table import operator_of

# How far from half a step a number must be for all runtimes to round it alike, and by how much its own size may be off.
_TIE = 1e-3
_ERROR = 1e-5


def _rounded(numbers: Values, node: gs.Node, along: bool = True) -> Values | None:
    """The integers that a node makes of numbers, NaN where another runtime might make others.

    Args:
        along: Whether a vector of scales lies along the axis of the numbers.
    """
    made = operator_of(node).result
    step, middle, given = array(operand(node, made.scale)), point(node, made.zero_point), operand(node, made.zero_point)
    if step is None or not isinstance(middle, int):
        return None
    other_type = given is None and node.attrs.get("output_dtype", 0)
    if other_type or (step.size > 1 and not along):
        return np.where(numbers == 0, float(middle), np.nan)
    limits = np.iinfo(np.uint8 if given is None else np.dtype(given.dtype))
    steps = numbers / step.ravel().astype(np.float64)
    tied = np.abs(steps - np.floor(steps) - 0.5) < _TIE + _ERROR * np.abs(steps)
    return np.where(tied, np.nan, np.clip(np.rint(steps) + middle, limits.min, limits.max))


def _real(values: Values | None, node: gs.Node, said: Integers) -> Values | None:
    """The numbers that integers stand for, where one scale and one zero point are known."""
    step, middle = array(operand(node, said.scale)), point(node, said.zero_point)
    if values is None or step is None or step.size != 1 or not isinstance(middle, int):
        return None
    return (values - middle) * float(step.ravel()[0])


def _quantize(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    values = known.at((node.inputs[0].name, axis))
    return None if values is None else _rounded(values, node, _lies_along(known, node, axis))


def _dequantize(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    values, middle, step = known.at((node.inputs[0].name, axis)), point(node, 2), array(node.inputs[1])
    if values is None or not isinstance(middle, int):
        return None
    if step is None or (step.size > 1 and not _lies_along(known, node, axis)):
        return only_zero(values - middle)
    return (values - middle) * step.ravel().astype(np.float64)


def _lies_along(known: KnownConstants, node: gs.Node, axis: int) -> bool:
    return axis == node.attrs.get("axis", 1) % len(known.trace.axes[node.outputs[0].name])


def _contraction(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants behind a convolution or product: exact sums, which are rounded where the result is quantized."""
    found = integer_contraction(node, known.trace.shapes)
    if found is None or axis != found.out_axis:
        return None
    total = through(found, read(known, node, found))
    layer = linear_layer(node)
    made = layer.operator.result
    if made is None:
        return total
    steps = [array(operand(node, scale_input(node, i))) for i in (layer.data_place, layer.place)]
    if any(step is None for step in steps):
        return None
    numbers = total * steps[0].astype(np.float64).ravel() * steps[1].ravel() * layer.factor
    return numbers if operand(node, made.scale) is None else _rounded(numbers, node)


def _sum(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    parts = _operands(known, node, axis)
    return None if any(p is None for p in parts) else _rounded(parts[0] + parts[1], node)


def _product(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants of a product, which is zero where a factor is."""
    width = known.trace.axes[node.outputs[0].name][axis].size
    parts = [np.full(width, np.nan) if p is None else np.broadcast_to(p, width) for p in _operands(known, node, axis)]
    return _rounded(np.where((np.stack(parts) == 0).any(0), 0.0, parts[0] * parts[1]), node)


def _operands(known: KnownConstants, node: gs.Node, axis: int) -> list[Values | None]:
    rank = len(known.trace.axes[node.outputs[0].name])
    integers = operator_of(node).integers
    return [_real(known.operand(node.inputs[i], rank, axis), node, said) for i, said in integers.items()]


def _same(
    known: KnownConstants, node: gs.Node, axis: int, function: Callable[[gs.Node, Values], Values]
) -> Values | None:
    real = _real(known.at((node.inputs[0].name, axis)), node, operator_of(node).integers[0])
    return None if real is None else _rounded(function(node, real), node)


def _leaky(node: gs.Node, x: Values) -> Values:
    return np.where(x < 0, node.attrs.get("alpha", 0.01) * x, x)


def _pool(node: gs.Node, x: Values) -> Values:
    return only_zero(x) if dilutes(node) else x


def _concat(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """The constants of the parts, each in the scale of the whole."""
    name = node.outputs[0].name
    parts = [_part(known, node, i, axis) for i in range(operator_of(node).data, len(node.inputs), 3)]
    if any(p is None for p in parts):
        return None
    if axis == node.attrs.get("axis", 1) % len(known.trace.axes[name]):
        return np.concatenate(parts)
    return np.where(_all_equal(parts), parts[0], np.nan)


def _part(known: KnownConstants, node: gs.Node, i: int, axis: int) -> Values | None:
    width = (known.trace.shapes.get(node.inputs[i].name) or {axis: None})[axis]
    real = _real(known.at((node.inputs[i].name, axis)), node, Integers(i + 1, i + 2))
    if real is not None:
        return _rounded(real, node)
    return np.full(width, np.nan) if isinstance(width, int) else None


def _all_equal(parts: Iterable[Values]) -> np.ndarray:
    stacked = np.stack(list(parts))
    return (stacked == stacked[:1]).all(0)


QUANTIZED: dict[str, Callable[[KnownConstants, gs.Node, int], Values | None]] = {
    "ConvInteger": _contraction,
    "DequantizeLinear": _dequantize,
    "MatMulInteger": _contraction,
    "QLinearConv": _contraction,
    "QLinearMatMul": _contraction,
    "QuantizeLinear": _quantize,
}
"""Standard operators."""

FOREIGN: dict[str, Callable[[KnownConstants, gs.Node, int], Values | None]] = {
    "DequantizeLinear": _dequantize,
    "QGemm": _contraction,
    "QLinearAdd": _sum,
    "QLinearAveragePool": partial(_same, function=_pool),
    "QLinearConcat": _concat,
    "QLinearConv": _contraction,
    "QLinearGlobalAveragePool": partial(_same, function=lambda node, x: x),
    "QLinearLeakyRelu": partial(_same, function=_leaky),
    "QLinearMul": _product,
    "QLinearSigmoid": partial(_same, function=lambda node, x: 1 / (1 + np.exp(-x))),
    "QuantizeLinear": _quantize,
}
"""ONNX Runtime's own."""
