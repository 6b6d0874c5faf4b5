"""The schedules of a workload: the one that the model of the core chooses, and those worth measuring beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from pfir.backends.tvm.kernels.conv import FEW_CHANNELS
from pfir.backends.tvm.schedule.algorithms import outputs_for, plans, winograd_or_direct
from pfir.backends.tvm.schedule.blocks import Direct
from pfir.backends.tvm.schedule.channel_tiles import depthwise_tile, depthwise_tiles
from pfir.backends.tvm.schedule.crossing import across_tile
from pfir.backends.tvm.schedule.direct import covers, direct_plan, direct_plans
from pfir.backends.tvm.schedule.integers.choice import IntegerPlan, integer_plan, integer_plans
from pfir.backends.tvm.schedule.integers.depthwise_blocks import DepthwiseBlocks
from pfir.backends.tvm.schedule.integers.depthwise_choice import depthwise_plan, depthwise_plans
from pfir.backends.tvm.schedule.product_choice import chosen_tile, dense_tile, sparse_tiles
from pfir.backends.tvm.schedule.tile_kinds import DotsTile, DottedTile, MatrixTile, ProductTile, Tile
from pfir.backends.tvm.schedule.tiles import (
    FEWEST_LANES,
    matrix_tiles,
    product_tile,
    stem_tiles,
)
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.target import INT8, Target
from pfir.workload import Workload

Schedule = Tile | Winograd | Direct | IntegerPlan | DepthwiseBlocks

_TILES = 6  # of the model's ranking
_PLANS = 4
_STEPS = (1, 2, 4, 8)


@dataclass(frozen=True)
class Choice:
    """The schedules of the workloads of a family.

    Args:
        modelled: The one that takes the least time by the model of the core.
        others: Those worth measuring beside it.
    """

    modelled: Callable[[Target, Workload], Schedule]
    others: Callable[[Target, Workload], Iterator[Schedule]]


def _convolution(target: Target, workload: Workload) -> Schedule:
    if workload.dtype == INT8:
        return integer_plan(target, workload)
    tiled = winograd_or_direct(target, workload.channels, workload.out) if _squares(workload) else None
    if tiled or not covers(target, workload):
        return tiled or _matrix_tiles(target, workload)[0]
    return direct_plan(target, workload)


def _squares(workload: Workload) -> bool:
    """Whether Winograd's algorithm applies: 3x3 over channels side by side, nothing strided, dilated or grouped."""
    single = workload.strides == workload.dilations == workload.spread == (1, 1)
    return single and workload.group == 1 and workload.kernel == (3, 3) and workload.order == (0, 2, 3, 1)


def _sizes(workload: Workload) -> tuple[int, int, int]:
    """Columns, and output and input channels of a group."""
    return workload.out[3], workload.out[1] // workload.group, workload.channels


def _matrix_tiles(target: Target, workload: Workload) -> list[MatrixTile]:
    if workload.channels > FEW_CHANNELS:
        return matrix_tiles(target, *_sizes(workload))
    return stem_tiles(target, *_sizes(workload), workload.kernel[1], workload.strides[1])


def _convolutions(target: Target, workload: Workload) -> Iterator[Schedule]:
    if workload.dtype == INT8:
        yield from integer_plans(target, workload)
        return
    tiles = _matrix_tiles(target, workload)
    if _squares(workload):
        yield tiles[0]
        for outputs in outputs_for(target):
            yield from plans(target, workload.channels, workload.out, outputs)[:_PLANS]
    if covers(target, workload):
        yield from direct_plans(target, workload)
    yield from tiles[:_TILES]
    if workload.channels <= FEW_CHANNELS:
        yield from matrix_tiles(target, *_sizes(workload))[:_TILES]
    yield from _steps(tiles[0], workload.channels)


def _products(target: Target, workload: Workload) -> Iterator[Schedule]:
    tiles = matrix_tiles(target, workload.out[0], workload.out[1], workload.data[1])
    yield product_tile(target, workload.out[0], workload.out[1], workload.data[1])
    yield from tiles[: 2 * _TILES]
    dense = dense_tile(target, workload)
    yield from _steps(dense, workload.data[1])
    yield dense
    yield from sparse_tiles(target, workload)


def _depthwise(target: Target, workload: Workload) -> Schedule:
    if workload.dtype == INT8:
        return depthwise_plan(target, workload)
    blocks = depthwise_tile(target, workload)
    return across_tile(target, workload, blocks) or blocks


def _depthwise_tiles(target: Target, workload: Workload) -> Iterator[Schedule]:
    if workload.dtype == INT8:
        yield from depthwise_plans(target, workload)
        return
    tiles = depthwise_tiles(target, workload)
    yield from tiles[:_TILES]
    narrower = tiles[0].lanes // 2
    if narrower >= FEWEST_LANES:
        yield from (replace(tile, lanes=narrower) for tile in tiles[:2])


def _steps(tile: ProductTile | DotsTile, channels: int) -> Iterator[Tile]:
    """The tile with other counts of unrolled steps that divide the channels; those that are summed across lanes come by
    whole vectors."""
    least = tile.lanes if isinstance(tile, DottedTile) else 1
    for step in _STEPS:
        if channels % step == 0 and step >= least:
            yield replace(tile, copies=step) if isinstance(tile, DotsTile) else replace(tile, unroll=step)


CONVOLUTION = Choice(_convolution, _convolutions)
DEPTHWISE = Choice(_depthwise, _depthwise_tiles)
PRODUCT = Choice(chosen_tile, _products)
