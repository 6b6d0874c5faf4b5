"""Activations whose range is found when the model runs, written as nodes that kernels of ours compute.

y, scale, zero = DynamicQuantizeLinear(x)
Cast(ConvInteger(y, w, zero))
    becomes
Conv(y - 128, w) - (zero - 128) * sum(w)

where x gets its border before it is rounded, so that a border is zero as all other zeros are. Weights whose distance
from their own zero int8 cannot hold are less 128 instead, and what that zero adds is subtracted as well: as many times
the sum of the data.

Source: ONNX's operators DynamicQuantizeLinear, ConvInteger and MatMulInteger.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import shape_of
from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE, EIGHT_BITS, QUANTIZE, type_of
from pfir.ir.edit import Names, array, cut, held, is_op, operand, sweep
from pfir.ir.operators.windows import pads_of
from pfir.target import SINGLE

_LAYERS = {"ConvInteger": "Conv", "MatMulInteger": "MatMul"}
_STEPS, _MIDDLE = 255.0, 128
_LEAST = 1e-30  # of a range: one of zeros alone has no steps
_WINDOW = ("dilations", "group", "kernel_shape", "strides")
_NOT_NEGATIVE = ("Relu", "Sigmoid")
_WEIGHT, _ZERO, _WEIGHT_ZERO = 1, 2, 3  # inputs
_MATRIX = 2  # axes


def spell_out_dynamic(graph: gs.Graph) -> None:
    """Write every DynamicQuantizeLinear with the layers that read it, where those have constant weights and sums that
    become floats; others stay."""
    names, kept = Names(graph), held(graph)
    found = [node for node in graph.nodes if is_op(node, "DynamicQuantizeLinear") and _is_covered(node, kept)]
    for node in found:
        _Spelling(graph, names, node).write()
    if found:
        sweep(graph)
        graph.toposort()


def _is_covered(node: gs.Node, kept: set[str]) -> bool:
    integers, scale, zero = node.outputs
    readers = [*integers.outputs, *zero.outputs]
    if not node.inputs[0].shape or any(tensor.name in kept for tensor in node.outputs):
        return False
    if not all(is_op(reader, "Mul") and reader.outputs[0].name not in kept for reader in scale.outputs):
        return False
    return bool(readers) and all(_is_layer(reader, node, kept) for reader in readers)


def _is_layer(node: gs.Node, made_by: gs.Node, kept: set[str]) -> bool:
    """Whether a node multiplies the integers by constant ones, to sums which become floats."""
    integers, _, zero = made_by.outputs
    if not is_op(node, *_LAYERS) or node.inputs[0] is not integers or operand(node, _ZERO) is not zero:
        return False
    weight, point = array(node.inputs[_WEIGHT]), operand(node, _WEIGHT_ZERO)
    if weight is None or weight.dtype.name not in EIGHT_BITS or (point is not None and array(point) is None):
        return False
    matrix = node.op == "ConvInteger" or weight.ndim == _MATRIX
    casts = node.outputs[0].outputs
    floats = all(is_op(cast, "Cast") and type_of(cast.outputs[0]) == SINGLE for cast in casts)
    return matrix and floats and node.outputs[0].name not in kept


def _weights(node: gs.Node) -> tuple[np.ndarray, np.ndarray]:
    """The weights as int8, and what stands for zero among them: a number, or one for each output channel as the result
    has them; zero itself where that can be."""
    weight, point = array(node.inputs[_WEIGHT]).astype(np.int32), operand(node, _WEIGHT_ZERO)
    points = np.zeros((), np.int32) if point is None else array(point).astype(np.int32)
    points = points.reshape(()) if points.size == 1 else points
    inner = weight.ndim - 1 if node.op == "ConvInteger" and points.ndim else 0
    centred = weight - points.reshape((*points.shape, *[1] * inner))
    limits = np.iinfo(np.int8)
    if centred.min() >= limits.min and centred.max() <= limits.max:
        return centred.astype(np.int8), np.zeros((), np.int32)
    middle = _MIDDLE if type_of(node.inputs[_WEIGHT]) == "uint8" else 0
    return (weight - middle).astype(np.int8), _along(node, points - middle)


def _along(node: gs.Node, channels: np.ndarray) -> np.ndarray:
    """Numbers of the output channels, as they meet the result."""
    axes = len(node.inputs[_WEIGHT].shape) - 2 if node.op == "ConvInteger" and channels.ndim else 0
    return channels.reshape((*channels.shape, *[1] * axes))


def _sums_of(node: gs.Node, weight: np.ndarray) -> np.ndarray:
    """The sums of weights of each output channel, as they meet the result."""
    axes = tuple(range(1, weight.ndim)) if node.op == "ConvInteger" else (0,)
    return _along(node, weight.sum(axes, dtype=np.int64))


def _border(layer: gs.Node, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Zeros around the data of a convolution: before each axis, then behind each."""
    if layer.op == "MatMulInteger":
        return ()
    return pads_of(layer, shape[2:], layer.inputs[_WEIGHT].shape[2:])


