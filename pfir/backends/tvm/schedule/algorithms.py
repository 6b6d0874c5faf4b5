"""Which algorithm computes a 3x3 convolution: directly, or by Winograd's transforms over tiles of 2x2 or 4x4."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from pfir.backends.tvm.schedule.direct import NHWC, covers, direct_cost
from pfir.backends.tvm.schedule.remainders import strip_remainder
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, NarrowingTile, ProductTile
from pfir.backends.tvm.schedule.tiles import by_lane, matrix_tile, matrix_tiles, shared, strip_tile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.devices.estimation.winograd import SCHEDULES, schedules_for
from pfir.target import FLOAT32, Target
from pfir.workload import Workload

OUTPUTS = tuple(schedule.outputs for schedule in SCHEDULES)
# Vector instructions a multiply-add of the inner loops: on Arm two in five are loads, x86 takes operands from memory.
_PER_MULTIPLY = {"arm": 1.3, "x86": 1.1}
# Beside them on Arm, for some tiles at one point of one block.
_A_POINT = 40
# Vectors of channels that blocks of two take more instructions for, or too many registers.
_NOT_BY_TWO = (1, 2, 3, 5, 7)
_STRIP_SHARE = 4
_TILES = 3


def winograd_or_direct(target: Target, channels: int, out: tuple[int, ...]) -> Winograd | None:
    """What takes the least time for a 3x3 convolution of stride 1, from `channels` to a result `out` `[N, O, H, W]`;
    None is the direct one.

    Time is vector instructions at the rate of the core's multiply-adds, and what the weights exceed its second-level
    cache by at its bandwidth. On x86 (AVX-512) tiles of 4x4 were the fastest of the three in eleven of twelve
    measured shapes, 4 to 64 channels and 7 to 32 rows; 5 to 6 channels over 9 rows are 8 % faster directly, and
    tiled all the same. On Arm the instructions of ResNet-20, counted in the emulator, fell from 15.1 to 6.1 million.
    """
    found = min((None, *outputs_for(target)), key=lambda outputs: _seconds(target, channels, out, outputs))
    return None if found is None else plan(target, channels, out, found)


def outputs_for(target: Target) -> tuple[int, ...]:
    """The sizes of `OUTPUTS` that the target's arithmetic is exact enough for."""
    exact = {schedule.outputs for schedule in schedules_for(target)}
    return tuple(outputs for outputs in OUTPUTS if outputs in exact)


def plan(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> Winograd:
    """The convolution over tiles of `outputs` rows and columns: strips that leave room in the second-level cache, and
    enough of them for every thread."""
    across = -(-out[3] // outputs)
    strip = max(_shared_strips(target, channels, out, outputs, target.core.l2_bytes // _STRIP_SHARE) or [1])
    return Winograd(outputs, strip, target.lanes, _product_tile(target, strip * across, out[1], channels))


def _product_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> MatrixTile | NarrowingTile:
    """The register tile over `rows` tiles of an image: on Arm of two vectors and more rows where that takes fewer
    instructions (none of them spills, found by disassembly), on x86 one that treats the last channels apart."""
    tile, vectors = strip_tile(target, rows, channels_out, channels_in), -(-channels_out // target.lanes)
    if narrowing := strip_remainder(target, rows, channels_out, tile.unroll):
        return narrowing
    many = by_lane(target) and target.core.vector_registers >= 32 and target.arithmetic == FLOAT32
    if not many or vectors in _NOT_BY_TWO:
        return tile
    tall = shared(replace(tile, vectors=2, rows=8), rows)
    return min(tall, tile, key=lambda tile: _product_cost(tile, rows, vectors))


def _product_cost(tile: MatrixTile, rows: int, vectors: int) -> float:
    """Instructions for an input channel of all rows and vectors: multiply-adds, loads of weights by pairs and of values
    by fours, and a quarter of a loop."""
    return sum(
        wide * tall + wide / 2 + tall / 4 + 1
        for wide in _portions(vectors, tile.vectors)
        for tall in _portions(rows, tile.rows)
    )


def _portions(whole: int, most: int) -> list[int]:
    """The sizes of portions, each of at most `most`, the last of what is left."""
    return [min(most, whole - begun) for begun in range(0, whole, most)]


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
    return instructions / rate + max(0, weights - core.l2_bytes) / core.bandwidth


def _direct(target: Target, channels: int, out: tuple[int, ...]) -> float:
    batch, channels_out, height, width = out
    workload = Workload(
        "conv", (batch, channels, height, width), out, NHWC, (3, 3), pads=(1, 1), dtype=target.arithmetic.data
    )
    if by_lane(target) and covers(target, workload):
        return direct_cost(target, workload)
    tile = matrix_tile(target, width, channels_out, channels)
    columns = -(-width // tile.rows) * tile.rows
    return batch * height * columns * _multiply_adds(target, tile, channels_out) * 9 * channels


def _tiled(target: Target, channels: int, out: tuple[int, ...], outputs: int) -> float:
    made = plan(target, channels, out, outputs)
    tiles = out[0] * prod(-(-size // outputs) for size in out[2:])
    points = (outputs + 2) ** 2
    products = points * channels * _multiply_adds(target, made.tile, out[1])
    groups = tiles / made.tile.rows * -(-out[1] // made.tile.block) if by_lane(target) else 0
    there, back = (_vectors(target, size) for size in (channels, out[1]))
    schedule = next(schedule for schedule in schedules_for(target) if schedule.outputs == outputs)
    return tiles * (products + there * schedule.there + back * schedule.back) + groups * points * _A_POINT


def _multiply_adds(target: Target, tile: ProductTile, channels_out: int) -> float:
    """Vector instructions for each row and input channel, in units of whole vectors; two rows share one vector where
    the tile is a narrowing one."""
    vectors = -(-channels_out // tile.block) * tile.vectors - isinstance(tile, NarrowingTile) / 2
    return vectors * _share(target, tile.lanes) * _PER_MULTIPLY["x86" if target.triple.startswith("x86") else "arm"]


def _vectors(target: Target, channels: int) -> float:
    """Whole vectors that a transform's lanes amount to."""
    lanes = min(target.lanes, 1 << (channels - 1).bit_length())
    return -(-channels // lanes) * _share(target, lanes)


def _share(target: Target, lanes: int) -> float:
    """What an instruction of fewer lanes takes of a whole one's time: no less than half."""
    return max(lanes / target.lanes, 0.5)
