"""The layers of a quantized model whose integer weights may be chosen anew, beside their weights as floats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.ir.weights import numbers
from pfir.ir.windows import Windows
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix
from pfir.passes.quantization.qdq.integer_layers import Bits, IntegerLayer, bits_of, integer_layers, largest_integer


@dataclass(frozen=True, eq=False)
class QuantizedLayer:
    """A layer of a quantized model beside its float counterpart.

    Args:
        own: As the quantized model has it.
        weight: The float model's weight, in the shape of the integers.
        limit: The largest integer that a weight may be; the smallest is its negative.
        matrix: How it contracts; None where outputs are no products of windows with a matrix (transposed ones), or the
            bias is not the layer's alone.
    """

    own: IntegerLayer
    weight: np.ndarray
    limit: int
    matrix: ConsumerMatrix | None


def quantized_layers(model: Model, reference: Model, weight_bits: Bits) -> dict[str, QuantizedLayer]:
    """The layers of a quantized model whose weights are integers, symmetric, and theirs alone, by name of the node.

    Args:
        model: Standard ONNX Q/DQ; a layer's node has the name that it has in `reference`.
        reference: The float model that was quantized.
        weight_bits: 2 to 8; integers stay within +-(2^(weight_bits - 1) - 1).

    Raises:
        UsageError: weight_bits is out of its range.
    """
    return {found.own.node: found for found in _found(model, reference, weight_bits)}


def _found(model: Model, reference: Model, weight_bits: Bits) -> Iterator[QuantizedLayer]:
    floats = {node.name: node for node in reference.nodes()}
    held = model.initializers()
    for own in integer_layers(model):
        before = floats.get(own.node)
        layer = None if before is None or before.op != own.layer.node.op else plain_layer(before)
        weight = None if layer is None else numbers(layer.weight)
        shape = tuple(held[own.integers].values.shape)
        if layer is None or weight is None or weight.shape != shape or weight.dtype != np.float32:
            continue
        limit = largest_integer(bits_of(own.node, weight_bits))
        matrix = None if own.bias is None and own.layer.bias is not None else matrix_of(layer, shape)
        yield QuantizedLayer(own, weight, limit, matrix)


def matrix_of(layer: LinearLayer, shape: tuple[int, ...]) -> ConsumerMatrix | None:
    """How a layer with a weight of this shape contracts; None where its outputs are no products with a matrix."""
    usual = layer.operator.weight
    unlike = layer.is_transposed or layer.turns_data or usual is None or layer.place != usual.place
    if unlike or (not layer.is_convolution and len(shape) != 2):
        return None
    windows = layer.windows(shape[2:]) if layer.is_convolution else Windows()
    names = layer.node.name, layer.weight.name, layer.data.name
    channels = shape[layer.input_axis]
    return ConsumerMatrix(*names, layer.layout, channels, layer.data_axis, layer.result_axis, windows=windows)
