"""The kernels of a grid as the emulator counted them, with their schedules read back from texts."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.estimator.grid import target_of
from pfir.backends.tvm.schedule.blocks import Block, Direct
from pfir.backends.tvm.schedule.candidate_schedules import Schedule
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.pair_blocks import PairBlocks
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.routing import DEPTHWISE
from pfir.backends.tvm.schedule.tile_kinds import (
    AcrossTile,
    DepthwiseTile,
    DotsTile,
    DottedTile,
    MatrixTile,
    SparseTile,
    Tile,
)
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

RESULTS = Path(__file__).resolve().parents[3] / "benchmarks" / "results"
SMALL = 5000
"""Instructions below which a kernel's error is relative to this: 3 % of it are 150 instructions."""
_TILE = re.compile(
    r"tile (\d+) x (\d+) lanes x (\d+)(?: x (\d+) lines)?(| of dots| narrowing| across columns| skipping zeros)"
)
_PRODUCTS = {"": MatrixTile, " of dots": DotsTile, " narrowing": DottedTile}
_BLOCK = re.compile(r"(\d+) of ([\d+]+)(?: and (\d+))? x (\d+)")
_UNITS = re.compile(r"(\w+)(?: by (\d+),)? (\d+ of .*), skipping zeros by (\d+)")
_INTEGERS = re.compile(r"(\w[\w.]*)(?: by (\d+),)? (\d+ of [^,]*(?:, \d+ of [^,]*)*)")
_WINOGRAD = re.compile(r"winograd (\d)x\d, strips of (\d+), (\d+) lanes, (.*)")


@dataclass(frozen=True)
class Row:
    """A kernel of a grid, and what the emulator counted.

    Args:
        key: What tells it from the others; it begins with the text of the target.
        target: What it was built for.
        node: The operator that it begins with.
        shapes: Of what that node reads, then of what it makes.
        orders: In which the axes of what the kernel reads lie in memory.
        attributes: Of the node.
        workload: What it computes, where there is a choice of schedules.
        schedule: By which it was built.
        tail: What follows in the same kernel.
        counted: By the emulator, less a call.
    """

    key: str
    target: Target
    node: str
    shapes: tuple[tuple[int, ...], ...]
    orders: tuple[tuple[int, ...], ...]
    attributes: dict[str, Any]
    workload: Workload | None
    schedule: Schedule | None
    tail: Tail
    counted: Instructions

    @property
    def on(self) -> str:
        """The text of the target, with its arithmetic."""
        return self.key.partition(" | ")[0]

    @property
    def data(self) -> tuple[int, ...]:
        """The shape of the first tensor that it reads."""
        return self.shapes[0]

    @property
    def out(self) -> tuple[int, ...]:
        """The shape of the last one that its first node makes."""
        return self.shapes[-1]


Count = Callable[[Row], Instructions]
"""What says how many instructions a kernel executes."""


def rows(kind: str) -> list[Row]:
    """The kernels of a grid."""
    return [_row(fields) for fields in json.loads((RESULTS / f"counted_{kind}.json").read_text())]


def _row(fields: dict[str, Any]) -> Row:
    workload, schedule = fields["workload"], fields["schedule"]
    return Row(
        fields["key"],
        target_of(fields["target"]),
        fields["node"],
        tuple(map(tuple, fields["shapes"])),
        tuple(map(tuple, fields.get("orders", ()))),
        fields.get("attributes", {}),
        Workload(**_tuples(workload)) if workload else None,
        schedule_of(schedule, workload["family"]) if schedule else None,
        Tail(**_tuples(fields["tail"])),
        Instructions(*fields["counted"]),
    )


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def schedule_of(text: str, family: str) -> Schedule:
    """The schedule of a text of a family's workload, as it is on Arm."""
    if match := _WINOGRAD.fullmatch(text):
        outputs, strip, lanes = map(int, match.groups()[:3])
        return Winograd(outputs, strip, lanes, _tile(match[4], family))
    if match := _UNITS.fullmatch(text):
        dot, together, block, inputs = match.groups()
        blocks = (_block(block),)
        return SparseBlocks(PairBlocks(blocks, dot, int(together)) if together else DotBlocks(blocks, dot), int(inputs))
    if match := _INTEGERS.fullmatch(text):
        dot, together, blocks = match.groups()
        chosen = tuple(map(_block, blocks.split(", ")))
        return PairBlocks(chosen, dot, int(together)) if together else DotBlocks(chosen, dot)
    if text.startswith("direct "):
        *blocks, steps = text.removeprefix("direct ").split(", ")
        return Direct(tuple(map(_block, blocks)), int(steps.split()[0]))
    return _tile(text, family)


def _tile(text: str, family: str) -> Tile:
    shape, steps, *turn = text.split(", ")
    match = _TILE.fullmatch(shape)
    vectors, lanes, tall = map(int, match.groups()[:3])
    if match[5] == " across columns":
        return AcrossTile(lanes, vectors, tall)
    if match[5] == " skipping zeros":
        return SparseTile(lanes, tall, int(steps.split()[0]))
    if family == DEPTHWISE:
        return DepthwiseTile(lanes, tall, int(match[4] or 1), bool(turn))
    return _PRODUCTS[match[5]](lanes, vectors, tall, int(steps.split()[0]))


def _block(text: str) -> Block:
    count, lanes, singles, tall = _BLOCK.fullmatch(text).groups()
    return Block(tuple(map(int, lanes.split("+"))), int(singles or 0), int(tall), int(count))


def errors(kernels: Iterable[Row], count: Count) -> np.ndarray:
    """By how much of the emulator's total each kernel's differs; of a small kernel, of `SMALL`."""
    return np.array([abs(count(row).total - row.counted.total) / max(SMALL, row.counted.total) for row in kernels])


def whole(kernels: Iterable[Row], count: Count) -> float:
    """All kernels as one net: its count over the emulator's."""
    return sum(count(row).total for row in kernels) / sum(row.counted.total for row in kernels)


def exact(kernels: Iterable[Row], count: Count) -> np.ndarray:
    """Whether each kernel's multiply-adds and products of vectors are those of the emulator."""
    pairs = ((_products(count(row)), _products(row.counted)) for row in kernels)
    return np.array([np.allclose(ours, told, rtol=1e-9) for ours, told in pairs])


def _products(found: Instructions) -> tuple[float, ...]:
    return found.multiply, found.half, found.dot, found.widening


def moved(kernels: Iterable[Row], count: Count) -> np.ndarray:
    """Loads and stores of each kernel over the emulator's, less one."""
    pairs = ((count(row), row.counted) for row in kernels)
    return np.array([(ours.load + ours.store) / (told.load + told.store) - 1 for ours, told in pairs])
