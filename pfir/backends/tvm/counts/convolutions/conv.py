"""Instructions of scheduled convolutions, counted along the loops of kernels/conv.py.

Every tile of columns by channels starts from zeros, sums over the kernel's rows, its columns, and rounds of input
channels, and writes what exists of it. Constants are from disassembly and the grid benchmarks/estimator/grids/conv.py.
"""

from __future__ import annotations

from typing import NamedTuple

from pfir.backends.tvm.counts.convolutions.border import add_copy
from pfir.backends.tvm.counts.convolutions.results import add_parts, add_results, parts_of
from pfir.backends.tvm.counts.overlap import beside
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import HALF, Target
from pfir.workload import Tail, Workload

# A call checks its arguments, and saves and restores registers: loads, stores, scalar instructions, branches.
_CALL = 82, 48, 80, 85
# Scalar instructions of a round.
_A_ROUND = 3
# Values of float16 under a tile up to which each is loaded once: lanes of the first 16 registers can be multiplied by.
_KEPT = 20
# Of a tile whose channels are no whole vectors, results up to which their loop is written out.
_ONE_BY_ONE = 64
# LLVM writes out a loop of fewer instructions, those of a round by its own measure; of fewer where values that are
# loaded one by one have addresses of their own.
_WRITTEN_OUT, _SINGLY_WRITTEN_OUT, _LOOP = 298, 230, 3
# Bytes from an address within which two single values are one load.
_REACH = 252
# Input channels up to which the columns of the kernel are unrolled.
_FEW = 4


