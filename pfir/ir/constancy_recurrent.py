"""Hidden units of recurrent layers that are always zero, whatever is fed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import operand
from pfir.ir.weights import numbers

if TYPE_CHECKING:
    from pfir.ir.constancy import Constancy

# Functions of zero that are zero; their names are written in any case.
_THROUGH_ZERO = frozenset(("elu", "leakyrelu", "relu", "scaledtanh", "softsign", "tanh", "thresholdedrelu"))


@dataclass(frozen=True)
class _Cell:
    """What decides whether a unit moves.

    Args:
        gates: Rows of W, R and half of B that there are for each unit.
        candidate: The gate whose rows make the new state; the others only weigh it against the old one.
        functions: How many activation functions a direction has, and which of them the candidate passes through.
        state: The input whose first value the output starts from; 0 if there is none.
    """

    gates: int
    candidate: int
    functions: tuple[int, tuple[int, ...]]
    state: int


_CELLS = {
    "RNN": _Cell(1, 0, (1, (0,)), 0),
    "GRU": _Cell(3, 2, (2, (1,)), 5),
    "LSTM": _Cell(4, 3, (3, (1, 2)), 6),
}


def recurrent(known: Constancy, node: gs.Node) -> None:
    """Note the units whose candidate is always zero and whose state starts from zero, in outputs and in what R reads.

    Other constants are only reached step by step, so they are none.
    """
    zero, state = _units(known, node)
    for tensor in node.outputs:
        for axis, labels in enumerate(known.trace.axes.get(tensor.name, ())):
            if labels is not None:
                known.note((tensor.name, axis), None if zero is None else _told(zero))
    site = (node.inputs[2].name, 2)
    # Where two nodes share R, it must hold for both.
    before = known.at(site)
    known.note(site, None if state is None else _told(state if before is None else state & (before == 0)))


def _told(zero: np.ndarray) -> np.ndarray:
    return np.where(zero, 0.0, np.nan)


def _units(known: Constancy, node: gs.Node) -> tuple[np.ndarray | None, np.ndarray | None]:
    """[H] which units every output shows as zero, and which each step finds as zero; None if nothing is known."""
    cell = _CELLS[node.op]
    arrays = [numbers(operand(node, i)) for i in (1, 2, 3)]
    if arrays[0] is None or arrays[1] is None or (arrays[2] is None and operand(node, 3) is not None):
        return None, None
    turn, hidden = arrays[1], arrays[1].shape[2]
    rows = slice(cell.candidate * hidden, (cell.candidate + 1) * hidden)
    zero = _still(known, node, arrays[0][:, rows]) & _without_bias(arrays[2], cell, hidden, rows)
    zero &= _functions(node, cell)[:, None]
    if cell.state:
        zero &= _starts_from_zero(known, node, cell.state, hidden)
    first = _starts_from_zero(known, node, 5, hidden)
    while True:  # Each time fewer: units that read one that moves may move.
        moved = ((turn[:, rows] != 0) & ~(zero & first)[:, None]).any(2)
        if not (zero & moved).any():
            return zero.all(0), (zero & first).all(0)
        zero &= ~moved


def _still(known: Constancy, node: gs.Node, weights: np.ndarray) -> np.ndarray:
    """[D, H] whether nothing of the input comes through to a unit."""
    values = known.at((node.inputs[0].name, 2))
    blocked = np.ones(weights.shape[2], bool) if values is None else values != 0
    return ~((weights != 0) & blocked).any(2)


def _without_bias(bias: np.ndarray | None, cell: _Cell, hidden: int, rows: slice) -> np.ndarray:
    if bias is None:
        return np.ones((1, hidden), bool)
    halves = bias.reshape(len(bias), 2, cell.gates * hidden)
    return (halves[:, :, rows] == 0).all(1)


def _functions(node: gs.Node, cell: _Cell) -> np.ndarray:
    """[D] whether the candidate of a direction stays zero on its way."""
    count, places = cell.functions
    directions = 2 if node.attrs.get("direction") == "bidirectional" else 1
    names = node.attrs.get("activations") or ["tanh"] * (count * directions)
    each = np.reshape([str(n).lower() in _THROUGH_ZERO for n in names], (-1, count))
    return each[:, list(places)].all(1)


def _starts_from_zero(known: Constancy, node: gs.Node, place: int, hidden: int) -> np.ndarray:
    """[H] whether an initial state is zero, as it is if none is given."""
    tensor = operand(node, place)
    if tensor is None:
        return np.ones(hidden, bool)
    values = known.along(tensor, 2)
    return np.zeros(hidden, bool) if values is None else values == 0