def _shape_of_both(left: gs.Tensor, right: gs.Tensor) -> list[int]:
    return list(np.broadcast_shapes(tuple(left.shape), tuple(right.shape)))


def _widen(tensor: gs.Tensor) -> None:
    """Give a single number, and all that products make of it alone, an axis."""
    if not tensor.shape:
        tensor.shape = [1]
        for node in tensor.outputs:
            _widen(node.outputs[0])


@dataclass
class _Spelling:
    """The nodes that stand for a DynamicQuantizeLinear and its layers.

    Args:
        graph, names: Where they are written.
        node: The DynamicQuantizeLinear.
        rounded: What integers stand for, less the middle, by the border around them.
    """

    graph: gs.Graph
    names: Names
    node: gs.Node
    rounded: dict[tuple[int, ...], gs.Tensor] = field(default_factory=dict)

    def write(self) -> None:
        x, (integers, scale, _) = self.node.inputs[0], self.node.outputs
        layers = list({id(layer): layer for layer in integers.outputs}.values())
        cut(self.node)
        inverse, shift = self._scaled(x, scale)
        for layer in layers:
            border = _border(layer, shape_of(x))
            if border not in self.rounded:
                self.rounded[border] = self._rounded(x, border, inverse, shift, None if self.rounded else integers)
            self._sums(layer, self.rounded[border], shift)

    def _scaled(self, x: gs.Tensor, scale: gs.Tensor) -> tuple[gs.Tensor, gs.Tensor]:
        """Steps of one, and the integer that stands for zero, less the middle; the scale gets an axis."""
        ones = [1] * len(x.shape)
        most = self._made("Relu", [self._made("ReduceMax", [x], ones)], ones)
        least = self._least(x, ones)
        width = most if least is None else self._made("Sub", [most, least], ones)
        width = self._made("Max", [width, self._constant(_LEAST)], ones)
        inverse = self._made("Div", [self._constant(_STEPS), width], ones)
        step = self._made("Mul", [width, self._constant(1 / _STEPS)], ones)
        _widen(scale)
        self._node("Reshape", [step, self._constant([1], np.int64)], scale)
        if least is None:
            return inverse, self._constant(np.full(ones, -_MIDDLE))
        steps = self._made("Neg", [self._made("Mul", [least, inverse], ones)], ones)
        zero = self._whole(steps, 0, None)
        return inverse, self._made("Sub", [zero, self._constant(_MIDDLE)], ones)

    def _least(self, x: gs.Tensor, ones: list[int]) -> gs.Tensor | None:
        """The least number up to zero; None where that is known to be zero."""
        if x.inputs and is_op(x.inputs[0], *_NOT_NEGATIVE):
            return None
        return self._made("Min", [self._made("ReduceMin", [x], ones), self._constant(0.0)], ones)

    def _rounded(
        self, x: gs.Tensor, border: tuple[int, ...], inverse: gs.Tensor, shift: gs.Tensor, made: gs.Tensor | None
    ) -> gs.Tensor:
        """The data with a border as numbers of steps from the middle.

        Args:
            made: The tensor of the integers; None if it is to be a new one.
        """
        shape = list(x.shape)
        if any(border):
            half = len(border) // 2
            shape[-half:] = [n + border[i] + border[half + i] for i, n in enumerate(shape[-half:])]
            outer = [0] * (len(shape) - half)
            pads = self._constant([*outer, *border[:half], *outer, *border[half:]], np.int64)
            x = self._made("Pad", [x, pads], shape)
        steps = self._made("Add", [self._made("Mul", [x, inverse], shape), shift], shape)
        return self._whole(steps, _MIDDLE, made)

    def _whole(self, x: gs.Tensor, middle: int, integers: gs.Tensor | None) -> gs.Tensor:
        """The nearest whole numbers, by integers of eight bits whose zero is the middle."""
        shape, meaning = list(x.shape), [self._constant(1.0), self._constant(middle, np.uint8)]
        if integers is None:
            integers = self._variable("integers", shape, np.uint8)
        integers.shape = shape
        self._node(QUANTIZE, [x, *meaning], integers)
        return self._made(DEQUANTIZE, [integers, *meaning], shape)

    def _sums(self, layer: gs.Node, data: gs.Tensor, shift: gs.Tensor) -> None:
        """The sums of products as floats, in the place of those that were cast."""
        (weight, zero), sums, casts = _weights(layer), layer.outputs[0], list(layer.outputs[0].outputs)
        layer.outputs.clear()
        sums.dtype = np.dtype(SINGLE)
        self._products(layer, data, weight, sums)
        ones = np.ones_like(weight)
        channels = self._constant(_sums_of(layer, weight) - zero * _sums_of(layer, ones))
        less = self._made("Mul", [shift, channels], _shape_of_both(shift, channels))
        if zero.any():
            less = self._made("Add", [self._totals(layer, data, ones, zero, sums), less], list(sums.shape))
        cut(layer)
        for cast in casts:
            result = cast.outputs[0]
            cut(cast)
            self._node("Sub", [sums, less], result)

    def _totals(
        self, layer: gs.Node, data: gs.Tensor, ones: np.ndarray, zero: np.ndarray, like: gs.Tensor
    ) -> gs.Tensor:
        """The sums of the data alone, times what stands for zero among the weights; one channel for all is enough
        without groups."""
        single = int(layer.attrs.get("group", 1)) == 1
        shape, axis = list(like.shape), 1 if layer.op == "ConvInteger" else -1
        if single:
            shape[axis] = 1
            ones = ones[:1] if layer.op == "ConvInteger" else ones[:, :1]
        totals = self._variable("totals", shape, np.float32)
        self._products(layer, data, ones, totals)
        factor = self._constant(zero)
        return self._made("Mul", [totals, factor], _shape_of_both(totals, factor))

    def _products(self, layer: gs.Node, data: gs.Tensor, weight: np.ndarray, result: gs.Tensor) -> None:
        floats = self._made(DEQUANTIZE, [self._constant(weight, np.int8), self._constant(1.0)], list(weight.shape))
        attributes = {name: value for name, value in layer.attrs.items() if name in _WINDOW}
        self._node(_LAYERS[layer.op], [data, floats], result, **attributes)

    def _made(self, op: str, inputs: list[gs.Tensor], shape: list[int]) -> gs.Tensor:
        """The float result of a new node."""
        result = self._variable(op, shape, np.float32)
        self._node(op, inputs, result)
        return result

    def _node(self, op: str, inputs: list[gs.Tensor], result: gs.Tensor, **attributes: object) -> None:
        name = self.names.fresh(f"{self.node.name or result.name}_{op}")
        self.graph.nodes.append(gs.Node(op, name, dict(attributes), inputs, [result]))

    def _variable(self, what: str, shape: list[int], dtype: type) -> gs.Variable:
        return gs.Variable(self.names.fresh(f"{self.node.name}_{what}"), np.dtype(dtype), shape)

    def _constant(self, values: object, dtype: type = np.float32) -> gs.Constant:
        return gs.Constant(self.names.fresh(f"{self.node.name}_constant"), np.asarray(values, dtype))
