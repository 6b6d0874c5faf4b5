"""The layers of a quantized model whose integer weights may be chosen anew, beside their weights as floats."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.edit import array, is_op, producer
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.ir.weights import numbers, zero_of
from pfir.ir.windows import Windows
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix


@dataclass(frozen=True, eq=False)
class Bias:
    """A bias of a quantized model, an initializer of the layer alone.

    Args:
        tensor: The initializer, of integers where it has a scale.
        scale: A number for each output channel, or one for all; None of a bias of floats.
        factor: What the bias is multiplied by before it is added to the product.
    """

    tensor: str
    scale: np.ndarray | None
    factor: float

    def values(self, held: np.ndarray) -> np.ndarray:
        """What these values of the initializer add to the product, float32 [O]."""
        floats = held if self.scale is None else held * self.scale
        return np.ravel(floats).astype(np.float32) * np.float32(self.factor)

    def stored(self, values: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The inverse of `values`, in the shape and type of the initializer `like`."""
        floats = values.astype(np.float64) / self.factor
        if self.scale is None:
            return floats.reshape(like.shape).astype(like.dtype)
        limits = np.iinfo(like.dtype)
        return np.clip(np.rint(floats / self.scale), limits.min, limits.max).reshape(like.shape).astype(like.dtype)


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """A layer W x + b of a quantized model, W an integer initializer times a scale.

    Args:
        node: Its node's name, in the quantized model and in the float one.
        integers: The initializer that holds the integers, alone read by the layer.
        scales: The initializer that holds their scale: a scalar, or one number for each output channel.
        weight: The float model's weight.
        scale: float32, broadcasts to `weight`.
        limit: The largest integer that a weight may be; the smallest is its negative.
        data: The tensor of the quantized model that the layer multiplies: eight bits, as floats.
        result: The tensor that the node writes, in the float model.
        matrix: How it contracts; None where outputs are no products of windows with a matrix (transposed ones), or the
            bias is not the layer's alone.
        bias: What is added to the product; None where nothing is.
        factor: What the product is multiplied by.
        bounds: Least and largest value that the float model lets through behind the node (Relu, Clip).
    """

    node: str
    integers: str
    scales: str
    weight: np.ndarray
    scale: np.ndarray
    limit: int
    data: str
    result: str
    matrix: ConsumerMatrix | None
    bias: Bias | None
    factor: float
    bounds: tuple[float, float]

    @property
    def nearest(self) -> np.ndarray:
        """The integers nearest to the float weights, float32."""
        return np.clip(np.rint(self.weight / self.scale), -self.limit, self.limit)


def quantized_layers(model: Model, reference: Model, weight_bits: int) -> tuple[QuantizedLayer, ...]:
    """The layers of a quantized model whose weights are integers, symmetric, and theirs alone, in order.

    Args:
        model: Standard ONNX Q/DQ; a layer's node has the name that it has in `reference`.
        reference: The float model that was quantized.
        weight_bits: 2 to 8; integers stay within +-(2^(weight_bits - 1) - 1).

    Raises:
        UsageError: weight_bits is out of its range.
    """
    if not 2 <= weight_bits <= 8:
        raise UsageError(f"weight_bits is {weight_bits}; it must be 2 to 8")
    limit = 2 ** (weight_bits - 1) - 1
    return tuple(_found(model, reference, limit))


def _found(model: Model, reference: Model, limit: int) -> Iterator[QuantizedLayer]:
    floats = {node.name: node for node in reference.nodes()}
    for node in model.nodes():
        ours, before = plain_layer(node), floats.get(node.name)
        theirs = None if before is None or before.op != node.op else plain_layer(before)
        step = None if ours is None else producer(ours.weight)
        if theirs is None or step is None or not _is_symmetric(step):
            continue
        weight, integers = numbers(theirs.weight), step.inputs[0]
        if weight is not None and weight.shape == tuple(integers.values.shape) and weight.dtype == np.float32:
            bias = _bias(ours, weight.shape)
            yield QuantizedLayer(
                node.name,
                integers.name,
                step.inputs[1].name,
                weight,
                _scale(step, weight.ndim),
                limit,
                ours.data.name,
                theirs.node.outputs[0].name,
                None if bias is None and ours.bias is not None else _matrix(theirs, weight.shape),
                bias,
                ours.factor,
                bounds_behind(theirs.node.outputs[0]),
            )


def bounds_behind(result: gs.Tensor) -> tuple[float, float]:
    """Least and largest value that what alone reads this tensor lets through, where that is a Relu or a Clip."""
    reader = result.outputs[0] if len(result.outputs) == 1 else None
    if reader is not None and is_op(reader, "Relu"):
        return 0.0, math.inf
    if reader is None or not is_op(reader, "Clip") or any(array(t) is None for t in reader.inputs[1:] if t.name):
        return -math.inf, math.inf
    given = [array(t) if t.name else None for t in reader.inputs[1:]] + [None, None]
    least = reader.attrs.get("min", -math.inf) if given[0] is None else float(given[0])
    return least, reader.attrs.get("max", math.inf) if given[1] is None else float(given[1])


def _is_symmetric(step: gs.Node) -> bool:
    """Whether the node makes floats of integers that nothing else reads, whose zero is zero."""
    if not is_op(step, "DequantizeLinear") or any(not isinstance(t, gs.Constant) for t in step.inputs):
        return False
    integers = step.inputs[0]
    alone = len(integers.outputs) == 1 and len(step.outputs[0].outputs) == 1
    zero = zero_of(step, 0, tuple(integers.values.shape))
    return alone and zero is not None and not zero.any()


def _scale(step: gs.Node, rank: int) -> np.ndarray:
    scale = np.asarray(step.inputs[1].values, np.float32)
    shape = [1] * rank
    if scale.size > 1:
        shape[step.attrs.get("axis", 1)] = -1
    return scale.reshape(shape)


def _matrix(layer: LinearLayer, shape: tuple[int, ...]) -> ConsumerMatrix | None:
    unlike = layer.is_transposed or layer.turns_data or layer.place != layer.operator.weight.place
    if unlike or (not layer.is_convolution and len(shape) != 2):
        return None
    windows = layer.windows(shape[2:]) if layer.is_convolution else Windows()
    names = layer.node.name, layer.weight.name, layer.data.name
    channels = shape[layer.input_axis]
    return ConsumerMatrix(*names, layer.layout, channels, layer.data_axis, layer.result_axis, windows=windows)


def _bias(layer: LinearLayer, shape: tuple[int, ...]) -> Bias | None:
    tensor, step = layer.bias, None if layer.bias is None else producer(layer.bias)
    scale = None
    if step is not None:
        if not _is_symmetric(step):
            return None
        tensor, scale = step.inputs[0], np.asarray(step.inputs[1].values, np.float64)
    outputs = layer.layout.outputs(shape)
    own = isinstance(tensor, gs.Constant) and len(tensor.outputs) == 1 and tensor.values.size == outputs
    return Bias(tensor.name, scale, layer.bias_factor) if own and layer.bias_factor else None
