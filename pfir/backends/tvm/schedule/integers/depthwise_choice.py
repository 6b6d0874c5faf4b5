"""Which blocks of channels and tiles of positions a depthwise convolution over integers is shared out in."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from pfir.backends.tvm.counts.integers.depthwise import depthwise_int8
from pfir.backends.tvm.kernels.depthwise import MOST_TAPS
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.depthwise_blocks import DepthwiseBlocks
from pfir.backends.tvm.schedule.integers.dot_blocks import dot_of
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane
from pfir.target import Target
from pfir.workload import Tail, Workload

_AFTER = Tail(bias=True, operators=("QuantizeLinear",))
_MOST_ROWS, _WRITTEN = 14, 400  # positions of a tile, and taps of all of them, which are written out
_FEW = 4  # plans that are worth measuring
_HARDLY_MORE = 1.03  # cycles: where images are small and channels many, rows that lines share save no more


def covers_depthwise(target: Target, workload: Workload) -> bool:
    """Whether the kernel can be made, and is fast: one output for each input, not too many taps, and on x86 a dot
    product; products of 16 bits would take as long there as floats."""
    alike = workload.group == workload.data[1] == workload.out[1] >= FEWEST_LANES
    return alike and prod(workload.kernel) <= MOST_TAPS and (by_lane(target) or dot_of(target) is not None)


def depthwise_plan(target: Target, workload: Workload) -> DepthwiseBlocks:
    """The plan that takes the fewest cycles."""
    return depthwise_plans(target, workload)[0]


def depthwise_plans(target: Target, workload: Workload) -> list[DepthwiseBlocks]:
    """A few plans, from the fewest cycles on; before them one of a single line that takes hardly more, whose packed
    weights are half as many bytes or fewer."""
    plans, costs = list(_plans(target, workload)), target.core.costs
    cycles = {plan: costs.cycles(depthwise_int8(target, workload, _AFTER, plan)) for plan in plans}
    ordered = sorted(plans, key=cycles.__getitem__)
    least = cycles[ordered[0]]
    smaller = next((plan for plan in ordered if plan.lines == 1 and cycles[plan] <= _HARDLY_MORE * least), ordered[0])
    return [smaller, *(plan for plan in ordered if plan != smaller)][:_FEW]


def _plans(target: Target, workload: Workload) -> Iterator[DepthwiseBlocks]:
    """Tiles of each size that evens out, of one line and, of dot products, two that share rows."""
    (height, columns), dot = workload.out[2:], dot_of(target) or ""
    shared = dot and height > 1 and workload.kernel[0] > 1 and workload.strides[0] == workload.dilations[0] == 1
    for lines in (1, 2) if shared else (1,):
        most = max(1, min(_MOST_ROWS, _WRITTEN // (prod(workload.kernel) * lines), columns))
        sizes = sorted({-(-columns // count) for count in range(-(-columns // most), columns + 1)}, reverse=True)
        for rows in sizes[:_FEW]:
            yield DepthwiseBlocks(_covering(workload.out[1], _lanes(target), rows), lines, dot, target.threads)


def _lanes(target: Target) -> int:
    """Channels of a block: as many as stay in registers on Arm, a vector on x86."""
    return 8 if by_lane(target) else 16


def _covering(channels: int, lanes: int, rows: int) -> tuple[Block, ...]:
    """Blocks of so many lanes, or as many as the channels allow; of the rest the fewest that hold it."""
    while lanes > channels:
        lanes //= 2
    whole, left = divmod(channels, lanes)
    last = lanes
    while last // 2 >= max(left, FEWEST_LANES):
        last //= 2
    if left and last == lanes:
        return (Block((lanes,), 0, rows, whole + 1),)
    return (Block((lanes,), 0, rows, whole), *([Block((last,), 0, rows, 1)] if left else []))
