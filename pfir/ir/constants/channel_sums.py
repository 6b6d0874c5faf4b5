"""Convolutions and dense layers as matrices over channels: what each output channel sums of each input channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import STANDARD_DOMAINS, is_op, operand
from pfir.ir.weights import numbers, zero_of

_LARGEST_MATRIX = 1 << 23


class ChannelSums:
    """A convolution or dense layer as a matrix over channels.

    Args:
        sums: [O, C] sum of the weights between two channels.
        touches: [O, C] whether any of them is not zero.
        bias: [O], or zero.
        uniform: Whether a constant input channel gives a constant everywhere (no zeros are padded in).
    """

    def __init__(self, sums, touches, bias, uniform: bool, in_axis: int, out_axis: int):
        self.sums, self.touches, self.bias = sums, touches, bias
        self.uniform, self.in_axis, self.out_axis = uniform, in_axis, out_axis


def contraction(node: gs.Node, shapes: Mapping[str, tuple | None]) -> ChannelSums | None:
    """A node as a matrix over channels; None where it is none, or its numbers are computed.

    Args:
        shapes: Dimensions by tensor, None for an unknown rank.
    """
    if not is_op(node, "Conv", "ConvTranspose", "Gemm", "MatMul") and not _is_fused(node):
        return None
    weight = numbers(node.inputs[1])
    bias = np.zeros(1) if operand(node, 2) is None else numbers(operand(node, 2))
    if weight is None or bias is None or _is_sparse(node, weight):
        return None
    if node.op in ("Conv", "FusedConv"):
        return _conv(node, weight, bias)
    if node.op == "ConvTranspose":
        return _conv_transpose(node, weight, bias)
    if weight.ndim != 2:
        return None
    if node.op in ("Gemm", "FusedGemm"):
        return _gemm(node, weight, bias)
    weight = weight.T if node.attrs.get("transB", 0) else weight
    rank = len(shapes.get(node.inputs[0].name) or ())
    return _matmul(rank, weight * node.attrs.get("alpha", 1.0))


def _is_sparse(node: gs.Node, weight: np.ndarray) -> bool:
    """Whether a convolution has so many groups that its matrix over channels, nearly all zeros, would fill memory."""
    group = node.attrs.get("group", 1)
    return group > 1 and weight.shape[0] * weight.shape[1] * group > _LARGEST_MATRIX


def _is_fused(node: gs.Node) -> bool:
    """ONNX Runtime's own, with an activation or a factor in it."""
    turned = any(node.attrs.get(name, 0) for name in ("transA", "transBatchA", "transBatchB"))
    return node.domain == "com.microsoft" and node.op in ("FusedConv", "FusedGemm", "FusedMatMul") and not turned


def integer_contraction(node: gs.Node, shapes: Mapping[str, tuple | None]) -> ChannelSums | None:
    """The same of a node on integers: its weights and bias without their zero points, but also without scales."""
    foreign = node.domain not in (*STANDARD_DOMAINS, "com.microsoft") or node.attrs.get("channels_last", 0)
    if node.op not in _INTEGER or foreign:
        return None
    place, bias_place = _INTEGER[node.op]
    weight = numbers(node.inputs[place])
    zero = None if weight is None else zero_of(node, place, weight.shape)
    bias = np.zeros(1) if operand(node, bias_place) is None else numbers(operand(node, bias_place))
    if zero is None or bias is None or weight.dtype.kind not in "iu" or _is_sparse(node, weight):
        return None
    weight = weight.astype(np.int64) - zero
    if "Conv" in node.op:
        return _conv(node, weight, bias)
    if weight.ndim != 2:
        return None
    if node.op == "QGemm":
        return _rows(node, weight, bias)
    return _matmul(len(shapes.get(node.inputs[0].name) or ()), weight)


# Operator to the inputs that hold its weights and its bias.
_INTEGER = {
    "ConvInteger": (1, 9),
    "MatMulInteger": (1, 9),
    "QGemm": (3, 6),
    "QLinearConv": (3, 8),
    "QLinearMatMul": (3, 9),
}


def _conv(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> ChannelSums:
    sums, touches = _summed(weight, node.attrs.get("group", 1))
    padded = any(node.attrs.get("pads", ())) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return ChannelSums(sums, touches, bias.astype(np.float64), not padded, 1, 1)


def _conv_transpose(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> ChannelSums:
    """Where windows overlap more counts than elsewhere, so no constant but zero stays one."""
    sums, touches = _summed(weight, node.attrs.get("group", 1))
    return ChannelSums(sums.T, touches.T, bias.astype(np.float64), False, 1, 1)


def _summed(weight: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """[R, P, *k] of `group` groups -> the sum over k and whether any tap is not zero, both [R, P * group]."""
    rows, per = weight.shape[:2]
    taps = weight.reshape(rows, per, -1).astype(np.float64)
    sums, touches = np.zeros((rows, per * group)), np.zeros((rows, per * group), bool)
    columns = (np.arange(rows) // (rows // group) * per)[:, None] + np.arange(per)
    np.put_along_axis(sums, columns, taps.sum(2), 1)
    np.put_along_axis(touches, columns, taps.any(2), 1)
    return sums, touches


def _gemm(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> ChannelSums | None:
    scaled = weight.astype(np.float64) * node.attrs.get("alpha", 1.0)
    return _rows(node, scaled, bias.astype(np.float64) * node.attrs.get("beta", 1.0))


def _rows(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> ChannelSums | None:
    """A product with a matrix, which may be transposed, and one bias for all rows of the result."""
    if node.attrs.get("transA", 0) or bias.ndim > 1 and bias.shape[0] != 1:
        return None
    matrix = (weight if node.attrs.get("transB", 0) else weight.T).astype(np.float64)
    return ChannelSums(matrix, matrix != 0, bias.ravel().astype(np.float64), True, 1, 1)


def _matmul(rank: int, weight: np.ndarray) -> ChannelSums | None:
    if rank < 2:
        return None
    matrix = weight.T.astype(np.float64)
    return ChannelSums(matrix, matrix != 0, np.zeros(1), True, rank - 1, rank - 1)
