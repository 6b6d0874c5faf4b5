"""Depthwise convolutions over tiles of one vector of channels: kernels/depthwise.py, counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

from pfir.backends.tvm.counts.overlap import beside
from pfir.backends.tvm.counts.tail import constants_of, tail_of_vector
from pfir.backends.tvm.counts.vectors import pairs, share_of_vector
from pfir.backends.tvm.kernels.axis import LOOPED, Axis, Taps
from pfir.backends.tvm.kernels.depthwise import CHUNK_BYTES, WRITTEN_TAPS
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.backends.tvm.schedule.tile_kinds import DepthwiseTile
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import HALF, Target
from pfir.workload import Tail, Workload

# Scalar instructions and branches: of a call, a tile of all blocks, a tile, and a row of the kernel that a loop runs
# over. Found by disassembly, and by least squares over the grid of benchmarks/estimator/grids/depthwise.py.
_CALL, _COLUMNS, _TILE, _ROUND = (120.0, 100.0), (1.5, 1.17), (6.6, 1.0), (6.3, 0.93)
_BESIDE_LOOPS = 3.4  # scalar instructions of a tile where the kernel's rows are loops: more of its addresses stay
# Of a pixel below what a load reaches from the first one: all, and where the kernel's rows are loops.
_REACH, _FAR, _FAR_BESIDE_LOOPS = 65520, 1.2, 0.35
# Of a row of the kernel in a loop, where a tile is as wide as the image, and more than so many columns: the lower rows'
# pixels are reached from behind.
_ALONE, _FEW = 3.5, 4
# Where registers hold the columns: of a row of tiles, of a tile and of each row that it reads or writes; of a tile
# where the kernel's rows are loops, those included.
_HELD_PASS, _HELD, _HELD_ROW, _HELD_LOOPS = 9.4, 4.3, 1.84, 30.0
# What registers hold of columns and rows, and how much of what is more is loaded again in each tile.
_HELD_MOST, _RELOADED = 16, 0.8
# Vectors of a tile and of its tail's constants, from which on some are loaded again, and others copied.
_FULL, _SPILLED, _COPIED = 28, 0.8, 1.2
# Of a tile of one line under a kernel of so many rows, whose weights LLVM loads ahead: loads, stores and copies.
_LONG, _AHEAD = 7, (5.0, 3.0, 4.0)
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
        below: Vectors of the input that are loaded so many input rows below the first of their tile.
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
    below: tuple[int, ...]


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
    found, size = geometry_of(workload, tile), tile.lanes * target.value_bytes
    each, share = workload.out[0] * -(-workload.out[1] // tile.lanes), share_of_vector(target, tile.lanes)
    tiles, results = each * found.tiles, each * found.results
    weights = found.weight_loads if by_lane(target) else found.weights
    multiplies, loads = beside(target, each * found.multiplies * share, each * (found.pixels + weights))
    shared = tiles * (tail.bias + tail.constants)
    begun = results - (tiles if tail.bias else 0)
    scalar, branch = _others(target, workload, tile, found)
    again, put, copies = _again(target, workload, tail, tile)
    moved = each * (found.pixels + found.weights) if loads else 0.0
    half, after = workload.dtype == HALF, tail_of_vector(tail, size, workload.dtype)
    times = results * share
    return Instructions(
        multiply=times * after.multiply + (0.0 if half else multiplies),
        half=times * after.half + (multiplies if half else 0.0),
        vector=times * after.vector + begun * share + tiles * copies,
        load=loads + shared + tiles * again + _SAVED + results * after.load,
        load_bytes=size * (moved + shared + results * after.load) + 16 * _SAVED,
        store=results + tiles * put + _SAVED,
        store_bytes=size * (results + tiles * put) + 16 * _SAVED,
        scalar=scalar,
        branch=branch,
    )


def _others(target: Target, workload: Workload, tile: DepthwiseTile, found: Geometry) -> tuple[float, float]:
    """Scalar instructions and branches."""
    batch, channels = workload.out[:2]
    blocks = -(-channels // tile.lanes)
    chunks, each = batch * -(-blocks // chunk_of(blocks, workload, tile)), batch * blocks
    columns, tiles, rounds = chunks * found.tiles, each * found.tiles, each * found.rounds
    scalar, branch = (_CALL[i] + columns * _COLUMNS[i] for i in (0, 1))
    branch += tiles * _TILE[1] + rounds * _ROUND[1]
    if tile.in_turn:
        scalar += each * found.read
    if target.arm64 and channels % target.lanes:
        held = each * found.lines * _HELD_ROW + chunks * found.passes * _HELD_PASS + tiles * _HELD
        return scalar + (tiles * _HELD_LOOPS if rounds else held), branch
    scalar += tiles * (_BESIDE_LOOPS if rounds else _TILE[0]) + rounds * _ROUND[0]
    if target.arm64:
        row = channels * workload.data[3] * workload.dilations[0] * target.value_bytes
        scalar += each * (_FAR_BESIDE_LOOPS if rounds else _FAR) * sum(found.below[1 + int(_REACH / row) :])
        scalar += rounds * _ALONE if found.tiles == found.passes and tile.rows > _FEW else 0.0
    return scalar, branch


def _again(target: Target, workload: Workload, tail: Tail, tile: DepthwiseTile) -> tuple[float, float, float]:
    """Loads, stores and copies of what registers do not hold, of addresses and of vectors, for each tile."""
    if not target.arm64:
        return 0.0, 0.0, 0.0
    (kh, kw), (sh, sw) = workload.kernel, workload.strides
    under = (tile.rows - 1) * sw + kw
    full = tile.lines * (tile.rows + 1) + under + constants_of(tail) - _FULL
    loads, stores, copies = _AHEAD if tile.lines == 1 and kh >= _LONG else (0.0, 0.0, 0.0)
    if full > 0:
        loads, copies = loads + _SPILLED * full, copies + _COPIED * full
    if workload.out[1] % target.lanes:
        loads += _RELOADED * max(0, under - 1 + (tile.lines - 1) * sh + kh + tile.lines - _HELD_MOST)
    return loads + tile.in_turn, stores, copies


def chunk_of(blocks: int, workload: Workload, tile: DepthwiseTile) -> int:
    """Blocks of channels whose input under a tile and weights fill half of a small first-level cache, shared evenly."""
    axes = zip(workload.kernel, workload.strides, workload.dilations, (tile.lines, tile.rows), strict=True)
    lines, columns = ((width - 1) * stride + (kernel - 1) * step + 1 for kernel, stride, step, width in axes)
    taps = workload.kernel[0] * workload.kernel[1]
    most = max(2, CHUNK_BYTES // (4 * tile.lanes * (taps + lines * columns)))
    return -(-blocks // -(-blocks // most))


def geometry_of(workload: Workload, tile: DepthwiseTile) -> Geometry:
    """What a block of channels takes."""
    return _geometry(*axes_of(workload), tile.rows, tile.lines)


@lru_cache(maxsize=4096)
def _geometry(down: Axis, along: Axis, rows: int, lines: int) -> Geometry:
    written = down.kernel * along.kernel <= WRITTEN_TAPS
    tiles = [(r, c) for r in _runs(down, lines, written) for c in _runs(along, rows, True)]

    def over(value: Callable[[_Run, _Run], int]) -> int:
        return sum(r.count * c.count * value(r, c) for r, c in tiles)

    def below(n: int) -> int:
        return over(lambda r, c: c.under if r.under > n and not r.looped else 0)

    return Geometry(
        passes=sum(r.count for r in _runs(down, lines, written)),
        tiles=over(lambda r, c: 1),
        multiplies=over(lambda r, c: r.taps * c.taps),
        results=down.out * along.out,
        pixels=over(lambda r, c: r.under * c.under),
        weights=over(lambda r, c: r.kernel * c.kernel),
        weight_loads=over(lambda r, c: r.kernel * pairs(c.kernel) if r.looped else pairs(r.kernel * c.kernel)),
        lines=over(lambda r, c: r.outputs + r.under),
        read=over(lambda r, c: r.under),
        rounds=over(lambda r, c: r.kernel if r.looped else 0),
        below=tuple(map(below, range((lines - 1) * down.stride + down.kernel))),
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
