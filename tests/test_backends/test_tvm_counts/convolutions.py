"""Convolutions as the emulator counted them, and their schedules from texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.estimator.grid import target_of
from pfir.backends.tvm.schedule.blocks import Block, Direct
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
_BLOCK = re.compile(r"(\d+) of ([\d+]+)(?: and (\d+))? x (\d+)")
_TILE = re.compile(r"tile (\d+) x (\d+) lanes x (\d+), (\d+) steps")
SMALL, ALLOWED = 5000, 150  # instructions of a small kernel, and by how many its count may differ


@dataclass(frozen=True)
class Row:
    """A kernel of a grid, and what the emulator counted."""

    target: Target
    workload: Workload
    schedule: Direct | MatrixTile
    tail: Tail
    counted: Instructions

    @property
    def work(self) -> tuple[str, str, Tail]:
        """What it computes, and for which target, whatever the schedule."""
        return str(self.target), str(self.workload), self.tail


def rows(kind: str) -> list[Row]:
    """The kernels of a grid."""
    found = json.loads((RESULTS / f"counted_{kind}.json").read_text())
    return [
        Row(
            target_of(row["target"]),
            Workload(**_tuples(row["workload"])),
            _schedule(row["schedule"]),
            Tail(**_tuples(row["tail"])),
            Instructions(*row["counted"]),
        )
        for row in found
    ]


def _tuples(fields: dict) -> dict:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _schedule(text: str) -> Direct | MatrixTile:
    if match := _TILE.fullmatch(text):
        vectors, lanes, tall, steps = map(int, match.groups())
        return MatrixTile(lanes, vectors, tall, steps)
    *blocks, steps = text.removeprefix("direct ").split(", ")
    return Direct(tuple(_block(block) for block in blocks), int(steps.split()[0]))


def _block(text: str) -> Block:
    count, lanes, singles, tall = _BLOCK.fullmatch(text).groups()
    return Block(tuple(map(int, lanes.split("+"))), int(singles or 0), int(tall), int(count))


Function = Callable[[Target, Workload, Tail, Direct | MatrixTile], Instructions]


def errors(count: Function, kernels: list[Row]) -> np.ndarray:
    """By how much of the emulator's totals a function's differ; of a small kernel nothing where that is little."""
    found = []
    for row in kernels:
        off = abs(count(row.target, row.workload, row.tail, row.schedule).total - row.counted.total)
        found.append(0.0 if row.counted.total < SMALL and off <= ALLOWED else off / row.counted.total)
    return np.array(found)


def whole(count: Function, kernels: list[Row]) -> float:
    """All kernels as one net: its count over the emulator's."""
    ours = sum(count(row.target, row.workload, row.tail, row.schedule).total for row in kernels)
    return ours / sum(row.counted.total for row in kernels)
