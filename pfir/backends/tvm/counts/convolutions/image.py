"""The image that a direct convolution reads, and which taps of the kernel meet it where."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import NamedTuple

from pfir.backends.tvm.counts.sums import Registers, registers_of
from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.schedule.blocks import bordered
from pfir.backends.tvm.schedule.routing import axes_of
from pfir.backends.tvm.schedule.tiles import scheduled_ahead
from pfir.target import Target
from pfir.workload import Workload

TapCounts = tuple[tuple[int, int], ...]
"""Numbers of taps, and of positions of a tile, for each run of taps that meet the image at the same positions."""


class Image(NamedTuple):
    """A convolution but for the channels that it sums over.

    Args:
        rows, columns: The sizes that the blocks read, perhaps of a copy.
        images: Batch times groups.
        group: Groups.
        beside: Whether the taps of a row of the kernel are one run.
        bias: Whether sums begin with one.
        registers: Of the target.
        ahead: Whether LLVM schedules for a single core in order.
    """

    rows: Axis
    columns: Axis
    images: int
    group: int
    beside: bool
    bias: bool
    registers: Registers
    ahead: bool


def image_of(target: Target, workload: Workload, bias: bool) -> Image:
    """The part of the work that does not depend on the channels that are summed over."""
    rows, columns = axes_of(workload)
    if bordered(workload.order, workload.data[1]):
        rows, columns = rows.copied, columns.copied
    images, beside = workload.out[0] * workload.group, workload.group == 1 and workload.dilations[1] == 1
    return Image(rows, columns, images, workload.group, beside, bias, registers_of(target), scheduled_ahead(target))


@lru_cache(maxsize=4096)
def met(axis: Axis) -> int:
    """How many taps meet the image, over all positions of the result."""
    return sum(len(axis.inside(position)) for position in range(axis.out))


@lru_cache(maxsize=4096)
def tiles_along(axis: Axis, most: int) -> tuple[tuple[int, int, TapCounts], ...]:
    """Runs of equal tiles of at most so many positions along a row of the result: positions of a tile, how many tiles,
    and their taps."""
    found = (
        (len(tile), tuple((taps, len(who)) for _, taps, who in axis.stretches(tile))) for tile in axis.balanced(most)
    )
    return tuple((columns, len(list(run)), taps) for (columns, taps), run in groupby(found))
