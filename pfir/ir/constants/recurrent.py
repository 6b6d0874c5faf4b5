"""Hidden units of recurrent layers that are the same at every step, whatever is fed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.known_constants import KnownConstants, Values, only_zero
from pfir.ir.edit import operand
from pfir.ir.operators.records import Cell
from pfir.ir.operators.table import operator_of
from pfir.ir.weights import numbers

State = tuple[np.ndarray, ...]
"""Hidden state [D, H], then that of the cells where there are some; NaN where it depends on an input or on the step."""

# Functions without parameters, and others that are zero at zero; their names are written in any case.
_EXACT: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "relu": lambda x: np.maximum(x, 0),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "tanh": np.tanh,
}
_THROUGH_ZERO = frozenset(("elu", "leakyrelu", "scaledtanh", "thresholdedrelu"))


@dataclass(frozen=True)
class _Layer:
    """A recurrent layer in numbers.

    Args:
        cell: Its gates.
        given: [D, G*H] what the input and its bias add to each gate at every step, NaN where that is not known.
        turn: [D, G*H, H] what the gates read of the state.
        bias: [D, G*H] of the state.
        peepholes: [D, G, H] what each gate reads of its own cell.
        functions: Those of a direction, for each of D.
        after: Whether a GRU resets what has been read rather than the state.
        coupled: Whether one gate of an LSTM follows from another.
    """

    cell: Cell
    given: np.ndarray
    turn: np.ndarray
    bias: np.ndarray
    peepholes: np.ndarray
    functions: tuple[tuple[Callable, ...], ...]
    after: bool
    coupled: bool

    def apply(self, place: int, x: np.ndarray) -> np.ndarray:
        """A function of each direction on its row."""
        return np.stack([each[place](row) for each, row in zip(self.functions, x, strict=True)])

    def rows(self, gate: str) -> slice:
        """Where a gate has its rows."""
        hidden, at = self.turn.shape[2], self.cell.gate(gate)
        return slice(at * hidden, (at + 1) * hidden)

    def opened(self, gate: str, given: np.ndarray, cell: np.ndarray | None = None) -> np.ndarray:
        """What comes out of a gate [D, H] when the gates are given [D, G*H], and it may look at the cell [D, H]."""
        at, values = self.cell.gate(gate), given[:, self.rows(gate)]
        values = values if cell is None else values + _times(self.peepholes[:, at], cell)
        return self.apply(self.cell.gates[at].function, values)


def recurrent(known: KnownConstants, node: gs.Node) -> None:
    """Note the units that have one value from the first step on, in outputs and, if they start with it, where R reads.

    Units that only come close to a value, step by step, are none.
    """
    told, read = _told(known, node) or ((None, None, None), None)
    for tensor, values in zip(node.outputs, told, strict=False):
        for axis, labels in enumerate(known.trace.axes.get(tensor.name, ())):
            if labels is not None:
                known.note((tensor.name, axis), values)
    state = operator_of(node).cell.recurrence
    site = (node.inputs[state.place].name, state.inputs)
    # Where two nodes share R, it must hold for both.
    before = known.at(site)
    known.note(site, read if before is None or read is None else np.where(read == before, read, np.nan))


def _told(known: KnownConstants, node: gs.Node) -> tuple[tuple[Values, Values, Values], Values] | None:
    """[H] what each output shows of every unit, and what each step finds of it; None if nothing is known."""
    layer = _layer(known, node)
    if layer is None:
        return None
    with np.errstate(all="ignore"):
        first = _start(known, node, *layer.turn.shape[::2])
        state = _STEPS[node.op](layer, first)
        while True:  # Each time fewer: what a step makes of units that stay must be what they were.
            after = _agreed(state, _STEPS[node.op](layer, state))
            if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(after, state, strict=True)):
                break
            state = after
    outputs = [_everywhere(values) for values in (state[0], state[0], state[-1])]
    if operand(node, operator_of(node).cell.lengths) is not None:  # Behind the end of a sequence is zero.
        outputs = [only_zero(values) for values in outputs]
    return tuple(outputs), _everywhere(_agreed(first, state)[0])


def _agreed(one: State, other: State) -> State:
    return tuple(np.where(a == b, a, np.nan) for a, b in zip(one, other, strict=True))


def _everywhere(values: np.ndarray) -> np.ndarray:
    """The values that all directions agree on."""
    return np.where((values == values[:1]).all(0), values[0], np.nan)


def _layer(known: KnownConstants, node: gs.Node) -> _Layer | None:
    """The layer in numbers, where its weights are known and its functions, too."""
    operator = operator_of(node)
    weights, turn = (numbers(operand(node, weight.place)) for weight in operator.weights)
    bias = numbers(operand(node, operator.bias))
    if weights is None or turn is None or (bias is None and operand(node, operator.bias) is not None):
        return None
    weights, turn = weights.astype(np.float64), turn.astype(np.float64)
    directions, rows, hidden = turn.shape
    halves = np.zeros((directions, 2, rows)) if bias is None else bias.astype(np.float64).reshape(directions, 2, rows)
    functions = _functions(node, directions)
    if functions is None:
        return None
    values = known.at((node.inputs[0].name, 2))
    values = np.full(weights.shape[2], np.nan) if values is None else values
    given = _summed(weights, np.broadcast_to(values, (directions, values.size))) + halves[:, 0]
    peepholes = _peepholes(node, operator.cell, (directions, hidden))
    after, coupled = (bool(node.attrs.get(name, 0)) for name in ("linear_before_reset", "input_forget"))
    return _Layer(operator.cell, given, turn, halves[:, 1], peepholes, functions, after, coupled)


def _peepholes(node: gs.Node, cell: Cell, size: tuple[int, int]) -> np.ndarray:
    """[D, G, H] what each gate reads of its own cell: zero where it reads none, NaN where that is computed."""
    found = np.zeros((size[0], len(cell.gates), size[1]))
    tensor = None if cell.peepholes is None else operand(node, cell.peepholes)
    values = numbers(tensor)
    for at, gate in enumerate(cell.gates):
        if tensor is not None and gate.peephole is not None:
            found[:, at] = np.nan if values is None else values.reshape(size[0], -1, size[1])[:, gate.peephole]
    return found


def _functions(node: gs.Node, directions: int) -> tuple[tuple[Callable, ...], ...] | None:
    usual = operator_of(node).cell.functions
    count = len(usual)
    names = [str(name).lower() for name in node.attrs.get("activations") or usual * directions]
    if len(names) != count * directions:
        return None
    bounded = "clip" in node.attrs
    found = [_bounded(_function(name)) if bounded else _function(name) for name in names]
    return tuple(tuple(found[count * d : count * (d + 1)]) for d in range(directions))


def _function(name: str) -> Callable[[np.ndarray], np.ndarray]:
    return _EXACT.get(name, only_zero if name in _THROUGH_ZERO else lambda x: np.full_like(x, np.nan))


def _bounded(function: Callable) -> Callable[[np.ndarray], np.ndarray]:
    """The function of an argument that is clipped: behind bounds only zero is sure to be itself."""
    return lambda x: function(only_zero(x))


def _start(known: KnownConstants, node: gs.Node, directions: int, hidden: int) -> State:
    """The states that are given, zero where none is."""
    found = []
    for place in operator_of(node).cell.states:
        tensor = operand(node, place)
        values = np.zeros(hidden) if tensor is None else known.along(tensor, 2)
        values = np.full(hidden, np.nan) if values is None else values
        found.append(np.broadcast_to(values, (directions, hidden)).astype(np.float64))
    return tuple(found)


def _summed(weights: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[D, R, C] x [D, C] -> [D, R], NaN where a weight that is not zero meets one."""
    unknown = np.isnan(values)
    reached = ((weights != 0) & unknown[:, None]).any(2)
    return np.where(reached, np.nan, np.einsum("drc,dc->dr", weights, np.where(unknown, 0.0, values)))


