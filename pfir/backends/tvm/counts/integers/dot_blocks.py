"""Instructions of integer convolutions by dot products of four bytes, or matrix products of eight."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from math import ceil
from typing import NamedTuple

from pfir.backends.tvm.counts.integers.rounding import after_sums
from pfir.backends.tvm.counts.integers.walk import WRITTEN_OUT, Walk, stretches, tiles_of, walk_of
from pfir.backends.tvm.counts.overlap import beside
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.kernels.integers.groups import cut
from pfir.backends.tvm.kernels.integers.results import together
from pfir.backends.tvm.kernels.integers.tile import CROWDED, parts_of
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks, positions_together
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Scalar instructions and branches, fitted to counts: of a line, a tile, a row of the kernel over a tile, a run, and a
# round of it. An image has a border, where rows and columns are told apart; a copy holds it; points have one line.
_IMAGE = (0, 0, 0, 9, 5), (0, 0, 1, 0.65, 1)
_COPY = (20, 2, 7, 0, 3), (8, 0, 1.2, 0, 1)
_POINTS = (14, 7.5, 0, 0, 4.2), (1, 1.3, 0, 0, 1.1)
# Vector instructions that take two positions' sums of four channels apart.
_APART = 3


class _Row(NamedTuple):
    """Of all tiles along a row of the result, for one row of the kernel: groups that each position, or pair of them,
    multiplies, groups of weights, loads of values, of which two have to be brought together, runs, and rounds of loops;
    tiles, and their positions, or pairs."""

    products: int
    weights: int
    loads: int
    zipped: int
    runs: int
    rounds: int
    tiles: int
    positions: int


def conv_int8(target: Target, workload: Workload, tail: Tail, plan: DotBlocks) -> Instructions:
    """The instructions of a kernel."""
    walk = walk_of(workload, plan.together, positions=positions_together(plan.dot))
    found = walk.copy
    for block in plan.blocks:
        found += of_block(target, walk, block, tail) * block.count
    return found


@lru_cache(maxsize=1 << 14)
def _row(walk: Walk, most: int, registers: int, one_by_one: bool) -> _Row:
    """What tiles of at most so many positions do, each with so many registers of sums; values come `one_by_one` group
    on x86."""
    found, tiles, each = [0] * 6, 0, 0
    for times, spans in tiles_of(walk, most):
        tiles += times
        each += times * _multiplied(walk, range(len(spans)))
        for taps, who in stretches(walk.kernel, spans):
            runs, length = (1, walk.inner * taps) if walk.beside else (taps, walk.inner)
            pieces = cut(length, walk.together)
            loads = pieces.whole + (pieces.last is not None)
            groups, multiplied = runs * pieces.count, _multiplied(walk, who)
            brought = len(who) * runs * (pieces.count if one_by_one else loads)
            looped = pieces.whole > 1 and multiplied * pieces.groups * pieces.whole * registers > WRITTEN_OUT
            zipped = multiplied * groups if walk.positions > 1 and pieces.groups > 1 else 0
            sizes = multiplied * groups, groups, brought, zipped, runs, runs * pieces.whole if looped else 0
            found = [one + times * size for one, size in zip(found, sizes, strict=True)]
    products, weights, brought, zipped, runs, rounds = found
    return _Row(products, weights, brought, zipped, runs, rounds, tiles, each)


def _multiplied(walk: Walk, who: Iterable[int]) -> int:
    """These positions, or the pairs that they are in."""
    return len({i // walk.positions for i in who})


def _steering(walk: Walk, row: _Row) -> list[float]:
    """Scalar instructions, and branches."""
    kind = _COPY if walk.copied[0] else _POINTS if walk.kernel == 1 else _IMAGE
    counts = walk.lines, walk.lines * row.tiles, walk.rows * row.tiles, walk.rows * row.runs, walk.rows * row.rounds
    return [sum(count * each for count, each in zip(counts, of, strict=True)) for of in kind]


def of_block(target: Target, walk: Walk, block: Block, tail: Tail) -> Instructions:
    """The instructions of one block of channels over all positions."""
    arm, lanes = by_lane(target), target.core.vector_bytes // 4
    vectors = sum(-(-width // lanes) for width in block.lanes)
    registers = walk.positions * vectors  # of sums, for each position or pair of them
    row, total = _row(walk, block.rows, registers, not arm), Sum()
    paired = 2 if arm else 1
    loads, weights = walk.rows * row.loads, walk.rows * row.weights * registers
    values_bytes = walk.together * walk.rows * row.products * walk.positions
    dots, apart = beside(target, walk.rows * row.products * registers, loads + weights / paired)
    total.read(1, apart, values_bytes + weights * target.core.vector_bytes if apart else 0)
    begin = walk.lines * vectors
    total.read(1, begin * row.tiles / paired, begin * row.tiles * target.core.vector_bytes)
    total.compute(1, 0, walk.lines * (registers * row.positions - vectors * row.tiles))
    if walk.positions > 1:
        total.compute(1, 0, walk.rows * row.zipped + begin * (row.tiles + _APART * row.positions))
    total.steer(1, *_steering(walk, row))
    ends, positions = Instructions(), walk.out / row.tiles
    crowded = target.arm64 and sum(block.lanes) * positions > CROWDED
    for width in block.lanes:
        for _, kept in [(0, width)] if width <= walk.channels else parts_of(walk.channels):
            sharing = together(ceil(positions), kept, tail.reads > 0) if crowded else positions
            ends += after_sums(target, tail, kept, sharing)
    return total.instructions(False) + Instructions(dot=dots) + ends * (walk.lines * walk.out)
