"""Instructions of a convolution over integers of eight bits by Winograd's transforms in 16 bits
(kernels/integers/winograd).

Vector instructions, loads and stores follow from what the generators write; scalar instructions and branches from
constants of each level of loops, found with the emulator at 4 to 64 channels and 7 to 32 rows on Cortex-A72.
"""

from __future__ import annotations

from functools import lru_cache

from pfir.backends.tvm.counts.convolutions.transforms import Geometry
from pfir.backends.tvm.counts.convolutions.winograd import geometry
from pfir.backends.tvm.counts.integers.rounding import after_sums
from pfir.backends.tvm.counts.sums import Sum, along
from pfir.backends.tvm.schedule.integers.winograd import POINT_BYTES, POINTS, IntegerWinograd
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

_REGISTER = 16  # bytes
# Of one vector along one axis of the image: additions and shifts; multiply-adds.
_THERE = {4: (17.0, 1.0), 2: (4.0, 0.0)}
# Of four channels of a tile of the result: additions and shifts; and loads of points.
_BACK = {4: (157.0, 60.0), 2: (24.0, 16.0)}


def winograd_int8(target: Target, workload: Workload, tail: Tail, plan: IntegerWinograd) -> Instructions:
    """The instructions of a kernel."""
    at, found = geometry(workload, plan.outputs, plan.strip, POINTS), Sum()
    _there(found, at, workload.data[1])
    products = _products(found, at, workload.data[1], workload.out[1], plan)
    _back(found, at, workload.out[1], plan)
    after = Instructions()
    for block, blocks in _blocks(workload.out[1], plan.tile.block):
        for lanes, vectors in along(block, plan.lanes, FEWEST_LANES):
            after += after_sums(target, tail, lanes) * (vectors * blocks)
    results = at.batch * at.height * at.width
    return found.instructions(False) + products + after * results


def _there(found: Sum, at: Geometry, channels: int) -> None:
    vector, multiply = _THERE[at.outputs]
    rows = at.batch * at.down
    line = at.across * at.outputs + 2
    columns = min(line, at.left + at.columns) - max(0, at.left)
    below = at.down * at.outputs + 2 - at.top - at.rows
    read = at.side - (max(0, at.top) + max(0, below)) / at.down
    for lanes, vectors in along(columns * channels, POINTS, FEWEST_LANES):
        times = rows * vectors
        found.read(times, read, read * lanes)
        found.compute(times, 0, vector + multiply + at.side)
        found.write(times, at.side, at.side * lanes * POINT_BYTES)
        found.steer(times, 6, 2)
    depth = channels if channels >= POINTS else 1 << (channels - 1).bit_length()
    for lanes, vectors in along(depth, POINTS, FEWEST_LANES):
        times = rows * at.across * vectors
        found.read(times, at.side**2, at.side**2 * lanes * POINT_BYTES)
        found.write(times, at.side**2, at.side**2 * lanes * POINT_BYTES)
        found.compute(times, 0, at.side * (vector + multiply))
        found.steer(times, at.side + 5, 1)


def _blocks(channels: int, block: int) -> list[tuple[int, int]]:
    whole, rest = divmod(channels, block)
    return [(size, count) for size, count in ((block, whole), (rest, 1)) if size and count]


def _products(found: Sum, at: Geometry, inner: int, channels: int, plan: IntegerWinograd) -> Instructions:
    tiles = at.strip * at.across
    rows, strips, multiplied = min(plan.tile.rows, tiles), at.batch * at.down / at.strip, 0.0
    for block, blocks in _blocks(channels, plan.tile.block):
        vectors = -(-block // FEWEST_LANES)
        for some, groups in ((rows, tiles // rows), (tiles % rows, 1)):
            if some:
                multiplied += _group(found, at.side**2, inner, some, vectors, blocks * groups * strips)
    return Instructions(widening=multiplied)


def _group(found: Sum, points: int, inner: int, rows: int, vectors: int, times: float) -> float:
    held = rows * vectors
    weights = -(-vectors // 4) + (vectors % 4 in (2,)) * 0
    loads = inner * weights + rows * -(-inner // POINTS)
    found.read(times * points, loads, inner * vectors * 8 + rows * -(-inner // POINTS) * _REGISTER)
    found.write(times * points, held, held * _REGISTER)
    found.steer(times * points, inner / (2 if held <= 20 else 1) + 5, 1)
    return times * points * inner * held


def _back(found: Sum, at: Geometry, channels: int, plan: IntegerWinograd) -> None:
    vector, loads = _BACK[at.outputs]
    tiles = at.batch * at.down * at.across
    for block, blocks in _blocks(channels, plan.tile.block):
        for lanes, vectors in along(block, plan.lanes, FEWEST_LANES):
            fours = lanes // FEWEST_LANES * vectors * blocks * tiles
            found.compute(fours, 0, vector)
            found.read(fours, loads, loads * _REGISTER)
            found.steer(vectors * blocks * tiles, 8, 2)
