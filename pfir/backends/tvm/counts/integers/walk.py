"""How the blocks of an integer convolution go over the image: lines, tiles along them, and runs of input values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from pfir.backends.tvm.kernels.direct.layer import spans_of
from pfir.backends.tvm.schedule.blocks import bordered
from pfir.instructions import Instructions
from pfir.workload import Workload

# Scalar instructions of a value of the copy of an image of few channels, and of the memory for it.
_A_COPIED, _ALLOCATED = 2.5, 200


class Walk(NamedTuple):
    """How the blocks of a convolution go over the image.

    Args:
        lines: Lines of the result, of all images and groups.
        rows: Rows of the kernel that meet the image, over all lines.
        out: Columns of the result.
        size, kernel, stride, step, pad: Columns of the image, and the kernel's.
        inner: Input channels of a group.
        beside: Whether the taps of a row are one run.
        copied: Values of the copy that is made first.
        together: Input values of a group, in groups of which runs are cut.
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

    @property
    def copy(self) -> Instructions:
        """What makes the copy."""
        if not self.copied:
            return Instructions()
        moved = Instructions(load=0.5, load_bytes=0.5, store=0.5, store_bytes=0.5, scalar=_A_COPIED)
        return moved * self.copied + Instructions(scalar=_ALLOCATED)


@lru_cache(maxsize=1 << 12)
def walk_of(workload: Workload, together: int, chained: int) -> Walk:
    """The walk of a convolution.

    Args:
        together: Input values of a group; a copy of few channels has whole ones.
        chained: Groups that one run must have whole numbers of for each tap, if it takes several.
    """
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
    beside = workload.dilations[1] == 1 and workload.group == 1 and inner % (together * chained) == 0
    copied = workload.data[0] * inner * down[0] * across[0] if copies else 0
    size, out, kernel, stride, step, pad = across
    return Walk(images * down[1], images * met, out, size, kernel, stride, step, pad, inner, beside, copied, together)


def tiles_of(walk: Walk, most: int) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """How many tiles there are along a row, and the taps that each of their positions meets; those that the border cuts
    nothing off together."""
    axis = (walk.size, walk.out, walk.kernel, walk.stride, walk.step, walk.pad)
    spans, every = spans_of(walk.out, most), (0, walk.kernel)
    if _taps(axis, 0) == _taps(axis, walk.out - 1) == every:
        for rows, times in Counter(rows for _, rows in spans).items():
            yield times, [every] * rows
        return
    for start, rows in spans:
        yield 1, [_taps(axis, x) for x in range(start, start + rows)]


def stretches(kernel: int, spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """How many taps in a row the same positions of a tile meet, and how many positions those are."""
    met = [tuple(first <= tap < last for first, last in spans) for tap in range(kernel)]
    for who, run in groupby(met):
        if any(who):
            yield len(list(run)), sum(who)


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
