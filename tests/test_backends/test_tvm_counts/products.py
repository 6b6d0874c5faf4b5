"""Kernels of products and of Winograd's algorithm as the emulator counted them, and their schedules from texts."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.estimator.grid import target_of
from pfir.backends.tvm.schedule.tile_kinds import DotsTile, DottedTile, MatrixTile, Tile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
_TILE = re.compile(r"tile (\d+) x (\d+) lanes x (\d+)( of dots| narrowing)?, (\d+) steps")
_WINOGRAD = re.compile(r"winograd (\d)x\d, strips of (\d+), (\d+) lanes, (.*)")


@dataclass(frozen=True)
class Row:
    """A kernel of a grid, and what the emulator counted."""

    key: str
    target: Target
    node: str
    shapes: list[list[int]]
    workload: Workload | None
    schedule: Winograd | Tile | None
    tail: Tail
    counted: Instructions


def rows(kind: str) -> list[Row]:
    """The kernels of a grid."""
    return [_row(row) for row in json.loads((RESULTS / f"counted_{kind}.json").read_text())]


def _row(row: dict) -> Row:
    workload = row["workload"] and Workload(**_tuples(row["workload"]))
    schedule = _schedule(row["schedule"]) if row["schedule"] else None
    tail, counted = Tail(**_tuples(row["tail"])), Instructions(*row["counted"])
    return Row(row["key"], target_of(row["target"]), row["node"], row["shapes"], workload, schedule, tail, counted)


def _tuples(fields: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _schedule(text: str) -> Winograd | Tile:
    """The schedule of a text, on Arm."""
    if match := _WINOGRAD.fullmatch(text):
        outputs, strip, lanes = map(int, match.groups()[:3])
        return Winograd(outputs, strip, lanes, _schedule(match[4]))
    match = _TILE.fullmatch(text)
    vectors, lanes, tall, steps = (int(match[i]) for i in (1, 2, 3, 5))
    if match[4] == " of dots":
        return DotsTile(lanes, vectors, tall, steps)
    return (DottedTile if match[4] else MatrixTile)(lanes, vectors, tall, steps)


def shares(pairs: list[tuple[Instructions, Instructions]]) -> np.ndarray:
    """By how much of the second one the first one's total differs, each less what is allowed for the smallest kernels:
    150 instructions below 5,000."""
    found = []
    for ours, counted in pairs:
        off = abs(ours.total - counted.total)
        found.append(0.0 if counted.total < 5000 and off <= 150 else off / counted.total)
    return np.array(found)
