"""Convolutions and dense layers as matrices over channels: what each output channel sums of each input channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.linear import Layout, LinearLayer, linear_layer
from pfir.ir.operators.records import Form
from pfir.ir.weights import numbers, zero_of

_LARGEST_MATRIX = 1 << 23


class ChannelSums:
    """A convolution or dense layer as a matrix over channels.

    Args:
        sums: [O, C] sum of the weights between two channels.
        touches: [O, C] whether any of them is not zero.
        bias: [O], or zero.
        uniform: Whether a constant input channel gives a constant everywhere: no zeros are padded in, and no window
            overlaps more others than its neighbour does.
    """

    def __init__(self, sums, touches, bias, uniform: bool, in_axis: int, out_axis: int):
        self.sums, self.touches, self.bias = sums, touches, bias
        self.uniform, self.in_axis, self.out_axis = uniform, in_axis, out_axis


def contraction(node: gs.Node, shapes: Mapping[str, tuple | None]) -> ChannelSums | None:
    """A node on floats as a matrix over channels; None where it is none, or its numbers are computed.

    Args:
        shapes: Dimensions by tensor, None for an unknown rank.
    """
    layer = _second_is_weight(node)
    if layer is None or layer.operator.integers:
        return None
    weight, bias = numbers(layer.weight), _bias(layer)
    if weight is None or bias is None:
        return None
    return _summed(layer, weight.astype(np.float64) * layer.factor, bias * layer.bias_factor, shapes)


def integer_contraction(node: gs.Node, shapes: Mapping[str, tuple | None]) -> ChannelSums | None:
    """A node on integers as a matrix over channels; weights are told less their zero points, all without scales."""
    layer = _second_is_weight(node)
    if layer is None or not layer.is_integer or node.attrs.get("channels_last", 0):
        return None
    weight, bias = numbers(layer.weight), _bias(layer)
    zero = None if weight is None else zero_of(node, layer.place, weight.shape)
    if zero is None or bias is None or weight.dtype.kind not in "iu":
        return None
    return _summed(layer, weight.astype(np.int64) - zero, bias, shapes)


def _second_is_weight(node: gs.Node) -> LinearLayer | None:
    """The node as a linear layer whose channels lie where they do in the data and the result."""
    layer = linear_layer(node)
    if layer is None or layer.place != layer.operator.weight.place or layer.turns_data:
        return None
    return layer


def _bias(layer: LinearLayer) -> np.ndarray | None:
    """float64, zero without a bias; None where it is computed, or has other axes than the output channels."""
    bias = np.zeros(1) if layer.bias is None else numbers(layer.bias)
    rows = bias is not None and bias.ndim > 1 and bias.shape[0] != 1
    return None if bias is None or rows else bias.ravel().astype(np.float64)


def _summed(
    layer: LinearLayer, weight: np.ndarray, bias: np.ndarray, shapes: Mapping[str, tuple | None]
) -> ChannelSums | None:
    axes = _axes(layer, shapes)
    if axes is None or _is_sparse(layer, weight) or (not layer.is_convolution and weight.ndim != 2):
        return None
    taps = layer.layout.blocks(weight)
    sums, touches = (Layout.across_groups(part) for part in (taps.sum(3, dtype=np.float64), taps.any(3)))
    return ChannelSums(sums, touches, bias, not layer.adds_zeros, *axes)


def _axes(layer: LinearLayer, shapes: Mapping[str, tuple | None]) -> tuple[int, int] | None:
    """The axes of data and result that hold the channels, from the front; None of vectors."""
    rank = 2 if layer.operator.form is Form.GEMM else len(shapes.get(layer.data.name) or ())
    if layer.is_convolution:
        return layer.data_axis, layer.result_axis
    return None if rank < 2 else (layer.data_axis % rank, layer.result_axis % rank)


def _is_sparse(layer: LinearLayer, weight: np.ndarray) -> bool:
    """Whether a convolution has so many groups that its matrix over channels, nearly all zeros, would fill memory."""
    groups = layer.layout.groups
    return groups > 1 and weight.shape[0] * weight.shape[1] * groups > _LARGEST_MATRIX
