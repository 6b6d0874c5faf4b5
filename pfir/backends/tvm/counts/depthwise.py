"""Depthwise convolutions over tiles of one vector of channels: kernels/depthwise.py, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import pairs, share_of_vector
from pfir.backends.tvm.kernels.axis import LOOPED, Axis, Taps
from pfir.backends.tvm.schedule.tile_kinds import DepthwiseTile
from pfir.instructions import Instructions
from pfir.target import HALF, Target
from pfir.workload import Tail, Workload

WRITTEN_TAPS = 9
"""Taps up to which rows that the border cuts are written out; of more they are a loop over the kernel's rows."""
CHUNK_BYTES = 16 * 1024
"""Of a tile's input and weights: half of a small first-level cache."""

# Scalar instructions and branches: of a call, a row of tiles, a tile of all blocks, a tile, and a row of the kernel that
# a loop runs over. Found by disassembly, and over the grid of benchmarks/estimator/grids/depthwise.py.
_CALL, _PASS, _COLUMNS, _TILE, _ROUND = (60.0, 8.0), (12.0, 3.0), (2.0, 1.2), (6.0, 1.0), (4.0, 1.0)
# Scalar instructions of a tile whose columns are reached by registers, beside one for each row that is read or written.
_HELD = 4.5
_SAVED = 50.0  # registers of a call, stored and loaded


@dataclass(frozen=True)
class Geometry:
    """What one block of channels takes over an image, whatever its channels are.

    Args:
        passes: Rows of tiles.
        tiles: Those of all passes.
        multiplies: Vectors multiplied and added.
        results: Vectors of results.
        pixels: Vectors of the input that are loaded.
        weights: Vectors of weights that are loaded.
        weight_loads: By how many instructions, as their rows lie side by side.
        lines: Rows that tiles read or write.
        read: Those that they read.
        rounds: Of the loops over rows of the kernel.
    """

    passes: int
    tiles: int
    multiplies: int
    results: int
    pixels: int
    weights: int
    weight_loads: int
    lines: int
    read: int
    rounds: int


@dataclass(frozen=True)
class _Run:
    """Tiles side by side that are alike: how many, of how many outputs; their taps, how many inputs those read, and how
    many of the kernel's they are."""

    count: int
    outputs: int
    taps: int
    under: int
    kernel: int
    looped: bool = False


def depthwise(target: Target, workload: Workload, tail: Tail, tile: DepthwiseTile) -> Instructions:
    """The instructions of a depthwise convolution by a tile."""
    batch, channels, *_ = workload.out
    found, size = geometry_of(workload, tile), tile.lanes * target.value_bytes
    blocks, share = -(-channels // tile.lanes), share_of_vector(target, tile.lanes)
    each = batch * blocks
    shared = each * found.tiles * (tail.bias + tail.constants)
    vectors = each * (found.pixels + found.weights) + shared
    scalar, branch = _others(target, workload, tile, found)
    results, multiplies = each * found.results, each * found.multiplies * share
    half = workload.dtype == HALF
    own = Instructions(
        multiply=0.0 if half else multiplies,
        half=multiplies if half else 0.0,
        vector=(results - (each * found.tiles if tail.bias else 0)) * share,
        load=each * (found.pixels + found.weight_loads) + shared + _SAVED,
        load_bytes=vectors * size + 16 * _SAVED,
        store=results + _SAVED,
        store_bytes=results * size + 16 * _SAVED,
        scalar=scalar,
        branch=branch,
    )
    return own + tail_of_vector(tail, size, workload.dtype) * (results * share)


def _others(target: Target, workload: Workload, tile: DepthwiseTile, found: Geometry) -> tuple[float, float]:
    """Scalar instructions and branches."""
    batch, channels, *_ = workload.out
    blocks = -(-channels // tile.lanes)
    chunks = -(-blocks // chunk_of(blocks, workload, tile))
    times = (1, batch * chunks * found.passes, batch * chunks * found.tiles, batch * blocks * found.tiles)
    scalar, branch = (
        sum(n * cost[i] for n, cost in zip(times, (_CALL, _PASS, _COLUMNS, _TILE), strict=True))
        + batch * blocks * found.rounds * _ROUND[i]
        for i in (0, 1)
    )
    if target.arm64 and channels % target.lanes:
        scalar += batch * blocks * (found.tiles * _HELD + found.lines)
    if tile.in_turn:
        scalar += batch * blocks * found.read
    return scalar, branch


def chunk_of(blocks: int, workload: Workload, tile: DepthwiseTile) -> int:
    """Blocks of channels whose input under a tile and weights fill half of a small first-level cache, shared evenly."""
    axes = zip(workload.kernel, workload.strides, workload.dilations, (tile.lines, tile.rows), strict=True)
    lines, columns = ((width - 1) * stride + (kernel - 1) * step + 1 for kernel, stride, step, width in axes)
    taps = workload.kernel[0] * workload.kernel[1]
    most = max(2, CHUNK_BYTES // (4 * tile.lanes * (taps + lines * columns)))
    return -(-blocks // -(-blocks // most))


def geometry_of(workload: Workload, tile: DepthwiseTile) -> Geometry:
    """What a block of channels takes."""
    axes = (workload.kernel, workload.strides, workload.dilations, workload.pads)
    return _geometry(workload.data[2:], workload.out[2:], *axes, tile.rows, tile.lines)


@lru_cache(maxsize=4096)
def _geometry(
    data: tuple[int, int],
    out: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
    pads: tuple[int, int],
    rows: int,
    lines: int,
) -> Geometry:
    down, along = (Axis(*axis) for axis in zip(data, out, kernel, strides, dilations, pads, strict=True))
    written = kernel[0] * kernel[1] <= WRITTEN_TAPS
    tiles = [(r, c) for r in _runs(down, lines, written) for c in _runs(along, rows, True)]

    def over(value: Callable[[_Run, _Run], int]) -> int:
        return sum(r.count * c.count * value(r, c) for r, c in tiles)

    return Geometry(
        passes=sum(r.count for r in _runs(down, lines, written)),
        tiles=over(lambda r, c: 1),
        multiplies=over(lambda r, c: r.taps * c.taps),
        results=out[0] * out[1],
        pixels=over(lambda r, c: r.under * c.under),
        weights=over(lambda r, c: r.kernel * c.kernel),
        weight_loads=over(lambda r, c: r.kernel * pairs(c.kernel) if r.looped else pairs(r.kernel * c.kernel)),
        lines=over(lambda r, c: r.outputs + r.under),
        read=over(lambda r, c: r.under),
        rounds=over(lambda r, c: r.kernel if r.looped else 0),
    )


def _runs(axis: Axis, width: int, written: bool) -> Iterator[_Run]:
    """The tiles along an axis; where not all are written out, those that the border cuts are single rows in loops."""
    for run in axis.runs(width) if written else axis.looped(width):
        if run.taps != LOOPED:
            yield _rows(axis, run.count, run.taps)
            continue
        for output in range(run.first, run.first + run.count):
            taps = len(axis.inside(output))
            yield _Run(1, 1, taps, taps, taps, looped=True)


def _rows(axis: Axis, count: int, taps: Taps) -> _Run:
    under = {axis.at(i, k) for i, those in enumerate(taps) for k in those}
    return _Run(count, len(taps), sum(map(len, taps)), len(under), len(set(chain(*taps))))
