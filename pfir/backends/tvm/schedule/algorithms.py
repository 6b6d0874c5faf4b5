"""Which algorithm computes a 3x3 convolution: directly, or by Winograd's transforms over tiles of 2x2 or 4x4."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod

from pfir.backends.tvm.counts.convolutions.conv import conv
from pfir.backends.tvm.counts.convolutions.transforms import After, Geometry, back, there
from pfir.backends.tvm.counts.convolutions.winograd import tiled_products
from pfir.backends.tvm.counts.sums import Registers, is_half, registers_of
from pfir.backends.tvm.schedule.blocks import NHWC
from pfir.backends.tvm.schedule.direct import covers, direct_cycles
from pfir.backends.tvm.schedule.remainders import strip_remainder
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, NarrowingTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane, matrix_tile, matrix_tiles, shared, strip_tile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.target import Target
from pfir.workload import Tail, Workload

OUTPUTS = (4, 2)
"""Rows and columns of a tile of the result."""
# On x86, by these rows and columns: what it takes to transform one vector of channels of a tile, and to transform its
# result back, in multiply-adds. Cycles on Zen 4, by leaving the transforms out; 2x2 in proportion to its sums.
_TRANSFORMS = {4: (180.0, 150.0), 2: (60.0, 45.0)}
_PER_MULTIPLY = 1.1  # vector instructions a multiply-add of the inner loops there
# The most rows of a register tile of so many vectors, of 32 registers and of 16; of float16 values.
_ROWS = ((1, 12), (2, 8), (3, 5), (4, 4))
_ROWS_OF_FEW = ((1, 6), (2, 4), (3, 2))
_HALF_ROWS = 8
# Multiply-adds of smaller tiles, as multiples of those of larger ones, from which on they are not looked at.
_WASTE = 1.3
# Bytes a second at which the choice on x86 takes weights to come that the second-level cache does not hold.
_FETCHED = 8e9
_BIAS = After(True, 0, 0)
_STRIP_SHARE = 4
_TILES = 3


def winograd_or_direct(target: Target, channels: int, out: tuple[int, ...]) -> Winograd | None:
    """What takes the least time for a 3x3 convolution of stride 1, from `channels` to a result `out` `[N, O, H, W]`;
    None is the direct one.

    Time is that of instructions, and of fetching what the weights exceed the second-level cache by. On x86
    (AVX-512) tiles of 4x4 were the fastest of the three in eleven of twelve measured shapes, 4 to 64 channels and 7 to
    32 rows; 5 to 6 channels over 9 rows are 8 % faster directly, and tiled all the same. On Arm instructions are
    counted, and cost what the core says.
    """
    if by_lane(target):
        return _cheapest(target, channels, out)
    found = min((None, *outputs_for(target)), key=lambda outputs: _seconds(target, channels, out, outputs))
    return None if found is None else plan(target, channels, out, found)


def outputs_for(target: Target) -> tuple[int, ...]:
    """The sizes of `OUTPUTS` that the target's arithmetic is exact enough for: in float16 the transforms of 4x4 tiles,
    whose weights reach from 1/24 to 8, would cost about ten times the error of a direct convolution."""
    return OUTPUTS[1:] if is_half(target) else OUTPUTS


def _cheapest(target: Target, channels: int, out: tuple[int, ...]) -> Winograd | None:
    """The algorithm that takes the fewest cycles."""
    found, weights = None, target.value_bytes * channels * out[1]
    least = _direct_cycles(target, channels, out) + beyond_cache(target, 9 * weights)
    for outputs in outputs_for(target):
        if outputs < OUTPUTS[0] and found and not _may_gain(target, channels, out):
            continue
        made, cycles = _tiled_plan(target, channels, out, outputs)
        cycles += beyond_cache(target, (outputs + 2) ** 2 * weights)
        if cycles < least:
            found, least = made, cycles
    return found


def _may_gain(target: Target, channels: int, out: tuple[int, ...]) -> bool:
    """Whether the smaller tiles may be cheaper than the larger ones: these would lie outside the image in part, or
    their weights outside the second-level cache."""
    larger, smaller = ((outputs + 2) ** 2 * prod(-(-size // outputs) for size in out[2:]) for outputs in OUTPUTS)
    weights = target.value_bytes * (OUTPUTS[0] + 2) ** 2 * channels * out[1]
    return smaller < _WASTE * larger or beyond_cache(target, weights) > 0


def _direct_cycles(target: Target, channels: int, out: tuple[int, ...]) -> float:
    """Of a convolution that is not tiled: a direct one, or where that is none a scheduled one."""
    data = (out[0], channels, *out[2:])
    workload = Workload("conv", data, out, NHWC, (3, 3), pads=(1, 1), dtype=target.arithmetic.data)
    if covers(target, workload):
        return direct_cycles(target, workload)
    tile = matrix_tile(target, out[3], out[1], channels)
    return target.core.costs.cycles(conv(target, workload, Tail(bias=True), tile))


def beyond_cache(target: Target, weights: int) -> float:
    """Cycles to fetch those of so many bytes of weights that the second-level cache does not hold."""
    beyond = weights - target.core.l2_bytes
    return beyond / target.core.bandwidth * target.core.clock_hz if beyond > 0 else 0.0


def plan(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> Winograd:
    """The convolution over tiles of `outputs` rows and columns: strips that leave room in the second-level cache, and
    enough of them for every thread."""
    if by_lane(target):
        return _tiled_plan(target, channels, out, outputs)[0]
    strip = _strip(target, channels, out, outputs)
    across = -(-out[3] // outputs)
    return Winograd(outputs, strip, target.lanes, _product_tile(target, strip * across, out[1], channels))


def _strip(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> int:
    """Rows of tiles in a strip."""
    row_bytes = target.value_bytes * -(-out[3] // outputs) * (outputs + 2) ** 2 * channels
    return largest_strip(
        out[0], -(-out[2] // outputs), target.threads, target.core.l2_bytes // _STRIP_SHARE // row_bytes
    )


@lru_cache(maxsize=4096)
def largest_strip(batch: int, down: int, threads: int, most: int) -> int:
    """The most rows of tiles, no more than `most`, that divide all of them and leave enough strips for every thread."""
    return max((n for n in range(1, min(most, down) + 1) if down % n == 0 and batch * down // n >= threads), default=1)


def _product_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> MatrixTile | NarrowingTile:
    """The register tile over `rows` tiles of an image on x86, where one may treat the last channels apart."""
    tile = strip_tile(target, rows, channels_out, channels_in)
    return strip_remainder(target, rows, channels_out, tile.unroll) or tile


def _tiled_plan(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> tuple[Winograd, float]:
    """The plan of the fewest cycles among the register tiles that stay in registers, and its cycles (Arm)."""
    strip, costs, half = _strip(target, channels, out, outputs), target.core.costs, is_half(target)
    registers, (batch, _, height, width) = registers_of(target), out
    at = Geometry(outputs, strip, batch, height, width, height, width, 1, 1, target.lanes)
    options = [
        (
            tiled_products(registers, at, channels, out[1], tile).cycles(costs, half)
            + back(registers, at, out[1], tile.block, _BIAS).cycles(costs, half),
            number,
            tile,
        )
        for number, tile in enumerate(_register_tiles(registers, at.strip * at.across, channels, target.threads))
        if tile.block - tile.lanes < out[1]
    ]
    cycles, _, tile = min(options)
    return Winograd(outputs, strip, target.lanes, tile), cycles + there(registers, at, channels).cycles(costs, half)


@lru_cache(maxsize=1024)
def _register_tiles(registers: Registers, rows: int, channels_in: int, threads: int) -> tuple[MatrixTile, ...]:
    """The tiles of products over `rows` tiles of an image that stay in registers, rows shared evenly among rounds, with
    steps of a whole vector, which is loaded at once (found by disassembly: none of them spills)."""
    steps = registers.lanes if channels_in >= 2 * registers.lanes else 4
    most = _ROWS if registers.held >= 32 else _ROWS_OF_FEW
    tallest = _HALF_ROWS if registers.value_bytes == 2 else rows
    return tuple(
        shared(MatrixTile(lanes, vectors, min(rows, tall, tallest), min(steps, channels_in), threads), rows)
        for lanes in dict.fromkeys((registers.lanes, FEWEST_LANES))
        for vectors, tall in most
    )


def plans(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> list[Winograd]:
    """The plan, then those with other register tiles and with other strips that the second-level cache holds."""
    found, across = [plan(target, channels, out, outputs)], -(-out[3] // outputs)
    strips = sorted({1, *_shared_strips(target, channels, out, outputs, target.core.l2_bytes)})
    for strip in sorted(strips, key=lambda n: abs(n - found[0].strip)):
        tiles = matrix_tiles(target, strip * across, out[1], channels)[:_TILES]
        found += [replace(found[0], strip=strip, tile=shared(tile, strip * across)) for tile in tiles]
    return list(dict.fromkeys(found))


def habits(target: Target) -> dict[str, bool | int]:
    """What the code of a kernel over tiles is written for.

    `by_lane`: the core multiplies by a lane of a register, and loads or stores two registers side by side at once;
    `abreast`: vectors of channels that the input's transform takes at a time; `fenced`: LLVM may not mix the
    rounds of a loop that it unrolls.
    """
    arm = by_lane(target)
    abreast = 2 if arm and target.core.vector_registers >= 32 else 1
    return {"by_lane": arm, "abreast": abreast, "fenced": target.arm64}


def _shared_strips(target: Target, channels: int, out: tuple[int, ...], outputs: int, room: int) -> list[int]:
    """Rows of tiles that divide all of them, whose transforms take at most `room` bytes, enough for every thread."""
    down, across = (-(-size // outputs) for size in out[2:])
    row_bytes = target.value_bytes * across * (outputs + 2) ** 2 * channels
    fitting = [n for n in range(1, down + 1) if down % n == 0 and n * row_bytes <= room]
    return [n for n in fitting if out[0] * down // n >= target.threads]


def _seconds(target: Target, channels: int, out: tuple[int, ...], outputs: int | None) -> float:
    core = target.core
    side = 3 if outputs is None else outputs + 2
    weights = target.value_bytes * side * side * channels * out[1]
    instructions = _direct(target, channels, out) if outputs is None else _tiled(target, channels, out, outputs)
    rate = target.macs_per_cycle / target.lanes * core.clock_hz
    return instructions / rate + max(0, weights - core.l2_bytes) / _FETCHED


def _direct(target: Target, channels: int, out: tuple[int, ...]) -> float:
    batch, channels_out, height, width = out
    tile = matrix_tile(target, width, channels_out, channels)
    columns = -(-width // tile.rows) * tile.rows
    return batch * height * columns * _multiply_adds(target, tile, channels_out) * 9 * channels


def _tiled(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> float:
    made = plan(target, channels, out, outputs)
    tiles = out[0] * prod(-(-size // outputs) for size in out[2:])
    points = (outputs + 2) ** 2
    products = points * channels * _multiply_adds(target, made.tile, out[1])
    transforms = (_vectors(target, n) * cost for n, cost in zip((channels, out[1]), _TRANSFORMS[outputs], strict=True))
    return tiles * (products + sum(transforms))


def _multiply_adds(target: Target, tile: ProductTile, channels_out: int) -> float:
    """Vector instructions for each row and input channel, in units of whole vectors; two rows share one vector where
    the tile is a narrowing one."""
    vectors = -(-channels_out // tile.block) * tile.vectors - isinstance(tile, NarrowingTile) / 2
    return vectors * _share(target, tile.lanes) * _PER_MULTIPLY


def _vectors(target: Target, channels: int) -> float:
    """Whole vectors that a transform's lanes amount to."""
    lanes = min(target.lanes, 1 << (channels - 1).bit_length())
    return -(-channels // lanes) * _share(target, lanes)


def _share(target: Target, lanes: int) -> float:
    """What an instruction of fewer lanes takes of a whole one's time: no less than half."""
    return max(lanes / target.lanes, 0.5)
