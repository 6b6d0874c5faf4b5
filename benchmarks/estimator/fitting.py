"""Costs of every core from the boards of ncnn's page, and how they do on nets, boards and cores that were left out."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.estimator.boards import FITTED, Board  # noqa: E402
from benchmarks.estimator.nets import arithmetic, rows_of  # noqa: E402
from benchmarks.estimator.shared import shared_gb_s  # noqa: E402
from pfir.cores import Costs  # noqa: E402
from pfir.cores.issue import FAMILIES, ISSUE  # noqa: E402
from pfir.devices.estimation.fit import COSTS, Fit, Row, by_class, fit  # noqa: E402

LEAST_SHARE = 0.25
"""Of a slot that a load, a store or an instruction on addresses takes at least, where it runs beside multiply-adds."""
FAMILY_PULL = 0.0003
"""A family has some hundred rows, a core a dozen."""
LIKE = {"neoverse-n1": "cortex-a76"}
"""Cores without data that have the pipelines of one with data."""
_VECTORS = ("multiply", "half", "dot", "widening", "vector")
_ONES = Costs(*(1.0,) * len(COSTS))
Left = Callable[[Board, str], bool]
"""Whether a net of a board is left out."""


@dataclass(frozen=True)
class Trial:
    """What was said of a net without having seen it, relative to what its board took."""

    board: Board
    net: str
    ratio: float

    @property
    def error(self) -> float:
        return abs(self.ratio - 1)

    @property
    def arithmetic(self) -> str:
        return arithmetic(self.board, self.net)


def family_of(core: str) -> str:
    return next(name for name, cores in FAMILIES.items() if core in cores)


def boards_of(core: str) -> list[Board]:
    return [board for board in FITTED if board.core == core]


def least(issue: Costs) -> Costs:
    """What no cost falls below: the pipes of vectors, and a share of what else is issued."""
    return Costs(**{name: getattr(issue, name) * (1.0 if name in _VECTORS else LEAST_SHARE) for name in COSTS})


def expected(core: str, left: Left) -> Costs:
    """The scheduling model's costs by one factor a group, fitted to the boards of the family."""
    factors = _family(family_of(core), left).costs
    issue = ISSUE[core].costs
    return Costs(**{name: getattr(issue, name) * getattr(factors, name) for name in COSTS})


def core_fit(core: str, left: Left, standing: bool = True) -> Fit:
    """Costs of a core; those expected where no row of it is left."""
    if core in LIKE:
        return core_fit(LIKE[core], left, standing)
    rows = [row for board in boards_of(core) for net, row in rows_of(board) if not left(board, net)]
    prior = expected(core, left)
    if not rows:
        return Fit(prior, {})
    return fit(rows, prior, least(ISSUE[core].costs), boards_of(core)[0].name if standing else "")


def keep(board: Board, net: str) -> bool:
    """Nothing is left out."""
    return False


@cache
def nets_left_out() -> tuple[Trial, ...]:
    """Each net by the fit to all others, on every board that there is; a board's factor is that of its other nets."""
    nets = dict.fromkeys(net for board in FITTED for net, _ in rows_of(board))
    return tuple(trial for net in nets for trial in _trials_of(net))


@cache
def boards_left_out() -> tuple[Trial, ...]:
    """Each board by the fit to the others of its core type, or to other types where it is the only one."""
    found = []
    for board in FITTED:
        found += _of_board(board, core_fit(board.core, lambda b, _, x=board: b == x, False))
    return tuple(found)


@cache
def cores_left_out() -> tuple[Trial, ...]:
    """Each core type by the fit to the others of its family."""
    found = []
    for core in dict.fromkeys(board.core for board in FITTED):
        told = core_fit(core, lambda b, _, x=core: b.core == x)
        found += [trial for board in boards_of(core) for trial in _of_board(board, told)]
    return tuple(found)


def mean_error(trials) -> float:
    return float(np.mean([trial.error for trial in trials]))


def _trials_of(net: str) -> list[Trial]:
    found = []
    for core in dict.fromkeys(board.core for board in FITTED):
        told = core_fit(core, lambda _, n: n == net)
        for board in boards_of(core):
            found += [Trial(board, n, told.seconds(row) / row.seconds) for n, row in rows_of(board) if n == net]
    return found


def _of_board(board: Board, told: Fit) -> list[Trial]:
    return [Trial(board, net, told.seconds(row) / row.seconds) for net, row in rows_of(board)]


def _family(family: str, left: Left) -> Fit:
    """Factors of the groups, on cycles by class as the scheduling models have them."""
    rows = [
        _scheduled(board, row)
        for board in FITTED
        if board.core in FAMILIES[family]
        for net, row in rows_of(board)
        if not left(board, net)
    ]
    return fit(rows, _ONES, least(_ONES), pull=FAMILY_PULL)


def _scheduled(board: Board, row: Row) -> Row:
    return replace(row, instructions=by_class(row.instructions, ISSUE[board.core].costs))


def spearman(board: Board) -> float:
    """Rank correlation of what was said, each net left out, with what the board took."""
    from scipy.stats import spearmanr

    said = {trial.net: trial.ratio for trial in nets_left_out() if trial.board == board}
    rows = dict(rows_of(board))
    return float(spearmanr([said[n] * rows[n].seconds for n in rows], [row.seconds for row in rows.values()])[0])


def errors_of(core: str) -> dict[str, object]:
    """By arithmetic: of its boards' nets, each left out; where there are none, of core types that were left out.

    `elsewhere` is that of boards that were left out.
    """
    cores = FAMILIES[family_of(core)]
    own = [trial for trial in nets_left_out() if trial.board.core == core]
    others = mean_error([trial for trial in cores_left_out() if trial.board.core in cores])
    elsewhere = mean_error([trial for trial in boards_left_out() if trial.board.core in cores])
    measured = sorted({trial.arithmetic for trial in own})
    found = {
        name: mean_error([t for t in own if t.arithmetic == name]) if name in measured else others
        for name in ("float32", "float16", "int8")
    }
    rounded = {name: round(error, 3) for name, error in {**found, "elsewhere": elsewhere}.items()}
    return {**rounded, "measured": measured}


def table() -> dict[str, dict]:
    """What pfir/cores/fitted.json holds."""
    return {
        core: {
            "costs": {name: float(f"{getattr(core_fit(core, keep).costs, name):.3g}") for name in COSTS},
            "errors": errors_of(core),
            "shared_gb_s": shared_gb_s(core),
        }
        for core in ISSUE
    }
