"""Convolutions and dense layers as matrices over channels: what each output channel sums of each input channel."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array


class Contraction:
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


def contraction(node: gs.Node, shapes: Mapping[str, tuple | None]) -> Contraction | None:
    """A node as a matrix over channels; None where it is none, or its numbers are computed.

    Args:
        shapes: Dimensions by tensor, None for an unknown rank.
    """
    weight = array(node.inputs[1]) if len(node.inputs) > 1 else None
    bias = array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2].name else np.zeros(1)
    if weight is None or bias is None or node.domain not in (None, "", "ai.onnx"):
        return None
    if node.op == "Conv":
        return _conv(node, weight, bias)
    if node.op == "ConvTranspose":
        return _conv_transpose(node, weight, bias)
    if node.op == "Gemm" and weight.ndim == 2:
        return _gemm(node, weight, bias)
    if node.op == "MatMul" and weight.ndim == 2:
        return _matmul(len(shapes.get(node.inputs[0].name) or ()), weight)
    return None


def _conv(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Contraction:
    sums, touches = _summed(weight, node.attrs.get("group", 1))
    padded = any(node.attrs.get("pads", ())) or node.attrs.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return Contraction(sums, touches, bias.astype(np.float64), not padded, 1, 1)


def _conv_transpose(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Contraction:
    """Where windows overlap more counts than elsewhere, so no constant but zero stays one."""
    sums, touches = _summed(weight, node.attrs.get("group", 1))
    return Contraction(sums.T, touches.T, bias.astype(np.float64), False, 1, 1)


def _summed(weight: np.ndarray, group: int) -> tuple[np.ndarray, np.ndarray]:
    """[R, P, *k] of `group` groups -> the sum over k and whether any tap is not zero, both [R, P * group]."""
    rows, per = weight.shape[:2]
    taps = weight.reshape(rows, per, -1).astype(np.float64)
    sums, touches = np.zeros((rows, per * group)), np.zeros((rows, per * group), bool)
    columns = (np.arange(rows) // (rows // group) * per)[:, None] + np.arange(per)
    np.put_along_axis(sums, columns, taps.sum(2), 1)
    np.put_along_axis(touches, columns, taps.any(2), 1)
    return sums, touches


def _gemm(node: gs.Node, weight: np.ndarray, bias: np.ndarray) -> Contraction | None:
    if node.attrs.get("transA", 0) or bias.ndim > 1 and bias.shape[0] != 1:
        return None
    matrix = weight.astype(np.float64) * node.attrs.get("alpha", 1.0)
    matrix = matrix if node.attrs.get("transB", 0) else matrix.T
    return Contraction(matrix, matrix != 0, bias.ravel().astype(np.float64) * node.attrs.get("beta", 1.0), True, 1, 1)


def _matmul(rank: int, weight: np.ndarray) -> Contraction | None:
    if rank < 2:
        return None
    matrix = weight.T.astype(np.float64)
    return Contraction(matrix, matrix != 0, np.zeros(1), True, rank - 1, rank - 1)
