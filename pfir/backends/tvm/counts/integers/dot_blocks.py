"""Instructions of integer convolutions by dot products of four bytes, or matrix products of eight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from pfir.backends.tvm.counts.integers.rounding import after_sums
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.kernels.direct.layer import spans_of
from pfir.backends.tvm.kernels.integers.groups import cut, values_of
from pfir.backends.tvm.kernels.integers.tile import parts_of
from pfir.backends.tvm.schedule.blocks import Block, bordered
from pfir.backends.tvm.schedule.integers.dot_blocks import MATRIX_VALUES, DotBlocks
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Scalar instructions of a line, of a tile, of a row of the kernel, of a run, and of a round of it.
_A_LINE, _A_TILE, _A_ROW, _A_RUN, _A_ROUND = 25, 6, 5, 5, 3
# Vector instructions that take two positions' sums of four channels apart.
_APART = 3
# Multiplying instructions up to which LLVM writes out a loop.
_WRITTEN_OUT = 180
# Of a value of the copy of an image of few channels, and of the memory for it.
_A_COPIED, _ALLOCATED = 2.5, 200


class Walk(NamedTuple):
    """How the blocks of a convolution go over the image.

    Args:
        lines: Lines of the result, of all images and groups.
        rows: Rows of the kernel that meet the image, over all lines.
        out: Columns of the result.
        size, kernel, stride, step, pad: Columns of the image, and the kernel's.
        inner: Input channels of a group, of which a tap has whole groups.
        beside: Whether the taps of a row are one run.
        copied: Values of the copy that is made first.
        together: Input values that one instruction multiplies.
        channels: Output channels of a group.
    """

    lines: int
    rows: int
    out: int
    size: int
    kernel: int
    stride: int
    step: int
    pad: int
    inner: int
    beside: bool
    copied: int
    together: int
    channels: int

    @property
    def pairs(self) -> bool:
        """Whether positions are multiplied two by two, and channels too."""
        return self.together == MATRIX_VALUES


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
    walk = walk_of(workload, plan.together)
    found = Instructions(scalar=_ALLOCATED if walk.copied else 0)
    found += Instructions(load=walk.copied, load_bytes=walk.copied, store=walk.copied, store_bytes=walk.copied) * 0.5
    found += Instructions(scalar=_A_COPIED * walk.copied)
    for block in plan.blocks:
        found += of_block(target, walk, block, tail) * block.count
    return found


@lru_cache(maxsize=1 << 12)
def walk_of(workload: Workload, together: int) -> Walk:
    """The walk of a convolution, so many of whose input values are multiplied together."""
    copies = bordered(workload.order, workload.data[1])
    inner = -(-workload.channels // together) * together if copies else workload.channels
    axes = zip(
        workload.data[2:],
        workload.out[2:],
        workload.kernel,
        workload.strides,
        workload.dilations,
        workload.pads,
        strict=True,
    )
    down, across = ((_whole(*axis) if copies else axis) for axis in axes)
    images = workload.data[0] * workload.group
    met = sum(_taps(down, y)[1] - _taps(down, y)[0] for y in range(down[1]))
    beside = workload.dilations[1] == 1 and workload.group == 1 and inner % together == 0
    copied = workload.data[0] * inner * down[0] * across[0] if copies else 0
    size, out, kernel, stride, step, pad = across
    line, channels = (out, size, kernel, stride, step, pad), workload.out[1] // workload.group
    return Walk(images * down[1], images * met, *line, inner, beside, copied, together, channels)


def _whole(size: int, out: int, kernel: int, stride: int, step: int, pad: int) -> tuple[int, ...]:
    """An axis of a copy, which has its border."""
    del size, pad
    return (out - 1) * stride + (kernel - 1) * step + 1, out, kernel, stride, step, 0


def _taps(axis: tuple[int, ...], place: int) -> tuple[int, int]:
    """The first tap that meets the image at a position, and the one behind the last."""
    size, _, kernel, stride, step, pad = axis
    start = place * stride - pad
    first = max(0, -(start // step))
    return first, max(first, min(kernel, -(-(size - start) // step)))


@lru_cache(maxsize=1 << 14)
def _row(walk: Walk, most: int, registers: int, one_by_one: bool) -> _Row:
    """What tiles of at most so many positions do, each with so many registers of sums; values come `one_by_one` group
    on x86."""
    per_tap = len(values_of(walk.inner, walk.together))
    found, tiles, each = [0] * 6, 0, 0
    for times, spans in _tiles(walk, most):
        tiles += times
        each += times * _multiplied(walk, range(len(spans)))
        for taps, who in _stretches(walk.kernel, spans):
            runs, length = (1, walk.inner * taps) if walk.beside else (taps, walk.inner)
            pieces = cut(length, walk.together)
            loads = pieces.whole + (pieces.last is not None)
            groups, multiplied = taps * per_tap, _multiplied(walk, who)
            brought = len(who) * runs * (pieces.count if one_by_one else loads)
            looped = pieces.whole > 1 and multiplied * pieces.groups * pieces.whole * registers > _WRITTEN_OUT
            zipped = multiplied * groups if walk.pairs and pieces.groups > 1 else 0
            sizes = multiplied * groups, groups, brought, zipped, runs, runs * pieces.whole if looped else 0
            found = [one + times * size for one, size in zip(found, sizes, strict=True)]
    return _Row(*found, tiles, each)


def _multiplied(walk: Walk, who: Iterable[int]) -> int:
    """These positions, or the pairs that they are in."""
    return len({i // 2 if walk.pairs else i for i in who})


def _tiles(walk: Walk, most: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """How many tiles there are along a row, and the taps that each of their positions meets; those that the border cuts
    nothing off together."""
    axis = (walk.size, walk.out, walk.kernel, walk.stride, walk.step, walk.pad)
    spans, every = spans_of(walk.out, most, 2 if walk.pairs else 1), (0, walk.kernel)
    if _taps(axis, 0) == _taps(axis, walk.out - 1) == every:
        for rows, times in Counter(rows for _, rows in spans).items():
            yield times, [every] * rows
        return
    for start, rows in spans:
        yield 1, [_taps(axis, x) for x in range(start, start + rows)]


def _stretches(kernel: int, spans: list[tuple[int, int]]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """How many taps in a row the same positions of a tile meet, and those positions."""
    met = [tuple(i for i, (first, last) in enumerate(spans) if first <= tap < last) for tap in range(kernel)]
    for who, run in groupby(met):
        if who:
            yield len(list(run)), who


def of_block(target: Target, walk: Walk, block: Block, tail: Tail) -> Instructions:
    """The instructions of one block of channels over all positions."""
    arm, lanes = by_lane(target), target.core.vector_bytes // 4
    vectors = sum(-(-width // lanes) for width in block.lanes)
    registers = 2 * vectors if walk.pairs else vectors  # of sums, for each position or pair of them
    row, total = _row(walk, block.rows, registers, not arm), Sum()
    paired = 2 if arm else 1
    loads, weights = walk.rows * row.loads, walk.rows * row.weights * registers
    values_bytes = walk.together * walk.rows * row.products * (2 if walk.pairs else 1)
    total.read(1, loads + weights / paired, values_bytes + weights * target.core.vector_bytes)
    begin = walk.lines * vectors
    total.read(1, begin * row.tiles / paired, begin * row.tiles * target.core.vector_bytes)
    total.compute(1, 0, walk.lines * (registers * row.positions - vectors * row.tiles))
    if walk.pairs:
        total.compute(1, 0, walk.rows * row.zipped + begin * (row.tiles + _APART * row.positions))
    total.steer(walk.lines, _A_LINE + row.tiles * _A_TILE, 2 + row.tiles)
    total.steer(walk.rows, row.tiles * _A_ROW + row.runs * _A_RUN + row.rounds * _A_ROUND, row.tiles + row.rounds)
    dots = Instructions(dot=walk.rows * row.products * registers)
    ends = Instructions()
    for width in block.lanes:
        for _, kept in [(0, width)] if width <= walk.channels else parts_of(walk.channels):
            ends += after_sums(target, tail, kept)
    return total.instructions(False) + dots + ends * (walk.lines * walk.out)
