"""Instructions of depthwise convolutions over integers of eight bits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

from pfir.backends.tvm.counts.integers.rounding import rounded, saturating
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.kernels.axis import Axis, Taps
from pfir.backends.tvm.kernels.integers.depthwise.products import TapProducts, products_by
from pfir.backends.tvm.kernels.integers.depthwise.reads import Window, reads_of
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.depthwise_blocks import DepthwiseBlocks
from pfir.backends.tvm.schedule.integers.dot_blocks import stored
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Found with the emulator, kernels of 3x3 to 7x7 on Cortex-A76 and A72. Scalar instructions of a call; of a pass along
# a line by a block of channels, and more where the border cuts rows off at the top and at the bottom; of a tile, and of
# each line of one; branches of a pass.
_CALL, _PASS, _BOTH, _TILE, _LINE, _BRANCHES = 100, 22, 13, 3, 7, 2
# Of registers that a tile lacks: each is loaded again by all positions of a line but so many; stores of a position grow
# with the root of how many they are; copies, in tiles of one line and of more, and with products of 16 bits.
_LOADED_ONCE, _STORED, _COPIED, _MOVED = 2, 1.15, (5.0, 0.8), 2.9
_BESIDE = 0.73  # of the loads of columns that lie side by side, of which some are one


class _Tiles(NamedTuple):
    """What tiles do, for a block of channels.

    Args:
        tiles, positions, results: How many there are; a position has a result for each line.
        groups: Groups of taps that are added up.
        taps: Taps of those.
        prepared: Groups that are made ready.
        loaded: Values that are loaded.
        held_groups, held_values: How many of the last two there are at a time, as later positions read them.
    """

    tiles: int
    positions: int
    results: int
    groups: int
    taps: int
    prepared: int
    loaded: int
    held_groups: float
    held_values: float


class _Vectors(NamedTuple):
    """What a block of channels takes: vectors of sums, of four lanes or as wide as they come; vectors of weights of a
    group, and their bytes; instructions that prepare a group; and registers of sums and constants."""

    sums: int
    weights: int
    size: int
    prepare: int
    others: int


def depthwise_int8(target: Target, workload: Workload, tail: Tail, plan: DepthwiseBlocks) -> Instructions:
    """The instructions of a kernel."""
    rows, columns = axes_of(workload)
    products = products_by(plan.dot, stored(target))
    window = Window(rows.kernel, rows.stride, plan.lines, columns, products.together)
    passes = workload.out[0] * -(-rows.out // plan.lines)
    both = all(len(rows.inside(y)) < rows.kernel for y in (0, rows.out - 1))
    found = Instructions(scalar=_CALL)
    for block in plan.blocks:
        beside = _BESIDE if block.channels == workload.out[1] and by_lane(target) else 1.0
        once = _of_pass(target, window, block, plan.dot, tail, beside)
        found += (once + Instructions(scalar=_BOTH * both)) * (passes * block.count)
    return found


@lru_cache(maxsize=1 << 12)
def _of_pass(target: Target, window: Window, block: Block, dot: str, tail: Tail, beside: float) -> Instructions:
    """Of the lines of one tile, from end to end."""
    arm, lanes, total = by_lane(target), block.channels, Sum()
    products, lines = products_by(dot, stored(target)), window.lines
    per = _vectors(target, products, lanes)
    kinds = lines * len(set(columns_of(window.columns)))
    held = len(window.groups) * lines * per.weights + per.sums * kinds + per.sums
    total.read(1, held / (2 if arm else 1), held * per.size)
    count = -(-window.columns.out // block.rows)
    total.steer(1, _PASS + count * (_TILE + lines * _LINE), _BRANCHES + count)
    total.compute(1, 0, -kinds * per.sums if dot else 0)
    found = Instructions()
    for tiles in _tiles(window, block.rows):
        total.read(1, tiles.loaded * beside, tiles.loaded * lanes)
        total.compute(1, 0, tiles.prepared * per.prepare)
        if arm:
            total.steer(tiles.positions, 1, 0)
            _again(total, tiles, _missing(target, window, tiles, products, per), per, window)
        found += _products(target, tiles, per, dot, lanes) + _after(target, tail, lanes, bool(dot)) * tiles.results
    return found + total.instructions(False)


def columns_of(columns: Axis) -> Iterator[tuple[int, ...]]:
    """The taps of each position that meet the image."""
    return map(columns.inside, range(columns.out))


def _vectors(target: Target, products: TapProducts, lanes: int) -> _Vectors:
    """What a block of so many lanes takes."""
    each = target.core.vector_bytes // 4
    sums = -(-lanes // each)
    if not products.interleaved:
        return _Vectors(sums, products.together, lanes, 0, 2 * sums + 3)
    # Arm: two zips for each pair of vectors, and for each two pairs of eight channels. x86: three insertions, one
    # permutation.
    prepare = (3 if lanes == 4 else lanes // 2) if by_lane(target) else 4
    return _Vectors(sums, sums, target.core.vector_bytes, prepare, 3 * sums + 1)


@lru_cache(maxsize=1 << 12)
def _tiles(window: Window, most: int) -> tuple[_Tiles, ...]:
    """All tiles along a line; those that follow each other without a loop are as one, to LLVM too."""
    found: list[tuple[Taps, int]] = []
    for run in window.columns.even_runs(most):
        if found and run.count == found[-1][1] == 1:
            found[-1] = found[-1][0] + run.taps, 1
        else:
            found.append((run.taps, run.count))
    return tuple(_counted(window, taps, count) for taps, count in found)


def _counted(window: Window, taps: Taps, count: int) -> _Tiles:
    """So many tiles that are alike."""
    reads = reads_of(window, taps)
    results = [read for position in reads for read in position]
    groups = [[places for read in position for _, places in read] for position in reads]
    values = [[place for places in position for place in places if place] for position in groups]
    return _Tiles(
        count,
        count * len(reads),
        count * len(results),
        count * sum(map(len, results)),
        count * sum(place is not None for read in results for _, places in read for place in places),
        count * len({places for position in groups for places in position}),
        count * len({place for position in values for place in position}),
        _held(groups),
        _held(values),
    )


def _held(used: list[list[Any]]) -> float:
    """How much of what positions use there is at a time, on average: each from the first that uses it to the last."""
    last = {one: i for i, those in enumerate(used) for one in those}
    first = {one: i for i, those in reversed(list(enumerate(used))) for one in those}
    return sum(last[one] - first[one] + 1 for one in last) / len(used)


def _missing(target: Target, window: Window, tiles: _Tiles, products: TapProducts, per: _Vectors) -> float:
    """Registers that a tile lacks."""
    values = tiles.held_groups * per.sums if products.interleaved else tiles.held_values
    needed = len(window.groups) * window.lines * per.weights + values + per.sums * (window.lines - 1) + per.others
    return max(0, needed - target.core.vector_registers)


def _again(total: Sum, tiles: _Tiles, missing: float, per: _Vectors, window: Window) -> None:
    """What is loaded again, stored and copied for want of registers."""
    if missing:
        loads = missing * max(0.0, 1 - _LOADED_ONCE / window.columns.out)
        stores, copies = _STORED * missing**0.5, _COPIED[window.lines > 1] if per.prepare else _MOVED
        total.read(tiles.positions, loads, per.size * loads)
        total.write(tiles.positions, stores, (per.size + 16) / 2 * stores)
        total.compute(tiles.positions, 0, copies)


def _products(target: Target, tiles: _Tiles, per: _Vectors, dot: str, lanes: int) -> Instructions:
    """Products, and sums of those that are no dot products."""
    if dot:
        return Instructions(dot=tiles.groups * per.sums)
    halves = -(-lanes // (target.core.vector_bytes // 2))
    widened = 0 if by_lane(target) else 2 * halves
    return Instructions(widening=tiles.taps * halves, vector=tiles.groups * (per.sums + widened))


@lru_cache(maxsize=1 << 10)
def _after(target: Target, tail: Tail, lanes: int, copied: bool) -> Instructions:
    """Of a vector of sums that become bytes: what they start from copied, conversion, the tail, rounding, the store."""
    vectors = -(-lanes // (target.core.vector_bytes // 4))
    follows = tail_of_vector(saturating(tail), target.core.vector_bytes)
    return (Instructions(vector=1 + copied) + follows) * vectors + rounded(target, lanes)
