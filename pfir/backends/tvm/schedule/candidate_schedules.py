"""The ways to compute a kernel: the one that the model of the core chooses, and those worth measuring beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pfir.backends.tvm.kernels.conv import FEW_CHANNELS
from pfir.backends.tvm.schedule.algorithms import Winograd, outputs_for, plans, winograd_or_direct
from pfir.backends.tvm.schedule.channel_tiles import depthwise_tiles
from pfir.backends.tvm.schedule.crossing import across_tile
from pfir.backends.tvm.schedule.direct import Direct, covers, direct_plan, direct_plans
from pfir.backends.tvm.schedule.products import dots_last
from pfir.backends.tvm.schedule.remainders import remainder_tile
from pfir.backends.tvm.schedule.tiles import (
    FEWEST_LANES,
    Tile,
    matrix_tiles,
    product_tile,
    stem_tiles,
)
from pfir.backends.tvm.schedule.workload import Work
from pfir.target import Target

Way = Tile | Winograd | Direct

_TILES = 6  # of the model's ranking
_PLANS = 4
_STEPS = (1, 2, 4, 8)


def modelled(target: Target, work: Work) -> Way:
    """The way that takes the least time by the model of the core."""
    if work.family == "product":
        sizes = work.out[0], work.out[1], work.data[1]
        return remainder_tile(target, *sizes) or product_tile(target, *sizes)
    if work.family == "depthwise":
        plain = depthwise_tiles(target, work.out[2:], work.out[1], work.kernel, work.strides)
        return across_tile(target, work) or plain[0]
    tiled = winograd_or_direct(target, work.channels, work.out) if _squares(work) else None
    if tiled or not covers(target, work):
        return tiled or _matrix_tiles(target, work)[0]
    return direct_plan(target, work)


def ways(target: Target, work: Work) -> tuple[Way, ...]:
    """Each way once, the modelled one first; every one of them computes the same."""
    others = {"product": _products, "depthwise": _depthwise, "conv": _convolutions}[work.family]
    return tuple(dict.fromkeys((modelled(target, work), *others(target, work))))


def _squares(work: Work) -> bool:
    """Whether Winograd's algorithm applies: 3x3 over channels side by side, nothing strided, dilated or grouped."""
    single = work.strides == work.dilations == work.spread == (1, 1)
    return single and work.group == 1 and work.kernel == (3, 3) and work.order == (0, 2, 3, 1)


def _sizes(work: Work) -> tuple[int, int, int]:
    """Columns, and output and input channels of a group."""
    return work.out[3], work.out[1] // work.group, work.channels


def _matrix_tiles(target: Target, work: Work) -> list[Tile]:
    if work.channels > FEW_CHANNELS:
        return matrix_tiles(target, *_sizes(work))
    return stem_tiles(target, *_sizes(work), work.kernel[1], work.strides[1])


def _convolutions(target: Target, work: Work) -> Iterator[Way]:
    tiles = _matrix_tiles(target, work)
    if _squares(work):
        yield tiles[0]
        for outputs in outputs_for(target):
            yield from plans(target, work.channels, work.out, outputs)[:_PLANS]
    if covers(target, work):
        yield from direct_plans(target, work)
    yield from tiles[:_TILES]
    if work.channels <= FEW_CHANNELS:
        yield from matrix_tiles(target, *_sizes(work))[:_TILES]
    yield from _steps(tiles[0], work.channels)


def _products(target: Target, work: Work) -> Iterator[Way]:
    tiles = matrix_tiles(target, work.out[0], work.out[1], work.data[1])
    yield product_tile(target, work.out[0], work.out[1], work.data[1])
    yield from tiles[: 2 * _TILES]
    yield from _steps(modelled(target, work), work.data[1])


def _depthwise(target: Target, work: Work) -> Iterator[Way]:
    tiles = depthwise_tiles(target, work.out[2:], work.out[1], work.kernel, work.strides)
    yield from tiles[:_TILES]
    narrower = tiles[0].lanes // 2
    if narrower >= FEWEST_LANES:
        yield from (replace(tile, lanes=narrower) for tile in tiles[:2])


def _steps(tile: Tile, channels: int) -> Iterator[Tile]:
    """The tile with other counts of unrolled steps that divide the channels; those that are summed across lanes come by
    whole vectors."""
    least = tile.lanes if dots_last(tile) else 1
    yield from (replace(tile, unroll=step) for step in _STEPS if channels % step == 0 and step >= least)
