"""LSTM and GRU, a step at a time: PyTorch's own have other gates than ONNX's defaults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx_graphsurgeon as gs
import torch
from torch import Tensor
from torch.nn import functional

State = tuple[Tensor, ...]
Cell = Callable[[Tensor, State], State]

_BACKWARDS = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}


def lstm(
    node: gs.Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    *rest: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Long short-term memory over `[T, N, A]`: all hidden states `[T, D, N, H]`, the last, and the last memory.

    Args:
        weight: `[D, 4 H, A]`, the gates in the order input, output, forget, cell.
        recurrence: `[D, 4 H, H]`.
        bias: `[D, 8 H]`, of the weight and of the recurrence.
        rest: No lengths; the hidden state and the memory at first, `[D, N, H]`, zeros where left out.
    """
    starts = [_start(t, x, recurrence) for t in (*rest[1:3], None, None)[:2]]

    def cell(direction: int) -> Cell:
        w, r, b = weight[direction], recurrence[direction], _both(bias, direction)

        def step(now: Tensor, state: State) -> State:
            h, c = state
            i, o, f, g = (functional.linear(now, w, b) + functional.linear(h, r)).chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            return o.sigmoid() * c.tanh(), c

        return step

    every, last = _run(node, x, cell, starts)
    return every, last[0], last[1]


def gru(
    node: gs.Node,
    x: Tensor,
    weight: Tensor,
    recurrence: Tensor,
    bias: Tensor | None = None,
    lengths: Tensor | None = None,
    hidden: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """A gated recurrent unit over `[T, N, A]`: all hidden states `[T, D, N, H]`, and the last.

    Args:
        weight: `[D, 3 H, A]`, the gates in the order update, reset, hidden.
        recurrence: `[D, 3 H, H]`.
        bias: `[D, 6 H]`, of the weight and of the recurrence.
        hidden: `[D, N, H]` at first; zeros where left out.
    """
    reset_first = not node.attrs.get("linear_before_reset", 0)

    def cell(direction: int) -> Cell:
        w, r = weight[direction], recurrence[direction].chunk(3, 0)
        b = torch.zeros(2 * w.shape[0]).to(w) if bias is None else bias[direction]
        mine, theirs = b[: w.shape[0]], b[w.shape[0] :].chunk(3, 0)

        def step(now: Tensor, state: State) -> State:
            (h,) = state
            parts = functional.linear(now, w, mine).chunk(3, -1)
            z, reset = (
                (p + functional.linear(h, m, v)).sigmoid() for p, m, v in zip(parts[:2], r[:2], theirs[:2], strict=True)
            )
            before = functional.linear(reset * h, r[2], theirs[2])
            behind = reset * functional.linear(h, r[2], theirs[2])
            new = (parts[2] + (before if reset_first else behind)).tanh()
            return ((1 - z) * new + z * h,)

        return step

    every, last = _run(node, x, cell, [_start(hidden, x, recurrence)])
    return every, last[0]


def _run(node: gs.Node, x: Tensor, cell: Callable[[int], Cell], starts: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """All hidden states, and the last of each kind of state, every direction on its own."""
    ways = _BACKWARDS[node.attrs.get("direction", "forward")]
    hidden, last = [], []
    for direction, backwards in enumerate(ways):
        state, step = tuple(s[direction] for s in starts), cell(direction)
        found = []
        for now in reversed(x.unbind(0)) if backwards else x.unbind(0):
            state = step(now, state)
            found.append(state[0])
        hidden.append(torch.stack(found[::-1] if backwards else found))
        last.append(state)
    return torch.stack(hidden, 1), [torch.stack(kind) for kind in zip(*last, strict=True)]


def _start(given: Tensor | None, x: Tensor, recurrence: Tensor) -> Tensor:
    directions, _, size = recurrence.shape
    return torch.zeros(directions, x.shape[1], size).to(x) if given is None else given


def _both(bias: Tensor | None, direction: int) -> Tensor | None:
    """The biases of weight and recurrence together."""
    return None if bias is None else torch.add(*bias[direction].chunk(2, 0))


FUNCTIONS: dict[str, Callable[..., Any]] = {"LSTM": lstm, "GRU": gru}
