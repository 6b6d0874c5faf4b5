"""Instructions of a convolution over integers of eight bits by Winograd's transforms in 16 bits
(kernels/integers/winograd).

Vector instructions, loads and stores are those of LLVM's assembly; scalar instructions and branches follow from
constants of each level of loops, found with the emulator at 4 to 64 channels and 7 to 32 rows.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pfir.backends.tvm.counts.convolutions.transforms import Geometry
from pfir.backends.tvm.counts.convolutions.winograd import geometry
from pfir.backends.tvm.counts.integers.rounding import converted
from pfir.backends.tvm.counts.sums import Sum, along
from pfir.backends.tvm.kernels.integers.winograd.products import mixed
from pfir.backends.tvm.schedule.integers.winograd import POINT_BYTES, POINTS, IntegerWinograd
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

_REGISTER_BYTES = 16
# Of a call more than one of a kernel with a single input takes: loads, stores, scalar instructions, branches.
_CALL = (150.0, 40.0, 300.0, 150.0)
# Multiplications up to which LLVM writes out the loop over input channels behind the first round.
_WRITTEN_OUT = 230
_FAR_SIDE = 6  # points along an axis from which on two registers are stored one by one, unless there is a loop
# Scalar instructions and branches of a vector down columns, and of one along the rows of a tile; of a vector of results
# and each pass over some of its rows; of a row of tiles. Those of a point, of a loop at one, and of its rounds.
_DOWN, _ALONG, _BACK, _ROW = (8, 4), (7, 1), (8, 1), (9, 2)
_POINT, _LOOP, _ROUND = 7, 3, 5
# Scalar instructions for an address that is no multiple of 16 bytes from the one before, nor within so many bytes.
_APART, _NEAR_BYTES = 0.9, 255
# Of a tile whose channels are but a part of a vector: loads, vector and scalar instructions at each point, since LLVM
# takes the last value apart.
_PART = 2.5, 2.4, 3.5
# Loads and stores of eight channels of a tile of 4x4 where some lie outside the image: LLVM keeps sums on the stack.
_KEPT = 25, 22


class _Transforms(NamedTuple):
    """Of tiles of so many rows: additions and shifts of a vector down a column of the image, and along a row of points,
    and multiply-adds of either; additions, shifts and multiplications of four channels of a tile of the result, down
    its columns and along its rows; loads of their points, and passes over its rows."""

    down: float
    along: float
    multiply: float
    back_down: float
    back_along: float
    loads: float
    passes: int


_TRANSFORMS = {4: _Transforms(23, 19, 1, 84, 76.5, 62, 2), 2: _Transforms(5, 4, 0, 17, 8, 17, 1)}


def winograd_int8(target: Target, workload: Workload, tail: Tail, plan: IntegerWinograd) -> Instructions:
    """The instructions of a kernel."""
    at, found, inner = geometry(workload, plan.outputs, plan.strip, POINTS), Sum(), workload.data[1]
    multiply, after = _there(found, at, inner), Instructions()
    for channels, count in _blocks(workload.out[1], plan.tile.block):
        multiply += _products(found, at, inner, channels, count, plan)
        after += _back(found, target, at, channels, count, plan, tail)
    found.call(*_CALL)
    return found.instructions(False) + Instructions(widening=multiply) + after


def _blocks(channels: int, block: int) -> list[tuple[int, int]]:
    """The channels of a block, and how many such blocks there are."""
    whole, rest = divmod(channels, block)
    return [(size, count) for size, count in ((block, whole), (rest, 1)) if size and count]


def _there(found: Sum, at: Geometry, channels: int) -> float:
    """Points down the columns under each row of tiles, of what lies in the image, then along each line of each tile.
    Gives the multiply-adds."""
    made, rows, line = _TRANSFORMS[at.outputs], at.batch * at.down, at.across * at.outputs + 2
    columns = min(line, at.left + at.columns) - max(0, at.left)
    below = at.down * at.outputs + 2 - at.top - at.rows
    read = at.side - (max(0, at.top) + max(0, below)) / at.down
    depth, points, times = _depth(channels), at.side**2, 0.0
    for lanes, vectors in along(columns * channels, POINTS, FEWEST_LANES):
        _move(found, rows * vectors, (read + 1, lanes), (at.side, lanes * POINT_BYTES), made.down + read - at.side + 2)
        found.steer(rows * vectors, *_DOWN)
        times += rows * vectors
    for lanes, vectors in along(depth, POINTS, FEWEST_LANES):
        tiles, size = rows * at.across * vectors, lanes * POINT_BYTES
        _move(found, tiles, (points, size), (points, size), at.side * made.along)
        found.steer(tiles, at.side + _ALONG[0] + _addresses(at, channels, depth), _ALONG[1])
        times += tiles * at.side
    found.steer(rows, *_ROW)
    return times * made.multiply


def _move(found: Sum, times: float, read: tuple[float, int], written: tuple[float, int], vector: float) -> None:
    """Add vectors that are read, computed and written, so often: how many, and the bytes of each."""
    found.read(times, read[0], read[0] * read[1])
    found.write(times, written[0], written[0] * written[1])
    found.compute(times, 0, vector)


def _depth(channels: int) -> int:
    """Channels of a transformed tile."""
    return channels if channels >= POINTS else 1 << (channels - 1).bit_length()


def _addresses(at: Geometry, channels: int, depth: int) -> float:
    """Scalar instructions of a vector of points for addresses that no offset reaches."""
    near_loaded, near_stored = (_NEAR_BYTES // (POINT_BYTES * size) + 1 for size in (channels, depth))
    loaded, stored = at.side**2 - min(at.side, near_loaded), max(0, at.side**2 - near_stored)
    return _APART * (_apart(channels, depth) * loaded + _apart(depth, depth) * stored)


def _apart(channels: int, depth: int) -> float:
    """The share of addresses, so many channels apart, that are no multiples of a vector."""
    together = min(depth, POINTS)
    return 1 - min(channels & -channels, together) / together


def _products(found: Sum, at: Geometry, inner: int, channels: int, count: int, plan: IntegerWinograd) -> float:
    """The products at all points by so many blocks of channels. Gives the multiplications."""
    tiles, vectors = at.strip * at.across, -(-channels // FEWEST_LANES)
    rows, strips, multiply = min(plan.tile.rows, tiles), at.batch * at.down / at.strip, 0.0
    for some, groups in ((rows, tiles // rows), (tiles % rows, 1)):
        if some:
            group, times = _group(at.side, inner, some, vectors), count * groups * strips * at.side**2
            found.add(group, times)
            multiply += times * inner * some * vectors
    return multiply


@lru_cache(maxsize=1 << 14)
def _group(side: int, inner: int, rows: int, vectors: int) -> Sum:
    """What is beside the multiplications of so many tiles by so many vectors of channels, at one point."""
    found, held, rounds = Sum(), rows * vectors, -(-inner // POINTS)
    looped = inner // POINTS > 2 and held * POINTS * (inner // POINTS - 1) > _WRITTEN_OUT
    size = POINT_BYTES * FEWEST_LANES * vectors
    found.read(1, inner * _weights(vectors) + rows * rounds, inner * size + rows * rounds * _REGISTER_BYTES)
    found.write(1, held / 2 if looped or side < _FAR_SIDE else held, held * _REGISTER_BYTES)
    apart = (rows - 1) * rounds * _apart(_depth(inner), _depth(inner))
    if inner < _depth(inner):
        loads, vector, scalar = _PART
        found.read(rows, loads, loads * POINT_BYTES)
        found.compute(rows, 0, vector)
        found.steer(rows, scalar, 0)
    steps = _LOOP + _ROUND * (rounds - 1) if looped else 0
    found.steer(1, inner / mixed(held) + _POINT + steps + apart, 1 + looped * (rounds - 1))
    return found


def _weights(vectors: int) -> float:
    """Loads of an input channel's weights, two registers at once where they lie side by side; those of one register for
    two channels."""
    whole, half = divmod(vectors, 2)
    return 0.5 if vectors <= 2 else (whole + 1) // 2 + half


def _back(
    found: Sum, target: Target, at: Geometry, channels: int, count: int, plan: IntegerWinograd, tail: Tail
) -> Instructions:
    """The results of so many blocks of channels. Gives what follows the sums."""
    made, tiles, after = _TRANSFORMS[at.outputs], at.batch * at.down * at.across * count, Instructions()
    high, wide = at.height / (at.down * at.outputs), at.width / (at.across * at.outputs)
    ragged = high * wide < 1 and made.passes > 1
    for lanes, vectors in along(channels, plan.lanes, FEWEST_LANES):
        fours = lanes // FEWEST_LANES * vectors * tiles
        found.compute(fours, 0, high * (made.back_down + wide * made.back_along))
        found.read(fours, made.loads, made.loads * _REGISTER_BYTES)
        if ragged:
            found.read(fours / 2, _KEPT[0], _KEPT[0] * _REGISTER_BYTES)
            found.write(fours / 2, _KEPT[1], _KEPT[1] * _REGISTER_BYTES)
        found.steer(vectors * tiles * made.passes, *_BACK)
        after += converted(target, tail, lanes) * vectors
    return after * (at.batch * at.height * at.width * count)
