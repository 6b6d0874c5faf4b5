"""What the bias of a layer can take over of constant channels that the layer reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.channel_sums import ChannelSums, contraction, integer_contraction
from pfir.ir.edit import operand
from pfir.ir.linear import linear_layer
from pfir.ir.operators.records import Form, Operator
from pfir.ir.operators.table import operator_of
from pfir.ir.weights import numbers

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
    operator = operator_of(node)
    if operator is None or not (operator.is_linear or operator.form is Form.RECURRENT):
        return None
    if operator.form is Form.RECURRENT:
        return None if operator.integers else _of_recurrent(node, operator, site)
    found = integer_contraction(node, shapes) if _counts_in_steps(operator) else contraction(node, shapes)
    if found is None or not found.uniform or node.inputs[0].name != site[0]:
        return None
    factor = linear_layer(node).bias_factor
    return None if factor == 0 else _of_linear(node, found, factor)  # At zero it takes nothing of its bias.


def bias_dtype(node: gs.Node) -> np.dtype:
    """What the numbers of a layer's bias are."""
    operator = operator_of(node)
    return np.dtype(np.int32) if _counts_in_steps(operator) else numbers(node.inputs[operator.weight.place]).dtype


def _counts_in_steps(operator: Operator) -> bool:
    """Whether the bias is one of integers, which is so where the result may be."""
    return operator.bias is not None and operator.result is not None


def _of_linear(node: gs.Node, found: ChannelSums, factor: float) -> Absorber:
    sums, bias = found.sums / factor, np.broadcast_to(found.bias / factor, len(found.sums))
    made = (node.outputs[0].name, found.out_axis)
    return Absorber(sums, np.ones(sums.shape[1], bool), bias, bias_dtype(node), made)


def _of_recurrent(node: gs.Node, operator: Operator, site: tuple[str, int]) -> Absorber | None:
    """W x + b of the input and R h + c of the state, with a half of the bias for each."""
    half = int(site[0] == node.inputs[operator.cell.recurrence.place].name)
    weights, bias = numbers(node.inputs[operator.weights[half].place]), operand(node, operator.bias)
    given = numbers(bias)
    if weights is None or (given is None and bias is not None):
        return None
    directions, rows, width = weights.shape
    halves = np.zeros((directions, 2, rows)) if given is None else given.reshape(directions, 2, rows)
    sums = weights.astype(np.float64).reshape(-1, width)
    able = _exact(operator, node, weights) if half else np.ones(width, bool)
    made = (node.inputs[operator.weight.place].name, operator.weight.outputs)
    return Absorber(sums, able, halves[:, half].ravel().astype(np.float64), bias_dtype(node), made, directions, half)


def _exact(operator: Operator, node: gs.Node, weights: np.ndarray) -> np.ndarray:
    """[H] which units of the state no gate reads behind a reset, where their value is no constant any more."""
    directions, _, width = weights.shape
    gates = operator.cell.gates
    if node.attrs.get("linear_before_reset", 0) or not any(gate.after_reset for gate in gates):
        return np.ones(width, bool)
    by_gate = weights.reshape(directions, len(gates), -1, width)
    return ~by_gate[:, [gate.after_reset for gate in gates]].any((0, 1, 2))
