"""Instructions of the copy of an image, with zeros around it and between, that a scheduled convolution reads.

Constants are from disassembly and the grid benchmarks/estimator/grids/conv.py.
"""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.target import HALF, Target
from pfir.workload import Workload

_VECTOR_BYTES = 16
# Scalar instructions that ask for memory.
_MEMORY = 100
# Scalar instructions of a column that is copied, of one whose channels are no whole vectors.
_A_COLUMN, _A_RAGGED_COLUMN = 7, 10
# Vectors of a row that is written out whatever its channels. Loads and stores of a vector in a row that is written out,
# of which some are pairs; loads, stores and vector instructions of one that begins anywhere.
_SHORT, _COPIED, _ANYWHERE = 40, (0.65, 0.75), (1.35, 0.75, 2)


def add_copy(found: Sum, target: Target, work: Workload, tile: MatrixTile) -> None:
    """Add a copy of the image with zeros around it and between, where the kernel makes one."""
    (sh, sw), (dh, dw), (kh, kw) = work.strides, work.dilations, work.kernel
    columns = -(-work.out[3] // tile.rows) * tile.rows
    rows, columns = (work.out[2] - 1) * sh + (kh - 1) * dh + 1, (columns - 1) * sw + (kw - 1) * dw + 1
    last = work.order[-1] == 1
    fits = rows <= work.data[2] and (columns <= work.data[3] or work.kernel == (1, 1))
    if last and not any(work.pads) and work.spread == (1, 1) and fits:
        return
    cells = work.data[0] * rows * columns
    found.steer(1, _MEMORY, 0)
    if not by_lane(target):
        _add_on_x86(found, target, work, tile, cells)
    elif last:
        _add_last(found, target, work, tile, cells, columns)
    else:
        _add_first(found, target, work, cells)


def _add_last(found: Sum, target: Target, work: Workload, tile: MatrixTile, cells: int, columns: int) -> None:
    """Add a copy to so many cells of channels-last values: of columns written out for a whole row where channels are a
    power of two or the row is short; else, where zeros lie between, and where they are two vectors of float32, of one
    column a round."""
    channels = work.data[1]
    if channels < tile.lanes and work.spread == (1, 1) and work.data[3] * channels % tile.lanes == 0:
        _add_rows(found, target, work, cells)
        return
    whole, rest = divmod(channels, tile.lanes)
    vectors = whole + rest.bit_count()
    loads, stores, scalar, branch = _COPIED[0] * vectors, _COPIED[1] * vectors, 0.5, 0.0
    short = not rest and columns * vectors <= _SHORT
    if channels & (channels - 1) and not short or work.spread != (1, 1):
        loads, scalar, branch = vectors, _A_RAGGED_COLUMN if rest else _A_COLUMN, 2
    elif channels == 2 * tile.lanes and work.dtype != HALF:
        loads, stores, scalar, branch = 1, 1, _A_COLUMN, 2
    size = channels * target.value_bytes
    found.read(cells, loads, size)
    found.write(cells, stores, size)
    found.steer(cells, scalar, branch)


def _add_rows(found: Sum, target: Target, work: Workload, cells: int) -> None:
    """Add a copy of few channels side by side, whose rows are whole vectors: zeros to all of it, then the rows."""
    lanes = _VECTOR_BYTES // target.value_bytes
    loads, stores = _COPIED
    found.read(prod(work.data) / lanes, loads, _VECTOR_BYTES)
    found.write(cells * work.data[1] / lanes, 0.5, _VECTOR_BYTES)
    found.write(prod(work.data) / lanes, stores, _VECTOR_BYTES)
    found.steer(prod(work.data) / lanes, 1 / 2, 1 / 16)


def _add_first(found: Sum, target: Target, work: Workload, cells: int) -> None:
    """Add a copy of one channel after the other: zeros to all of it, then rows that begin anywhere in a vector, for
    which those of float16 are put together from two."""
    lanes = _VECTOR_BYTES // target.value_bytes
    zeros, copied = cells * work.data[1] / lanes, prod(work.data) / lanes
    loads, stores, vector = _ANYWHERE
    found.compute(copied, 0, vector * (work.dtype == HALF))
    found.read(copied, loads, _VECTOR_BYTES)
    found.write(zeros, 0.5, _VECTOR_BYTES)
    found.write(copied, stores, _VECTOR_BYTES)
    found.steer(copied, 1 / 2, 1 / 16)


def _add_on_x86(found: Sum, target: Target, work: Workload, tile: MatrixTile, cells: int) -> None:
    """Add a copy of vectors, or of fours of values of one channel after the other."""
    channels, last = work.data[1], work.order[-1] == 1
    vectors, size = cells * channels / (tile.lanes if last else 4), cells * channels * target.value_bytes
    scalar, branch = (cells / 2, 0.0) if last else (vectors, vectors / 4)
    if last and channels & (channels - 1):
        scalar, branch = cells * (_A_RAGGED_COLUMN if channels % tile.lanes else _A_COLUMN - 1), 2.0 * cells
    found.read(vectors, 0.5, size / vectors)
    found.write(vectors, 0.5, size / vectors)
    found.steer(1, scalar, branch)
