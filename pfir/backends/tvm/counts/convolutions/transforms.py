"""Instructions of Winograd's transforms: of the image to points (kernels/winograd/kernel.py), and of the points to
results (kernels/winograd/inverse.py)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from pfir.backends.tvm.counts.sums import PAIR_BYTES, Registers, Sum, along
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES

_KERNEL = 3
_REGISTER_BYTES = 16
# Of one vector along one axis of the image: multiply-adds, then additions and LLVM's copies of registers.
_THERE = {4: (6.0, 9.8), 2: (0.0, 4.0)}
# Additions of a vector of a tile of the result.
_BACK = {4: 70.0, 2: 24.0}
# Counted: scalar instructions and branches of a vector down columns; of one along a row, and what each address costs
# more that is no multiple of 16 bytes from the one before, in loads and in stores.
_DOWN, _DOWN_RAGGED, _DOWN_BRANCHES = 5.0, 10.0, 3.0
_ALONG, _LOADED = 5.0, 0.85
_NEAR_BYTES = 255  # reached by any offset
# Of a row of tiles, scalar and branches; where several vectors have such addresses, LLVM keeps some on the stack:
# loads, stores and scalar of a row of tiles. Then of a tile.
_A_ROW, _A_ROW_BRANCHES = 9.0, 2.0
_KEPT = (20.0, 8.0, 35.0)
_A_TILE = 6.0
_CLEARED = 3.0  # scalar of a line of zeros
# Scalar of one vector of results and pass: in a loop of three vectors and more, and of one or two written out, each
# where addresses are multiples of 16 bytes apart and where they are not; of the last vector, which overlaps. Then of a
# tile and pass.
_LOOPED, _LOOPED_RAGGED, _WRITTEN, _WRITTEN_RAGGED, _LAST = 5.0, 9.5, 2.0, 8.5, 24.0
_A_PASS, _A_PASS_LOOPED = 2.0, 10.0


class Geometry(NamedTuple):
    """The image and its tiles.

    Args:
        outputs: Rows and columns of a tile of the result.
        strip: Rows of tiles in a strip.
        batch, height, width: Of the result.
        rows, columns: Of the input.
        top, left: Pads.
        lanes: Of the transforms.
    """

    outputs: int
    strip: int
    batch: int
    height: int
    width: int
    rows: int
    columns: int
    top: int
    left: int
    lanes: int

    @property
    def side(self) -> int:
        return self.outputs + _KERNEL - 1

    @property
    def down(self) -> int:
        return -(-self.height // self.outputs)

    @property
    def across(self) -> int:
        return -(-self.width // self.outputs)


@lru_cache(maxsize=4096)
def there(registers: Registers, at: Geometry, channels: int) -> Sum:
    """Zeros beside the image, points down its columns, then along the rows of its tiles."""
    found, wide = Sum(), at.lanes * (2 if registers.by_lane and registers.held >= 32 else 1)
    depth = channels if channels >= wide else 1 << (channels - 1).bit_length()
    line = at.across * at.outputs + _KERNEL - 1
    begin, end = max(0, at.left), min(line, at.left + at.columns)
    _clear(found, registers, at, wide, begin * channels)
    _clear(found, registers, at, wide, (line - end) * channels + depth - channels)
    _down(found, registers, at, wide, channels, end - begin)
    _along(found, registers, at, wide, channels, depth)
    return found


def _clear(found: Sum, registers: Registers, at: Geometry, wide: int, values: int) -> None:
    """So many zeros in each line of a strip."""
    if values <= 0:
        return
    lines = at.batch * at.down // at.strip * at.side
    for lanes, vectors in along(values, wide, FEWEST_LANES):
        found.write(lines * vectors, _held(registers, lanes), lanes * registers.value_bytes)
    found.steer(lines, _CLEARED, 1)


def _down(found: Sum, registers: Registers, at: Geometry, wide: int, channels: int, columns: int) -> None:
    """Points down the columns under each row of tiles; what lies above or below the image is not read."""
    multiply, vector = _THERE[at.outputs]
    below = at.down * at.outputs + _KERNEL - 1 - at.top - at.rows
    read = at.side - (max(0, at.top) + max(0, below)) / at.down
    ragged, rows = _aligned(registers, channels) < 1, at.batch * at.down
    for lanes, vectors in along(columns * channels, wide, FEWEST_LANES):
        held, times, value_bytes = _held(registers, lanes), vectors * rows, lanes * registers.value_bytes
        pairs = registers.by_lane and held > 1
        found.compute(times, multiply * held, (vector + at.side - read) * held)
        # Two registers side by side come or go at once where their address is at hand.
        found.read(times, held * read - (1 - 1 / at.down if pairs else 0), read * value_bytes)
        found.write(times, held * at.side - (0 if not pairs else at.side - 1 if ragged else 1), at.side * value_bytes)
        found.steer(times, _DOWN_RAGGED if ragged and registers.by_lane else _DOWN, _DOWN_BRANCHES)
    found.steer(rows, _A_ROW, _A_ROW_BRANCHES)


def _along(found: Sum, registers: Registers, at: Geometry, wide: int, channels: int, depth: int) -> None:
    """Points along each line of each tile."""
    multiply, vector = _THERE[at.outputs]
    stored, points = _aligned(registers, depth), at.side**2
    rows = at.batch * at.down
    tiles, parts = rows * at.across, along(depth, wide, FEWEST_LANES)
    for lanes, vectors in parts:
        held, times, value_bytes = _held(registers, lanes), vectors * tiles, lanes * registers.value_bytes
        pairs = _pairs(registers, at, channels, depth, held)
        found.compute(times, multiply * at.side * held, vector * at.side * held)
        found.read(times, points * held - pairs[0], points * value_bytes)
        found.write(times, points * held - pairs[1], points * value_bytes)
        addresses = _addresses(registers, at, channels, depth) if registers.by_lane else 0
        found.steer(times, _ALONG + addresses + (at.side if registers.fenced else 0), 1)
    if registers.by_lane and stored < 1 and sum(vectors for _, vectors in parts) > 2:
        loads, stores, scalar = _KEPT
        found.read(rows, loads, 8 * loads)
        found.write(rows, stores, 8 * stores)
        found.steer(rows, scalar, 0)
    if sum(vectors for _, vectors in parts) > 1:
        found.steer(tiles, _A_TILE, min(1, len(parts) - 1))


def _addresses(registers: Registers, at: Geometry, channels: int, depth: int) -> float:
    """Scalar instructions of a vector of points for addresses that are no multiples of 16 bytes away, nor near."""
    loaded, stored = 1 - _aligned(registers, channels), 1 - _aligned(registers, depth)
    near_loaded = min(at.side, _NEAR_BYTES // (channels * registers.value_bytes) + 1)
    near_stored = min(at.side**2, _NEAR_BYTES // (depth * registers.value_bytes) + 1)
    return _LOADED * loaded * (at.side**2 - near_loaded) + stored * (at.side**2 - near_stored)


def _pairs(registers: Registers, at: Geometry, channels: int, depth: int, held: float) -> tuple[float, float]:
    """Loads and stores of two registers at once, of a vector of points along the lines of a tile: where the address is
    no multiple of 16 bytes away it is made for itself, else it has to be near."""
    points = at.side**2
    if not registers.by_lane:
        return 0.0, 0.0
    if held == 1:
        return 0.0, points / 2 if depth * registers.value_bytes == _REGISTER_BYTES else 0.0
    loaded, stored = _aligned(registers, channels), _aligned(registers, depth)
    pitch = channels * registers.value_bytes
    line = (at.across * at.outputs + _KERNEL - 1) * pitch
    near = sum(min(at.side, (PAIR_BYTES - y * line) // pitch + 1) for y in range(at.side) if y * line <= PAIR_BYTES)
    points_near = min(points, PAIR_BYTES // (depth * registers.value_bytes) + 1)
    return points * (1 - loaded) + near * loaded, points * (1 - stored) + points_near * stored


class After(NamedTuple):
    """What follows the sums of a vector of results.

    Args:
        bias: Whether there is one.
        vector: Instructions of the nodes behind it.
        reads: Tensors that those read.
    """

    bias: bool
    vector: float
    reads: int


@lru_cache(maxsize=8192)
def back(registers: Registers, at: Geometry, channels: int, block: int, after: After) -> Sum:
    """From points to results, of `channels` in blocks."""
    found, (whole, rest) = Sum(), divmod(channels, block)
    for some, blocks in ((block, whole), (rest, 1)):
        if some and blocks:
            _back_block(found, registers, at, some, blocks, after, _aligned(registers, channels) < 1)
    return found


def _back_block(
    found: Sum, registers: Registers, at: Geometry, channels: int, blocks: int, after: After, ragged: bool
) -> None:
    """So many blocks of channels, one vector of a tile after the other, in passes over some of its rows."""
    passes = 2 if registers.by_lane and at.outputs > 2 else 1
    loads = (at.side - (passes > 1)) * at.side * passes + passes * after.bias
    tiles, stored = at.batch * at.down * at.across * blocks, at.batch * at.height * at.width * blocks
    apart = ragged and registers.by_lane
    in_loop, written = (_LOOPED_RAGGED, _WRITTEN_RAGGED) if apart else (_LOOPED, _WRITTEN)
    tests = _tests(at)
    for n, (lanes, vectors) in enumerate(along(channels, at.lanes, FEWEST_LANES)):
        share, value_bytes = registers.share(lanes), lanes * registers.value_bytes
        found.compute(tiles * vectors, _back_multiplies(at) * share, (_BACK[at.outputs] + passes * after.bias) * share)
        found.compute(stored * vectors, 0, after.vector * share)
        found.read(tiles * vectors, loads * share, loads * value_bytes)
        found.read(stored * vectors, after.reads * share, after.reads * value_bytes)
        found.write(stored * vectors, share, value_bytes)
        looped = vectors > 2
        scalar = _LAST if n else in_loop if looped else written
        found.steer(tiles * vectors * passes, scalar, float(looped))
        found.steer(tiles * vectors * tests, 0.5, 1)
    looped = channels > 2 * at.lanes
    found.steer(tiles * passes, _A_PASS_LOOPED if looped else _A_PASS, 1)


def _back_multiplies(at: Geometry) -> float:
    """Multiply-adds of a vector of a tile, on average: LLVM computes a row or column only where it is stored."""
    if at.outputs == 2:
        return 0.0
    (rows, weighted_rows, _), (_, weighted_columns, last) = (
        _executed(size, at.outputs) for size in (at.height, at.width)
    )
    return rows * weighted_columns + weighted_rows * (at.outputs + 1 + last)


def _executed(size: int, outputs: int) -> tuple[float, float, float]:
    """Of the positions of a tile along an axis those that are computed, on average: all, all but the first, the last
    one."""
    tiles = -(-size // outputs)
    missing = tiles * outputs - size
    return size / tiles, size / tiles - 1, 1 - (missing > 0) / tiles


def _tests(at: Geometry) -> float:
    """Tests whether a position lies in the image, of a vector of a tile."""
    rows, columns = (-size % at.outputs for size in (at.height, at.width))
    return rows + at.height / at.down * columns


def _held(registers: Registers, lanes: int) -> float:
    """Registers of so many lanes, or what an instruction of fewer takes."""
    return max(1, lanes // registers.lanes) * registers.share(min(lanes, registers.lanes))


def _aligned(registers: Registers, channels: int) -> float:
    """The share of addresses, a number of channels apart, that lie a multiple of 16 bytes from the first."""
    step = _REGISTER_BYTES // registers.value_bytes
    return min(channels & -channels, step) / step
