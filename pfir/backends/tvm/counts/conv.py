"""Instructions of scheduled convolutions, counted along the loops of kernels/conv.py.

Every tile of columns by channels starts from zeros, sums over the kernel's rows, its columns, and rounds of input
channels, and writes what exists of it. Constants are from disassembly and the grid benchmarks/estimator/grids/conv.py.
"""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import NamedTuple

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
# Of a column of the image that is copied.
_A_COLUMN = 6
# Input channels up to which the columns of the kernel are unrolled.
_FEW = 4


class _Sizes(NamedTuple):
    """A kernel's loops: `tiles` in all, `taps` rows of the kernel and columns, `rounds` in each and values `left`."""

    tiles: int
    rows: int
    vectors: float
    rounds: int
    left: int
    parts: int


def conv(target: Target, workload: Workload, tail: Tail, tile: MatrixTile) -> Instructions:
    """The instructions of a kernel with this tile."""
    return (
        _CALL + _copy(target, workload, tile) + _sums(target, workload, tile) + _results(target, workload, tail, tile)
    )


def _sums(target: Target, work: Workload, tile: MatrixTile) -> Instructions:
    """The tiles, but for their results."""
    out, lanes = work.out[1] // work.group, tile.lanes
    blocks, columns = -(-out // tile.block), -(-work.out[3] // tile.rows)
    tiles = work.out[0] * work.group * work.out[2] * blocks * columns
    vectors = min(tile.vectors, -(-out // lanes)) if blocks == 1 else tile.vectors
    share, width = 1.0 if by_lane(target) else max(lanes / target.lanes, 0.5), lanes * target.value_bytes
    count = _parts(work, tile.unroll)
    taps = work.kernel[0] * (1 if work.channels <= _FEW else work.kernel[1])
    length = work.channels // count * (work.kernel[0] * work.kernel[1] // taps)
    rounds, rest = divmod(length, tile.unroll) if work.channels > _FEW else (1, 0)
    runs = tiles * count * taps
    multiply = runs * length * tile.rows * vectors * share
    weights = -(-length * vectors // 2) if by_lane(target) else length * vectors
    values = _values(target, work, tile, length, vectors)
    half = work.dtype == HALF
    return Instructions(
        multiply=0.0 if half else multiply,
        half=multiply if half else 0.0,
        vector=tiles * count * tile.rows * vectors * share,
        load=runs * (weights + values),
        load_bytes=runs * (length * vectors * width + length * tile.rows * target.value_bytes),
        scalar=tiles * _A_TILE
        + runs * (_A_TAP + (rounds > 1) * rounds * _A_ROUND)
        + tiles * count * work.kernel[0] * _A_TAP,
        branch=tiles + runs * (1 + (rounds > 1) * rounds) + tiles * count * work.kernel[0],
    )


def _values(target: Target, work: Workload, tile: MatrixTile, length: int, vectors: int) -> float:
    """Loads of input values in a run of so many under each row of a tile: whole vectors of them where that divides."""
    if not by_lane(target):
        return length * tile.rows * vectors
    together = work.dtype == HALF and tile.unroll in (4, 8) and work.channels % tile.unroll == 0
    if work.channels <= _FEW or not (together or work.dtype != HALF and vectors > 1):
        return length * tile.rows
    return -(-length // tile.unroll) * tile.rows


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
    out = work.out[1] // work.group
    common = gcd(tile.block, out)
    lanes = min(tile.lanes, common & -common)
    positions = work.out[0] * work.group * work.out[2] * work.out[3]
    vectors = positions * (out / lanes)
    narrow = lanes < tile.lanes
    each, width = tail_of_vector(tail, lanes * target.value_bytes), lanes * target.value_bytes
    stored = vectors / 2 if by_lane(target) and lanes > 1 else vectors
    own = Instructions(vector=tail.bias + narrow / 2, load=0.0, store=0.0, store_bytes=width)
    return (each + own) * vectors + Instructions(store=stored)


def _copy(target: Target, work: Workload, tile: MatrixTile) -> Instructions:
    """A copy of the image with zeros around it and between, where the kernel makes one."""
    (sh, sw), (dh, dw), (kh, kw) = work.strides, work.dilations, work.kernel
    columns = -(-work.out[3] // tile.rows) * tile.rows
    rows, columns = (work.out[2] - 1) * sh + (kh - 1) * dh + 1, (columns - 1) * sw + (kw - 1) * dw + 1
    last = work.order[-1] == 1
    fits = rows <= work.data[2] and (columns <= work.data[3] or work.kernel == (1, 1))
    if last and not any(work.pads) and work.spread == (1, 1) and fits:
        return Instructions()
    channels = work.data[1]
    cells = work.data[0] * rows * columns
    vectors = cells * channels / tile.lanes if last else cells * channels / 4
    size = cells * channels * target.value_bytes
    return Instructions(
        load=vectors / 2,
        load_bytes=size,
        store=vectors / 2,
        store_bytes=size,
        scalar=cells * (_A_COLUMN if channels % tile.lanes else 0.5) if last else vectors,
        branch=cells * (channels % tile.lanes > 0) if last else vectors / 4,
    )
