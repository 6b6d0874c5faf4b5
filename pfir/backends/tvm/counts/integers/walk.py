"""How the blocks of an integer convolution go over the image: lines, tiles along them, and runs of input values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.schedule.blocks import bordered, one_run
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.instructions import Instructions
from pfir.workload import Workload

# Pixels that LLVM copies at once, and the most channels of one that an instruction stores side by side.
_AT_ONCE, _SIDE_BY_SIDE = 16, 4
# Scalar instructions of the memory for a copy, of a line of it, of pixels at once, and of a value alone.
_ALLOCATED, _A_LINE, _A_ROUND, _A_VALUE = 200, 30, 4, 2.5

# Bytes that are copied at once where all of a line are; scalar instructions of such a line.
_LINE_VECTOR, _A_SHORT_LINE = 16, 9

WRITTEN_OUT = 180
"""Multiplying instructions up to which LLVM writes out a loop."""


class Walk(NamedTuple):
    """How the blocks of a convolution go over the image.

    Args:
        lines: Lines of the result, of all images and groups.
        rows: Rows of the kernel that meet the image, over all lines.
        axis: Columns.
        inner: Input channels of a group.
        beside: Whether the taps of a row are one run.
        copied: Lines, columns and channels of the copy that is made first, and the channels that it has zeros for.
        channels: Output channels of a group.
        together: Input values in groups of which runs are cut.
        positions: That one instruction multiplies.
    """

    lines: int
    rows: int
    axis: Axis
    inner: int
    beside: bool
    copied: tuple[int, int, int, int]
    channels: int
    together: int
    positions: int

    @property
    def out(self) -> int:
        """Columns of the result."""
        return self.axis.out

    @property
    def kernel(self) -> int:
        """Columns of the kernel."""
        return self.axis.kernel

    @property
    def copy(self) -> Instructions:
        """What makes the copy."""
        lines, columns, channels, empty = self.copied
        if not empty:
            return _copied_lines(lines, columns * channels)
        many = columns // _AT_ONCE if channels <= _SIDE_BY_SIDE else 0
        moved = Instructions(load=channels - empty, store=channels, scalar=_A_VALUE * channels)
        line = moved * (columns - many * _AT_ONCE) + Instructions(scalar=_A_LINE, branch=4)
        line += Instructions(load=channels - empty, store=1, scalar=_A_ROUND, branch=1) * many
        bytes_moved = Instructions(load_bytes=(channels - empty) * columns, store_bytes=channels * columns)
        return (line + bytes_moved) * lines + Instructions(scalar=_ALLOCATED if lines else 0)


def _copied_lines(lines: int, size: int) -> Instructions:
    """A copy of lines of so many bytes, which lie as before but for the border."""
    vectors = -(-size // _LINE_VECTOR)
    moved = Instructions(load=vectors, load_bytes=size, store=vectors + 2, store_bytes=size)
    return (moved + Instructions(scalar=_A_SHORT_LINE + vectors, branch=2)) * lines


@lru_cache(maxsize=1 << 12)
def walk_of(workload: Workload, together: int, chained: int = 1, positions: int = 1) -> Walk:
    """The walk of a convolution.

    Args:
        together: Input values of a group; a copy of few channels has whole ones.
        chained: Groups of which each tap has whole numbers where a run takes several.
        positions: That one instruction multiplies.
    """
    copies = bordered(workload.order, workload.data[1])
    alone, step = workload.group == 1, workload.dilations[1]
    rows = alone and one_run(workload.order, workload.data[1], workload.kernel[1], step, together)
    inner = -(-workload.channels // together) * together if copies and not rows else workload.channels
    down, across = (axis.copied if copies else axis for axis in axes_of(workload))
    images = workload.data[0] * workload.group
    met = sum(_taps(down, y)[1] - _taps(down, y)[0] for y in range(down.out))
    beside = rows or (alone and step == 1 and inner % (together * chained) == 0)
    copied = (workload.data[0] * down.size, across.size, inner, inner - workload.channels) if copies else (0, 0, 0, 0)
    lines, channels = images * down.out, workload.out[1] // workload.group
    return Walk(lines, images * met, across, inner, beside, copied, channels, together, positions)


def tiles_of(walk: Walk, most: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """How many tiles there are along a row, and the taps that each of their positions meets; those that the border cuts
    nothing off together."""
    axis, every = walk.axis, (0, walk.kernel)
    spans = axis.balanced(most, walk.positions)
    if _taps(axis, 0) == _taps(axis, walk.out - 1) == every:
        for rows, times in Counter(map(len, spans)).items():
            yield times, [every] * rows
        return
    for span in spans:
        yield 1, [_taps(axis, x) for x in span]


def stretches(kernel: int, spans: list[tuple[int, int]]) -> Iterator[tuple[int, tuple[int, ...]]]:
    """How many taps in a row the same positions of a tile meet, and those positions."""
    met = [tuple(i for i, (first, last) in enumerate(spans) if first <= tap < last) for tap in range(kernel)]
    for who, run in groupby(met):
        if who:
            yield len(list(run)), who


def _taps(axis: Axis, place: int) -> tuple[int, int]:
    """The first tap that meets the image at a position, and the one behind the last."""
    size, _, kernel, stride, step, pad = axis
    start = place * stride - pad
    first = max(0, -(start // step))
    return first, max(first, min(kernel, -(-(size - start) // step)))
