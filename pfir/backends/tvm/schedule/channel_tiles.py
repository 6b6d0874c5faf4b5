"""Register tiles of kernels whose channels do not mix: depthwise convolutions and other windows."""

from __future__ import annotations

from functools import lru_cache

from pfir.backends.tvm.counts.convolutions.depthwise import depthwise
from pfir.backends.tvm.schedule.tile_kinds import ChannelTile, DepthwiseTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane, lane_choices, scheduled_ahead
from pfir.target import Target
from pfir.workload import Tail, Workload

_BIAS = Tail(bias=True)
_COUNTED = 4  # shapes of a tile: all that took the fewest instructions were among the first few by their loads
_CLEARLY = 0.98  # of the cycles of the first one: what differs by less may be the count's error
_PER_TILE = 10  # instructions of a loop and its addresses
_LANES_A_BLOCK = 7  # a depthwise block of n lanes costs as much as n + 7 do, measured on Zen 4


def channel_tile(target: Target, columns: int, channels: int) -> ChannelTile:
    """The tile of a depthwise or pooling kernel: one vector of channels by several columns."""
    lanes = min(lane_choices(target), key=lambda n: (-(-channels // n) * n, -n))
    limit = min(target.core.vector_registers // 3, columns, 8)
    rows = min(range(1, limit + 1), key=lambda r: (-(-columns // r) * (r + 2), -r))
    return ChannelTile(lanes, rows, target.threads)


def depthwise_tile(target: Target, workload: Workload) -> DepthwiseTile:
    """The tile of a depthwise convolution that costs the fewest instructions.

    Its vectors are no wider than the channels, at least `FEWEST_LANES` of them. A tile loads each input row under it
    once, and each weight; two lines share rows. What it holds at a time are the accumulators, one input row and a
    weight a line.
    """
    return depthwise_tiles(target, workload)[0]


def depthwise_tiles(target: Target, workload: Workload) -> list[DepthwiseTile]:
    """The tiles that stay in registers, those with the fewest loads first; on 64-bit Arm before them that one of the
    first few whose counted instructions cost the core the fewest cycles."""
    channels = workload.out[1]
    narrow = [n for n in lane_choices(target) if n <= max(channels, FEWEST_LANES)]
    lanes = min(narrow, key=lambda n: (-(-channels // n) * (n + _LANES_A_BLOCK), -n))
    ahead, shapes = scheduled_ahead(target), _shapes(workload.out[2:], workload.kernel, workload.strides, _held(target))
    tiles = [DepthwiseTile(lanes, rows, lines, ahead, target.threads) for rows, lines in shapes]
    if not target.arm64:
        return tiles
    costs = target.core.costs
    cycles = [costs.cycles(depthwise(target, workload, _BIAS, tile)) for tile in tiles[:_COUNTED]]
    best = cycles.index(min(cycles))
    return [tiles.pop(best), *tiles] if cycles[best] < _CLEARLY * cycles[0] else tiles


@lru_cache(maxsize=4096)
def _shapes(
    sizes: tuple[int, int], kernel: tuple[int, int], strides: tuple[int, int], held: int
) -> tuple[tuple[int, int], ...]:
    """Columns and lines of tiles that hold no more than so many registers, those with the fewest loads first."""
    options = [
        (_depthwise_loads(sizes[1], rows, lines, kernel, strides) / lines, -rows, lines)
        for rows in range(1, min(8, sizes[1]) + 1)
        for lines in _lines(sizes, rows, kernel[0], strides[0])
        if lines * rows + _under(rows, kernel[1], strides[1]) + lines <= held or rows == 1
    ]
    return tuple((-rows, lines) for _, rows, lines in sorted(options))


def _held(target: Target) -> int:
    """Registers that a depthwise tile may plan with, beside what LLVM loads ahead: more for a core that it knows."""
    return target.core.vector_registers - (4 if by_lane(target) else 6)


def _lines(sizes: tuple[int, int], rows: int, kernel: int, stride: int) -> tuple[int, ...]:
    """Rows of output that a tile of so many columns may have: two where they share enough input rows, all where the
    tile is the whole image. Wide kernels with strides hold too much at a time."""
    whole = (sizes[0],) if rows == sizes[1] and sizes[0] > 2 else ()
    return (1, 2, *whole) if sizes[0] > 1 and (stride == 1 or kernel <= 3) else (1,)


def _under(outputs: int, kernel: int, stride: int) -> int:
    """Input positions under so many neighbouring outputs."""
    return (outputs - 1) * stride + kernel


def _depthwise_loads(columns: int, rows: int, lines: int, kernel: tuple[int, int], strides: tuple[int, int]) -> float:
    """Instructions beside multiply-adds and results that `lines` rows of output cost; weights are loaded in pairs."""
    tiles, rest = divmod(columns, rows)
    widths = [rows] * tiles + ([rest] if rest else [])
    return sum(
        _under(lines, kernel[0], strides[0]) * _under(width, kernel[1], strides[1])
        + kernel[0] * kernel[1] / 2
        + _PER_TILE
        for width in widths
    )