def _times(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A product, zero where a factor is, known or not the other."""
    return np.where((a == 0) | (b == 0), 0.0, a * b)


def _weighed(layer: _Layer, state: np.ndarray) -> np.ndarray:
    """[D, G*H] what the gates get of the input and of a state."""
    return layer.given + _summed(layer.turn, state) + layer.bias


def _rnn(layer: _Layer, state: State) -> State:
    return (layer.opened("hidden", _weighed(layer, state[0])),)


def _gru(layer: _Layer, state: State) -> State:
    old, rest = state[0], layer.rows("hidden")
    weighed = _weighed(layer, old)
    update, reset = (layer.opened(gate, weighed) for gate in ("update", "reset"))
    if layer.after:
        read = _times(reset, _summed(layer.turn[:, rest], old) + layer.bias[:, rest])
    else:
        read = _summed(layer.turn[:, rest], _times(reset, old)) + layer.bias[:, rest]
    new = layer.apply(layer.cell.gates[layer.cell.gate("hidden")].function, layer.given[:, rest] + read)
    # An average of equals is that, whatever their weights.
    return (np.where(new == old, new, (1 - update) * new + update * old),)


def _lstm(layer: _Layer, state: State) -> State:
    old, cell = state
    weighed = _weighed(layer, old)
    taken, kept = (layer.opened(gate, weighed, cell) for gate in ("input", "forget"))
    if layer.coupled:
        taken, kept = np.full_like(taken, np.nan), np.full_like(kept, np.nan)
    cell = _times(kept, cell) + _times(taken, layer.opened("cell", weighed))
    shown = layer.opened("output", weighed, cell)
    # The last function is the one that the cell goes through on its way out.
    return _times(shown, layer.apply(len(layer.cell.functions) - 1, cell)), cell


_STEPS: dict[str, Callable[[_Layer, State], State]] = {"GRU": _gru, "LSTM": _lstm, "RNN": _rnn}
