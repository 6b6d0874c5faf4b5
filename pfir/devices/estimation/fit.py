"""What instructions take of a core, fitted to what boards were measured to take for nets whose instructions are known.

    seconds * clock = board * (costs . instructions) + clock * waiting

By least squares on relative errors, under four restraints, for a board tells of a dozen nets and there are eleven
classes:

- Classes that overlap the same things are fitted as one factor on what is expected of them (`GROUPS`).
- A factor that the nets do not tell is pulled to what the others are on average.
- No cost falls below what the core can start in a cycle (`least`).
- A row counts the less the further it lies off, so that wrong figures move nothing (Cauchy's weights).

Boards of one core type share its costs; each but the standing one has a factor of its own, for its memory, for a clock
that is not the one told, and for the version of the library that was measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pfir.cores import Costs
from pfir.instructions import Instructions

GROUPS = (
    ("multiply", "half"),
    ("dot",),
    ("widening",),
    ("vector",),
    ("load", "load_byte"),
    ("store", "store_byte"),
    ("scalar", "branch"),
)
"""Fields of `Costs` that keep the ratio expected of them. A multiply-add costs the same in float32 and float16."""
COSTS = tuple(field.name for field in fields(Costs) if field.name != "call")
"""In the order of `CLASSES`."""
PULL = 0.003
"""The weight of the pull, relative to that of all rows: factors that no row tells stay at the mean, those that the rows
tell move by under a tenth."""
SPREAD = 0.1
"""A row that lies off by so much has half the weight of one that does not: what nets of one board scatter by."""
_STEPS = 12
_PLACE = np.array([next(i for i, group in enumerate(GROUPS) if name in group) for name in COSTS])


@dataclass(frozen=True)
class Row:
    """One net on one board.

    Args:
        instructions: What it executes.
        seconds: What it was measured to take, > 0.
        clock_hz: The board's clock.
        board: Rows of one board share a factor.
        waiting: Seconds of it for bytes that do not fit the caches.
    """

    instructions: Instructions
    seconds: float
    clock_hz: float
    board: str = ""
    waiting: float = 0.0


@dataclass(frozen=True)
class Fit:
    """Costs, and what each board takes relative to the standing one."""

    costs: Costs
    boards: dict[str, float]

    def seconds(self, row: Row) -> float:
        """What the row's net should take on its board."""
        cycles = self.costs.cycles(row.instructions)
        return self.boards.get(row.board, 1.0) * cycles / row.clock_hz + row.waiting


def fit(
    rows: Sequence[Row], expected: Costs, least: Costs | None = None, standing: str = "", pull: float = PULL
) -> Fit:
    """The costs by which the rows err least.

    Args:
        rows: At least one.
        expected: What the costs are in proportion to, as far as the rows do not tell.
        least: What no cost falls below; 0 if not given.
        standing: The board whose factor is 1; without it the geometric mean of all is.
        pull: The weight of what is expected; 0 is none.
    """
    columns = _columns(rows, expected)
    cycles = np.array([max(row.seconds - row.waiting, row.seconds / 10) * row.clock_hz for row in rows])
    unit = float(np.median(cycles / columns.sum(1)))
    columns, bounds = unit * columns, _bounds(expected, least) / unit
    names = [row.board for row in rows]
    boards = dict.fromkeys(names, 1.0)
    weights = np.ones(len(rows))
    for _ in range(_STEPS):
        scales = np.array([boards[name] for name in names])
        factors = _factors(columns * (scales / cycles)[:, None], weights, bounds, pull)
        logs = np.log(np.maximum(columns @ factors, 1e-12) / cycles)
        boards = _scales(logs, names, standing)
        errors = logs + np.log([boards[name] for name in names])
        weights = 1 / (1 + (errors / SPREAD) ** 2)
    return Fit(Costs(*(float(unit * value) for value in factors[_PLACE] * _values(expected))), boards)


def by_class(instructions: Instructions, costs: Costs) -> Instructions:
    """Cycles of each class, in place of counts: cores of different costs can be fitted together by them."""
    return Instructions(*(n * cost for n, cost in zip(instructions.values, _values(costs), strict=True)))


def _columns(rows: Sequence[Row], expected: Costs) -> np.ndarray:
    """Expected cycles by group, [rows, groups]."""
    each = np.array([row.instructions.values for row in rows]) * np.array(_values(expected))
    return np.stack([each[:, i == _PLACE].sum(1) for i in range(len(GROUPS))], 1)


def _bounds(expected: Costs, least: Costs | None) -> np.ndarray:
    """The least factor of each group, the largest that one of its classes asks for."""
    if least is None:
        return np.zeros(len(GROUPS))
    asked = np.array(_values(least)) / np.maximum(_values(expected), 1e-12)
    return np.array([asked[i == _PLACE].max() for i in range(len(GROUPS))])


def _factors(relative: np.ndarray, weights: np.ndarray, bounds: np.ndarray, pull: float) -> np.ndarray:
    """The factors of the groups whose weighted sums, [rows, groups], come closest to 1.

    Their mean is one unknown more, to which each is pulled.
    """
    from scipy.optimize import lsq_linear

    roots, groups = np.sqrt(weights), relative.shape[1]
    held = np.sqrt(pull * len(weights)) * np.hstack([np.eye(groups), -np.ones((groups, 1))])
    system = np.vstack([np.hstack([relative * roots[:, None], np.zeros((len(roots), 1))]), held])
    wanted = np.concatenate([roots, np.zeros(groups)])
    return lsq_linear(system, wanted, bounds=(np.append(bounds, 0.0), np.inf), method="bvls").x[:groups]


def _scales(logs: np.ndarray, names: list[str], standing: str) -> dict[str, float]:
    """What each board takes by its median row, relative to the standing one."""
    each = {name: -float(np.median(logs[[n == name for n in names]])) for name in dict.fromkeys(names)}
    unit = each[standing] if standing in each else sum(each.values()) / len(each)
    return {name: float(np.exp(value - unit)) for name, value in each.items()}


def _values(costs: Costs) -> tuple[float, ...]:
    return tuple(getattr(costs, name) for name in COSTS)
