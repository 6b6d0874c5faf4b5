"""Depthwise convolutions in strips that run on across columns: kernels/across.py, counted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from pfir.backends.tvm.counts.overlap import beside
from pfir.backends.tvm.counts.tail import constants_of, tail_of_vector
from pfir.backends.tvm.counts.vectors import share_of_vector
from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile
from pfir.instructions import Instructions
from pfir.target import HALF, Target
from pfir.workload import Tail, Workload

# Scalar instructions and branches: of a call, a strip, an input row, and a round of as many rows as the kernel has.
# Found by disassembly, and over the grid of benchmarks/estimator/grids/depthwise.py.
_CALL, _STRIP, _ROW, _ROUND = (60.0, 8.0), (22.0, 3.5), (3.4, 0.0), (1.0, 1.0)
_ROW_WRITTEN, _FEW = (0.5, 0.0), 2  # of an input row where so few rounds are written out
_MANY = 4  # constants of a tail from which on float16 loads one again, and copies it, for each result
_RELOADED = 6.0  # addresses and constants of a strip, from the stack
_SAVED = 50.0  # registers of a call, stored and loaded


@dataclass(frozen=True)
class _Down:
    """Strips below each other: how many; their input rows inside the image, rows times taps, and rounds of all."""

    strips: int
    count: int
    rows: int
    taps: int
    rounds: int


@dataclass(frozen=True)
class _Region:
    """Columns with the same taps: columns of a part, parts, taps along a row, and columns that are read for one."""

    width: int
    parts: int
    taps: int
    read: int


def across(target: Target, workload: Workload, tail: Tail, tile: AcrossTile) -> Instructions:
    """The instructions of a depthwise convolution by strips of a tile."""
    (batch, channels, *out), (kh, kw), (top, left) = workload.out, workload.kernel, workload.pads
    down = _down(workload.data[2], out[0], kh, top, tile.rows)
    strips = multiplies = pixels = results = 0
    for region in _regions(workload.data[3], out[1], kw, left, tile.vectors):
        size = region.width * channels
        side = batch * -(-size // min(tile.lanes, 1 << (size.bit_length() - 1)))
        strips += side
        multiplies += side * region.parts * region.taps * down.taps
        pixels += side * region.read * down.rows
        results += side * region.parts * down.strips * down.count
    row = _ROW_WRITTEN if down.rounds <= _FEW * down.strips else _ROW
    scalar, branch = (
        _CALL[i] + strips * (down.strips * _STRIP[i] + down.rows * row[i] + down.rounds * _ROUND[i]) for i in (0, 1)
    )
    strips *= down.strips
    share, size, half = share_of_vector(target, tile.lanes), tile.lanes * target.value_bytes, workload.dtype == HALF
    multiplied, loaded = beside(target, multiplies * share, pixels)
    weights, reloaded = strips * (kh * kw + 1), strips * _RELOADED + _SAVED
    again = results if half and constants_of(tail) >= _MANY else 0
    after, times = tail_of_vector(tail, size, workload.dtype), results * share
    return Instructions(
        multiply=times * after.multiply + (0.0 if half else multiplied),
        half=times * after.half + (multiplied if half else 0.0),
        vector=times * (1 + after.vector) + again,
        load=loaded + weights + reloaded + again + results * after.load,
        load_bytes=size * (loaded + weights + again + results * after.load) + 8 * reloaded,
        store=results + _SAVED,
        store_bytes=size * results + 16 * _SAVED,
        scalar=scalar,
        branch=branch,
    )


@lru_cache(maxsize=1024)
def _down(size: int, out: int, kernel: int, pad: int, most: int) -> _Down:
    """The strips down an image; the last one ends with its last row."""
    axis, count = Axis(size, out, kernel, 1, 1, pad), min(most, out)
    strips = -(-out // count)
    tops = [min(i * count, out - count) for i in range(strips)]
    rows = sum(0 <= axis.at(top, t) < size for top in tops for t in range(count + kernel - 1))
    taps = sum(len(axis.inside(top + y)) for top in tops for y in range(count))
    return _Down(strips, count, rows, taps, strips * max(0, (count - pad) // kernel))


@lru_cache(maxsize=1024)
def _regions(size: int, out: int, kernel: int, pad: int, vectors: int) -> tuple[_Region, ...]:
    """The columns in runs that have the same taps."""
    axis, found = Axis(size, out, kernel, 1, 1, pad), []
    for taps, run in groupby(range(out), axis.inside):
        columns = len(list(run))
        count = min(vectors, columns)
        width = -(-columns // count)
        begins = [min(i * width, columns - width) for i in range(count)]
        found.append(_Region(width, count, len(taps), len({begin + tap for begin in begins for tap in taps})))
    return tuple(found)