def conv(target: Target, workload: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """The instructions of a kernel with this tile."""
    vectors = _vectors(target, workload, tile)
    run, found = _run(target, workload, tile, vectors), Sum()
    found.call(*_CALL)
    add_copy(found, target, workload, tile)
    _add_sums(found, target, workload, tile, run, vectors)
    add_parts(found, target, workload, tile, run.parts)
    singles = add_results(found, target, workload, tail, tile, run.looped)
    total = found.instructions(workload.dtype == HALF)
    return total + Instructions(multiply=singles) if singles else total


def _vectors(target: Target, work: Workload, tile: MatrixTile) -> int:
    """The vectors of a tile: those of a single block that hold no channels are left out, but where a loop reads results
    one by one."""
    out = work.out[1] // work.group
    looped = by_lane(target) and out % 2 and tile.rows * tile.block > _ONE_BY_ONE
    return tile.vectors if out > tile.block or looped else min(tile.vectors, -(-out // tile.lanes))


def _add_sums(found: Sum, target: Target, work: Workload, tile: MatrixTile, run: _Run, vectors: int) -> None:
    """Add the tiles, but for their results."""
    out, lanes = work.out[1] // work.group, tile.lanes
    blocks, columns = -(-out // tile.block), -(-work.out[3] // tile.rows)
    arm = by_lane(target)
    share = 1.0 if arm else max(lanes / target.lanes, 0.5)
    tiles = work.out[0] * work.group * work.out[2] * blocks * columns
    sums, runs = tiles * run.parts, tiles * run.parts * run.down * run.taps
    held, weights, scalars = tile.rows * vectors * share, run.length * vectors, _ON_ARM if arm else _ON_X86
    multiply, loads = beside(target, run.length * held, (-(-weights // 2) if arm else weights) + run.values)
    found.compute(runs, multiply, 0)
    found.compute(sums, 0, held)
    found.read(runs, loads, target.value_bytes * (weights * lanes + run.length * tile.rows) if loads else 0)
    found.write(runs, run.spilled, run.spilled * target.core.vector_bytes)
    found.steer(tiles, scalars.tile + scalars.of_blocks * (blocks * work.group > 1), 1)
    found.steer(sums * run.down * run.looped, scalars.row if run.loops else scalars.short_row, 1)
    found.steer(runs * run.loops, scalars.tap + scalars.loop * ((run.rounds > 0) + run.rest), 1)
    found.steer(runs * run.rounds, _A_ROUND, 1)


class _Scalars(NamedTuple):
    """Scalar instructions of a tile, more of one among several blocks or groups, of a row of the kernel under it, of
    one whose columns are unrolled, of a column, and more of one that is a loop of rounds or has a rest behind them."""

    tile: int
    of_blocks: int
    row: int
    short_row: int
    tap: int
    loop: int


class _Run(NamedTuple):
    """Input values under each column of a tile that are taken one after the other.

    Args:
        parts: Of each sum.
        down, taps: Rows of the kernel, and runs in each.
        length, values: Values, and how many loads bring those of all columns.
        spilled: Registers that are put on the stack for a while.
        rounds: Of a loop over them.
        rest: Whether some are left behind the rounds.
        loops: Whether the runs of a row are a loop.
        looped: Whether the rows are.
    """

    parts: int
    down: int
    taps: int
    length: int
    values: float
    spilled: float
    rounds: int
    rest: bool
    loops: bool
    looped: bool


_ON_ARM, _ON_X86 = _Scalars(10, 13, 7, 4, 3, 4), _Scalars(18, 0, 7, 7, 7, 0)


def _run(target: Target, work: Workload, tile: MatrixTile, vectors: int) -> _Run:
    (down, across), parts, unroll = work.kernel, parts_of(work, tile.unroll), tile.unroll
    if work.channels <= _FEW:
        length, (values, spilled) = work.channels * across, _few_values(target, work, tile, vectors)
        if by_lane(target) and down * _size(tile, length, vectors, length * tile.rows) < _WRITTEN_OUT:
            return _Run(parts, 1, 1, down * length, down * values, 0.0, 0, False, False, False)
        return _Run(parts, down, 1, length, values, spilled, 0, False, False, True)
    length = work.channels // parts
    together = _together(work, tile)
    size = _size(tile, unroll, vectors, tile.rows if together else tile.rows * unroll)
    limit = _WRITTEN_OUT if together else _SINGLY_WRITTEN_OUT
    written = by_lane(target) and -(-length // unroll) * size < limit
    rounds = 0 if written or length < 2 * unroll else length // unroll
    values = _values(target, work, tile, length, vectors, written)
    rest = rounds > 0 and length % unroll > 0
    return _Run(parts, down, across, length, values, 0.0, rounds, rest, True, True)


def _size(tile: MatrixTile, length: int, vectors: int, values: int) -> int:
    """Instructions of so many steps by LLVM's own measure: multiply-adds, loads before they are paired, the loop."""
    return length * vectors * (tile.rows + 1) + values + _LOOP


def _together(work: Workload, tile: MatrixTile) -> bool:
    """Tell whether the values of a round are loaded as one vector, as `loads_together` of kernels/common.py does."""
    return work.dtype == HALF and tile.unroll in (4, 8) and work.channels % tile.unroll == 0


def _values(target: Target, work: Workload, tile: MatrixTile, length: int, vectors: int, written: bool) -> float:
    """Loads of input values in a run of so many under each column of a tile: of float16 whole vectors where that
    divides, else one by one, pairs of them where an address reaches both, which in a loop lies at their begin."""
    if not by_lane(target):
        return length * tile.rows * vectors
    if work.dtype == HALF:
        return -(-length // tile.unroll) * tile.rows if _together(work, tile) else length * tile.rows
    reach = 2 * _REACH if written and work.group == 1 else _REACH
    near = min(tile.rows, reach // (target.value_bytes * work.data[1] * work.strides[1]))
    return length * (tile.rows - near / 2)


def _few_values(target: Target, work: Workload, tile: MatrixTile, vectors: int) -> tuple[float, float]:
    """Loads of the values of few channels under all columns of a row of the kernel, which share them, and how many are
    put on the stack: half of those that are more than registers beside sums. Of float16 ones more than can be
    multiplied by, half of what is shared is loaded again; those of float32 come in pairs where there are no groups."""
    if not by_lane(target):
        return work.channels * work.kernel[1] * tile.rows * vectors, 0.0
    across = (tile.rows - 1) * work.strides[1] + (work.kernel[1] - 1) * work.dilations[1] + 1
    each = work.channels * work.kernel[1] * tile.rows
    once = min(each, across * work.channels)
    spilled = max(0.0, (once + tile.rows * vectors - target.core.vector_registers) / 2)
    if work.dtype != HALF:
        return once / (2 if work.group == 1 else 1), spilled
    return (once if once <= _KEPT else (once + each) / 2), spilled
