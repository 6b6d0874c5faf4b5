"""Recurrent layers: their weights, and the gates of their cells.

X is [S, B, I], W [D, G * H, I], R [D, G * H, H], B [D, 2 * G * H], the states are [D, B, H] and P is [D, 3 * H], for D
directions and G gates of H hidden units.
"""

from __future__ import annotations

from pfir.ir.operators.records import MICROSOFT, Cell, Form, Gate, Integers, Operator, Weight

_INPUT = Weight(1, outputs=1, inputs=2)
_STATE = Weight(2, outputs=1, inputs=2)

_LSTM_GATES = (
    Gate("input", 0, peephole=0),
    Gate("output", 0, peephole=1),
    Gate("forget", 0, peephole=2),
    Gate("cell", 1),
)
_LSTM_FUNCTIONS = ("sigmoid", "tanh", "tanh")
"""The last one is what the cell goes through in front of the output gate."""

_LSTM = Cell(_LSTM_GATES, _LSTM_FUNCTIONS, _STATE, states=(5, 6), peepholes=7)
_GRU = Cell(
    (Gate("update", 0), Gate("reset", 0), Gate("hidden", 1, after_reset=True)), ("sigmoid", "tanh"), _STATE, states=(5,)
)
_RNN = Cell((Gate("hidden", 0),), ("tanh",), _STATE, states=(5,))
_QUANTIZED_LSTM = Cell(_LSTM_GATES, _LSTM_FUNCTIONS, Weight(2, outputs=2, inputs=1), states=(5, 6), peepholes=7)

RECURRENT = (
    Operator("GRU", Form.RECURRENT, weight=_INPUT, bias=3, cell=_GRU),
    Operator("LSTM", Form.RECURRENT, weight=_INPUT, bias=3, cell=_LSTM),
    Operator("RNN", Form.RECURRENT, weight=_INPUT, bias=3, cell=_RNN),
    # W and R are integers, and lie the other way round.
    Operator(
        "DynamicQuantizeLSTM",
        Form.RECURRENT,
        (MICROSOFT,),
        weight=Weight(1, outputs=2, inputs=1),
        bias=3,
        cell=_QUANTIZED_LSTM,
        integers={1: Integers(8, 9), 2: Integers(10, 11)},
    ),
)
