"""Instructions of scheduled convolutions, counted along the loops of kernels/conv.py.

Every tile of columns by channels starts from zeros, sums over the kernel's rows, its columns, and rounds of input
channels, and writes what exists of it. Constants are from disassembly and the grid benchmarks/estimator/grids/conv.py.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd, prod
from typing import NamedTuple

from pfir.backends.tvm.counts.sums import PAIR_BYTES
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import HALF, HALF_TERMS, Target
from pfir.workload import Tail, Workload

# A call checks its arguments, and saves and restores registers; one that copies its input asks for memory.
_CALL = Instructions(load=82, load_bytes=656, store=48, store_bytes=384, scalar=80, branch=85)
_MEMORY = Instructions(scalar=100)
# Scalar instructions of a round.
_A_ROUND = 3
# Scalar instructions of a column of the image that is copied, of one whose channels are no whole vectors.
_A_COLUMN, _A_RAGGED_COLUMN = 7, 10
# Vectors of a short row that is copied. Loads and stores of a vector in a copied row that is written out, of which some are pairs; loads, stores and vector
# instructions of one that is put together.
_SHORT, _COPIED, _ANYWHERE = 40, (0.65, 0.75), (1.35, 0.75, 2)
# Values of float16 under a tile up to which each is loaded once: lanes of the first 16 registers can be multiplied by.
_KEPT = 20
# Vector instructions that widen and add a register of a part's sums, and that narrow their total.
_WIDENED, _NARROWED = 4, 2
# Of a tile whose channels are no whole vectors, results up to which their loop is written out.
_ONE_BY_ONE = 64
# LLVM writes out a loop of fewer instructions, those of a round by its own measure.
_WRITTEN_OUT, _LOOP = 298, 3
# Bytes from an address within which two single values are one load.
_REACH = 252
# Bytes of a vector of results that is a piece of a register's, and results of a tile up to which its loop over them is
# written out; scalar instructions and branches of a vector of them that a loop asks about which exist.
_PIECE, _PIECES, _CHECKED = 4, 96, (6, 5)
# Input channels up to which the columns of the kernel are unrolled.
_FEW = 4


def conv(target: Target, workload: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """The instructions of a kernel with this tile."""
    vectors = _vectors(target, workload, tile)
    run = _run(target, workload, tile, vectors)
    return (
        _CALL
        + _copy(target, workload, tile)
        + _sums(target, workload, tile, run, vectors)
        + _added(target, workload, tile)
        + _results(target, workload, tail, tile, run)
    )


def _vectors(target: Target, work: Workload, tile: MatrixTile) -> int:
    """Of a tile: those of a single block that hold no channels are left out, but where a loop reads results one by
    one."""
    out = work.out[1] // work.group
    looped = by_lane(target) and out % 2 and tile.rows * tile.block > _ONE_BY_ONE
    return tile.vectors if out > tile.block or looped else min(tile.vectors, -(-out // tile.lanes))


def _sums(target: Target, work: Workload, tile: MatrixTile, run: _Run, vectors: int) -> Instructions:
    """The tiles, but for their results."""
    out, lanes = work.out[1] // work.group, tile.lanes
    blocks, columns = -(-out // tile.block), -(-work.out[3] // tile.rows)
    share = 1.0 if by_lane(target) else max(lanes / target.lanes, 0.5)
    tiles = work.out[0] * work.group * work.out[2] * blocks * columns
    sums, runs = tiles * run.parts, tiles * run.parts * run.down * run.taps
    multiply, weights = runs * run.length * tile.rows * vectors * share, run.length * vectors
    scalars = _ON_ARM if by_lane(target) else _ON_X86
    of_run = run.loops * (scalars.tap + scalars.loop * ((run.rounds > 0) + run.rest)) + run.rounds * _A_ROUND
    a_row, each = scalars.row if run.loops else scalars.short_row, 1 if by_lane(target) else vectors
    return Instructions(
        multiply=0.0 if work.dtype == HALF else multiply,
        half=multiply if work.dtype == HALF else 0.0,
        vector=sums * tile.rows * vectors * share,
        load=runs * (-(-weights // 2) if by_lane(target) else weights) + runs * run.values,
        load_bytes=runs * target.value_bytes * (weights * lanes + run.length * tile.rows * each),
        store=runs * run.spilled,
        store_bytes=runs * run.spilled * target.core.vector_bytes,
        scalar=tiles * (scalars.tile + scalars.of_blocks * (blocks * work.group > 1))
        + sums * run.down * run.looped * a_row
        + runs * of_run,
        branch=tiles + sums * run.down * run.looped + runs * (run.loops + run.rounds),
    )


class _Scalars(NamedTuple):
    """Scalar instructions of a tile, more of one among several blocks or groups, of a row of the kernel under it, of one
    whose columns are unrolled, of a column, and more of one that is a loop of rounds or has a rest behind them."""

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
    (down, across), parts, unroll = work.kernel, _parts(work, tile.unroll), tile.unroll
    if work.channels <= _FEW:
        length, (values, spilled) = work.channels * across, _few_values(target, work, tile)
        if by_lane(target) and down * _size(tile, length, vectors, length * tile.rows) < _WRITTEN_OUT:
            return _Run(parts, 1, 1, down * length, down * values, 0.0, 0, False, False, False)
        return _Run(parts, down, 1, length, values, spilled, 0, False, False, True)
    length = work.channels // parts
    size = _size(tile, unroll, vectors, tile.rows if _together(work, tile) else tile.rows * unroll)
    written = by_lane(target) and -(-length // unroll) * size < _WRITTEN_OUT
    rounds = 0 if written or length < 2 * unroll else length // unroll
    values = _values(target, work, tile, length, vectors, written)
    rest = rounds > 0 and length % unroll > 0
    return _Run(parts, down, across, length, values, 0.0, rounds, rest, True, True)


def _size(tile: MatrixTile, length: int, vectors: int, values: int) -> int:
    """Instructions of so many steps by LLVM's own measure: multiply-adds, loads before they are paired, a loop's end."""
    return length * vectors * (tile.rows + 1) + values + _LOOP


def _together(work: Workload, tile: MatrixTile) -> bool:
    """Whether the values of a round are loaded as one vector (kernels/common.py `loads_together`)."""
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


def _few_values(target: Target, work: Workload, tile: MatrixTile) -> tuple[float, float]:
    """Loads of the values of few channels under all columns of a row of the kernel, which share them, and how many are
    put on the stack: half of those that are more than registers beside sums. Of float16 ones more than can be
    multiplied by, half of what is shared is loaded again; those of float32 come in pairs where there are no groups."""
    if not by_lane(target):
        return work.channels * work.kernel[1] * tile.rows * tile.vectors, 0.0
    across = (tile.rows - 1) * work.strides[1] + (work.kernel[1] - 1) * work.dilations[1] + 1
    each = work.channels * work.kernel[1] * tile.rows
    once = min(each, across * work.channels)
    spilled = max(0.0, (once + tile.rows * tile.vectors - target.core.vector_registers) / 2)
    if work.dtype != HALF:
        return once / (2 if work.group == 1 else 1), spilled
    return (once if once <= _KEPT else (once + each) / 2), spilled


def _parts(work: Workload, unroll: int) -> int:
    """As kernels/parts.py: sums of float16 in so many parts."""
    inner, taps = work.channels, work.kernel[0] * work.kernel[1]
    return _cut(inner, taps, unroll) if work.dtype == HALF else 1


@lru_cache(maxsize=4096)
def _cut(inner: int, taps: int, unroll: int) -> int:
    if inner * taps <= HALF_TERMS:
        return 1
    even = [n for n in range(1, inner // unroll + 1) if inner % n == 0 and inner // n % unroll == 0]
    return min((n for n in even if inner // n * taps <= HALF_TERMS), default=max(even, default=1))


def _added(target: Target, work: Workload, tile: MatrixTile) -> Instructions:
    """Sums in parts: zeros and sums of each part are stored, then all widened, added up, and narrowed again. Vectors of
    a row lie side by side, rows as far apart as all parts take."""
    parts = _parts(work, tile.unroll)
    if parts == 1:
        return Instructions()
    tiles = work.out[0] * work.out[2] * -(-work.out[3] // tile.rows)
    tiles *= work.group * -(-work.out[1] // work.group // tile.block)
    held, size = tile.rows * tile.vectors, tile.block * target.value_bytes
    near = min(tile.rows, PAIR_BYTES // (parts * size) + 1) if target.arm64 else 0
    moved = near * -(-tile.vectors // 2) + (tile.rows - near) * tile.vectors
    return Instructions(
        vector=tiles * held * (_WIDENED * parts + _NARROWED),
        load=tiles * parts * moved,
        load_bytes=tiles * parts * tile.rows * size,
        store=tiles * parts * 2 * moved,
        store_bytes=tiles * parts * 2 * tile.rows * size,
    )


def _results(target: Target, work: Workload, tail: Tail, tile: MatrixTile, run: _Run) -> Instructions:
    """What follows the sums: vectors as wide as divides all channels, the bias among what follows; where that is one,
    whole vectors and the rest one by one, all of them where several blocks are read by a loop of their own."""
    out, blocks = work.out[1] // work.group, -(-work.out[1] // work.group // tile.block)
    common = gcd(tile.block, out)
    lanes, odd = min(tile.lanes, common & -common), common % 2 > 0
    asked = odd and blocks > 1 and not (by_lane(target) and run.looped)
    if odd and not asked or not (tail.bias or tail.operators):
        lanes = min(tile.lanes, out)
    positions = work.out[0] * work.group * work.out[2] * work.out[3]
    vectors, width = positions * (out // lanes + out % lanes), lanes * target.value_bytes
    each = tail_of_vector(tail, width, work.dtype)
    # Pieces are read from the stack where a loop writes them; sums of which some do not exist lie there, too.
    looped = asked or not by_lane(target) or tile.rows * tile.block > _PIECES
    pieces = 2 * (width <= _PIECE and looped)
    apart = pieces or odd or not by_lane(target)
    held = positions * blocks * tile.vectors
    checks, stacked = held * asked, held * (odd and blocks > 1 and looped and not asked)
    return Instructions(
        multiply=vectors * each.multiply,
        half=vectors * each.half,
        vector=vectors * (each.vector + tail.bias + (lanes < tile.lanes and not asked) / 2),
        load=vectors * (each.load + pieces) + stacked,
        load_bytes=vectors * (each.load_bytes + pieces * width) + stacked * target.core.vector_bytes,
        store=vectors / (1 if apart else 2) + stacked,
        store_bytes=vectors * width + stacked * target.core.vector_bytes,
        scalar=_CHECKED[0] * checks,
        branch=_CHECKED[1] * checks,
    )


def _copy(target: Target, work: Workload, tile: MatrixTile) -> Instructions:
    """A copy of the image with zeros around it and between, where the kernel makes one."""
    (sh, sw), (dh, dw), (kh, kw) = work.strides, work.dilations, work.kernel
    columns = -(-work.out[3] // tile.rows) * tile.rows
    rows, columns = (work.out[2] - 1) * sh + (kh - 1) * dh + 1, (columns - 1) * sw + (kw - 1) * dw + 1
    last = work.order[-1] == 1
    fits = rows <= work.data[2] and (columns <= work.data[3] or work.kernel == (1, 1))
    if last and not any(work.pads) and work.spread == (1, 1) and fits:
        return Instructions()
    cells = work.data[0] * rows * columns
    return _MEMORY + (_copied_last(target, work, tile, cells, columns) if last else _copied_first(target, work, cells))


def _copied_last(target: Target, work: Workload, tile: MatrixTile, cells: int, columns: int) -> Instructions:
    """A copy to so many cells of channels-last values: of columns written out for a whole row where channels are a
    power of two or the row is short; else, where zeros lie between, and where they are two vectors of float32, of one column a round."""
    channels = work.data[1]
    whole, rest = divmod(channels, tile.lanes)
    vectors = whole + rest.bit_count()
    loads, stores, scalar, branch = _COPIED[0] * vectors, _COPIED[1] * vectors, 0.5, 0.0
    short = not rest and columns * vectors <= _SHORT and by_lane(target)
    if channels & (channels - 1) and not short or work.spread != (1, 1):
        loads, scalar, branch = vectors, _A_RAGGED_COLUMN if rest else _A_COLUMN, 2
    elif channels == 2 * tile.lanes and work.dtype != HALF:
        loads, stores, scalar, branch = 1, 1, _A_COLUMN, 2
    size = cells * channels * target.value_bytes
    return Instructions(
        load=cells * loads,
        load_bytes=size,
        store=cells * stores,
        store_bytes=size,
        scalar=cells * scalar,
        branch=cells * branch,
    )


def _copied_first(target: Target, work: Workload, cells: int) -> Instructions:
    """A copy of one channel after the other: zeros to all of it, then rows that begin anywhere in a vector, for which
    those of float16 are put together from two."""
    lanes = 16 // target.value_bytes
    zeros, copied = cells * work.data[1] / lanes, prod(work.data) / lanes
    loads, stores, vector = _ANYWHERE
    return Instructions(
        vector=vector * copied * (work.dtype == HALF),
        load=loads * copied,
        load_bytes=prod(work.data) * target.value_bytes,
        store=zeros / 2 + stores * copied,
        store_bytes=(zeros + copied) * 16,
        scalar=copied / 2,
        branch=copied / 16,
    )
