"""What the bias of a layer can take over of constant channels that the layer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.channel_sums import ChannelSums, contraction, integer_contraction
from pfir.ir.edit import STANDARD_DOMAINS, operand
from pfir.ir.weights import numbers

# Input that holds the bias; a MatMul has none, what it is to add goes behind it.
BIAS_INPUTS = {
    **dict.fromkeys(("Conv", "FusedConv", "FusedGemm", "FusedMatMul", "Gemm", "MatMul"), 2),
    **dict.fromkeys(("GRU", "LSTM", "RNN"), 3),
    "QGemm": 6,
    "QLinearConv": 8,
}
_QUANTIZED = ("QGemm", "QLinearConv")
_RECURRENT = ("GRU", "LSTM", "RNN")
_STEP = 2.0**-10
"""Half the distance between float16 numbers up to four: a bias that is no coarser serves activations of usual size."""


@dataclass(frozen=True)
class Absorber:
    """A layer whose bias can stand in for constants that it reads.

    Args:
        sums: [O, C] what each number of the bias gets of each channel.
        able: [C] whether it is exact for a channel.
        bias: [O] what is there, zero where there is none.
        dtype: Of the bias.
        made: Tensor and axis that hold the layer's output channels, [O / directions].
        directions: How many layers side by side have their rows in the sums, first those of the first.
        half: Of a recurrent layer, which half of its bias it is: 0 for its input, 1 for its state; None of others.
    """

    sums: np.ndarray
    able: np.ndarray
    bias: np.ndarray
    dtype: np.dtype
    made: tuple[str, int]
    directions: int = 1
    half: int | None = None

    def fits(self, taken: np.ndarray) -> bool:
        """Whether the bias can hold what it gets [C] of each channel, and hold it fine enough."""
        total = self.bias + self.sums @ taken
        if self.dtype.kind in "iu":
            return bool((np.abs(total) <= np.iinfo(self.dtype).max).all())
        return not too_coarse(total, self.dtype, np.abs(self.bias)).any()

    def shift(self, taken: np.ndarray, stays: np.ndarray) -> np.ndarray:
        """What the bias must grow by: as it lies there, without the outputs that go."""
        rows = (self.sums @ taken).reshape(self.directions, -1)[:, stays]
        if self.half is None:
            return rows[0]
        parts = [np.zeros_like(rows), np.zeros_like(rows)]
        parts[self.half] = rows
        return np.concatenate(parts, axis=1)


def too_coarse(numbers: np.ndarray, dtype: np.dtype, beside: np.ndarray | float = 0.0) -> np.ndarray:
    """Which numbers a type cannot hold: those too large, and in half precision those that lose what others feel.

    Args:
        beside: Sizes of other numbers, of which as much is lost.
    """
    with np.errstate(all="ignore"):
        lost = np.abs(numbers.astype(dtype).astype(np.float64) - numbers)
    felt = lost > _STEP * np.maximum(1.0, beside)
    return ~np.isfinite(lost) | (felt if np.dtype(dtype).itemsize < 4 else np.zeros_like(felt))


def absorber(node: gs.Node, site: tuple[str, int], shapes: Mapping[str, tuple | None]) -> Absorber | None:
    """How a layer's bias takes over constants along an axis that it reads; None where it cannot.

    Args:
        site: A tensor that the node reads and the axis that it sums over.
        shapes: Dimensions by tensor, None for an unknown rank.
    """
    if node.op in _RECURRENT and node.domain in STANDARD_DOMAINS:
        return _of_recurrent(node, site)
    found = integer_contraction(node, shapes) if node.op in _QUANTIZED else contraction(node, shapes)
    if found is None or not found.uniform or node.inputs[0].name != site[0] or node.op not in BIAS_INPUTS:
        return None
    silent = "Gemm" in node.op and node.attrs.get("beta", 1.0) == 0  # It takes nothing of its bias.
    return None if silent else _of_linear(node, found)


def bias_dtype(node: gs.Node) -> np.dtype:
    """What the numbers of a layer's bias are."""
    return np.dtype(np.int32) if node.op in _QUANTIZED else numbers(node.inputs[1]).dtype


def _of_linear(node: gs.Node, found: ChannelSums) -> Absorber:
    dtype = bias_dtype(node)
    scale = node.attrs.get("beta", 1.0) if node.op in ("FusedGemm", "Gemm") else 1.0
    sums, bias = found.sums / scale, np.broadcast_to(found.bias / scale, len(found.sums))
    return Absorber(sums, np.ones(sums.shape[1], bool), bias, dtype, (node.outputs[0].name, found.out_axis))


def _of_recurrent(node: gs.Node, site: tuple[str, int]) -> Absorber | None:
    """W x + b of the input and R h + c of the state, with a half of the bias for each."""
    place = int(site[0] == node.inputs[2].name)
    weights, bias = numbers(node.inputs[1 + place]), numbers(operand(node, 3))
    if weights is None or (bias is None and operand(node, 3) is not None):
        return None
    directions, rows, width = weights.shape
    halves = np.zeros((directions, 2, rows)) if bias is None else bias.reshape(directions, 2, rows)
    able = np.ones(width, bool)
    if node.op == "GRU" and place == 1 and not node.attrs.get("linear_before_reset", 0):
        able = ~weights[:, 2 * rows // 3 :].any((0, 1))  # What the candidate reads has been reset before.
    sums = weights.astype(np.float64).reshape(-1, width)
    made = (node.inputs[1].name, 1)
    return Absorber(sums, able, halves[:, place].ravel().astype(np.float64), bias_dtype(node), made, directions, place)
