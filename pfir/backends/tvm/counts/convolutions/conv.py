"""Instructions of scheduled convolutions, counted along the loops of kernels/conv.py.

Every tile of columns by channels starts from zeros, sums over the kernel's rows, its columns, and rounds of input
channels, and writes what exists of it. Constants are from disassembly and the grid benchmarks/estimator/grids/conv.py.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd

from pfir.backends.tvm.counts.overlap import beside
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import HALF, HALF_TERMS, Target
from pfir.workload import Tail, Workload

# A call checks its arguments, and saves and restores registers.
_CALL = Instructions(load=82, load_bytes=656, store=48, store_bytes=384, scalar=180, branch=85)
# Scalar instructions of a tile, of a row or a column of the kernel under it, and of a round.
_A_TILE, _A_TAP, _A_ROUND = 18, 7, 3
# Of a column of the image that is copied, of one whose channels are no whole vectors.
_A_COLUMN, _A_RAGGED_COLUMN = 6, 10
# Bytes from an address within which two single values are one load.
_REACH = 252
# Bytes of a vector of results that is a piece of a register's.
_PIECE = 4
# Input channels up to which the columns of the kernel are unrolled.
_FEW = 4


def conv(target: Target, workload: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """The instructions of a kernel with this tile."""
    return (
        _CALL + _copy(target, workload, tile) + _sums(target, workload, tile) + _results(target, workload, tail, tile)
    )


def _sums(target: Target, work: Workload, tile: MatrixTile) -> Instructions:
    """The tiles, but for their results."""
    out, lanes, (down, across) = work.out[1] // work.group, tile.lanes, work.kernel
    blocks, columns = -(-out // tile.block), -(-work.out[3] // tile.rows)
    # Vectors of a single block that hold no channels are left out.
    vectors = min(tile.vectors, -(-out // lanes)) if blocks == 1 else tile.vectors
    share = 1.0 if by_lane(target) else max(lanes / target.lanes, 0.5)
    tiles = work.out[0] * work.group * work.out[2] * blocks * columns
    count, few = _parts(work, tile.unroll), work.channels <= _FEW
    sums, taps = tiles * count, 1 if few else across
    length = work.channels // count * (across if few else 1)
    rounds = 0 if few or length < 2 * tile.unroll else length // tile.unroll
    runs, multiply = sums * down * taps, sums * down * taps * length * tile.rows * vectors * share
    weights, values = length * vectors, _values(target, work, tile, length)
    loads = runs * ((-(-weights // 2) if by_lane(target) else weights) + values)
    multiply, loads = beside(target, multiply, loads)
    scalar = _A_TAP * (0 if few else taps) + taps * rounds * _A_ROUND
    return Instructions(
        multiply=0.0 if work.dtype == HALF else multiply,
        half=multiply if work.dtype == HALF else 0.0,
        vector=sums * tile.rows * vectors * share,
        load=loads,
        load_bytes=runs * target.value_bytes * (weights * lanes + length * tile.rows) if loads else 0.0,
        scalar=tiles * _A_TILE + sums * down * (_A_TAP + scalar),
        branch=tiles + sums * down * (1 + (0 if few else taps) + taps * rounds),
    )


def _values(target: Target, work: Workload, tile: MatrixTile, length: int) -> float:
    """Loads of input values in a run of so many under each column of a tile: of float16 whole vectors where that
    divides, else one by one, pairs of them where an address reaches both."""
    if not by_lane(target):
        return length * tile.rows
    if work.channels <= _FEW:
        across = (tile.rows - 1) * work.strides[1] + (work.kernel[1] - 1) * work.dilations[1] + 1
        return min(length * tile.rows, across * work.channels)
    if work.dtype == HALF:
        together = tile.unroll in (4, 8) and work.channels % tile.unroll == 0
        return -(-length // tile.unroll) * tile.rows if together else length * tile.rows
    near = min(tile.rows, _REACH // (target.value_bytes * work.data[1] * work.strides[1]))
    return length * (tile.rows - near / 2)


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


def _results(target: Target, work: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """What follows the sums: vectors as wide as divides all channels, the bias among what follows."""
    out, blocks = work.out[1] // work.group, -(-work.out[1] // work.group // tile.block)
    common = gcd(tile.block, out)
    lanes, odd = min(tile.lanes, common & -common), common % 2 > 0
    if odd and blocks == 1:
        lanes = min(tile.lanes, out)
    positions = work.out[0] * work.group * work.out[2] * work.out[3]
    vectors = positions * (out // lanes + out % lanes)
    each, width = tail_of_vector(tail, lanes * target.value_bytes, work.dtype), lanes * target.value_bytes
    # Sums that are written in pieces lie on the stack; which exist of several blocks' is asked for each one.
    pieces, asked = width <= _PIECE, vectors * (odd and blocks > 1)
    return Instructions(
        multiply=vectors * each.multiply,
        half=vectors * each.half,
        vector=vectors * (each.vector + tail.bias + (lanes < tile.lanes) / 2),
        load=vectors * (each.load + 2 * pieces),
        load_bytes=vectors * (each.load_bytes + 2 * pieces * width),
        store=vectors / 2 if by_lane(target) and not pieces else vectors,
        store_bytes=vectors * width,
        scalar=0.7 * asked,
        branch=0.5 * asked,
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
    channels, cells = work.data[1], work.data[0] * rows * columns
    vectors, size = cells * channels / tile.lanes, cells * channels * target.value_bytes
    scalar, branch = cells / 2, 0.0  # of whole vectors: all columns of a row are written out
    if not last:
        vectors = cells * channels / 4
        scalar, branch = vectors, vectors / 4
    elif channels & (channels - 1):
        scalar, branch = cells * (_A_RAGGED_COLUMN if channels % tile.lanes else _A_COLUMN), 2.0 * cells
    return Instructions(
        load=vectors / 2,
        load_bytes=size,
        store=vectors / 2,
        store_bytes=size,
        scalar=scalar,
        branch=branch,
    )
