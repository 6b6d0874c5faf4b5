"""Instructions of Winograd's middle part: at each point a product of tiles by input channels with input by output
channels (kernels/winograd/products.py)."""

from __future__ import annotations

from functools import lru_cache

from pfir.backends.tvm.counts.loops import copies_of
from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.sums import FAR_BYTES, Registers, Sum, narrowed
from pfir.backends.tvm.schedule.tile_kinds import NarrowingTile, ProductTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES

# Multiply-adds up to which LLVM writes out the loop over the input channels behind the first round.
_WRITTEN_OUT = 230
# Multiply-adds of a tile up to which there are barriers between rounds (kernels/written.py).
_FENCED = 400
# Counted, scalar: of a point whose loop is written out; of one with a loop, and of a round of that; more of a round
# where rows lie so far apart that offsets do not reach all of them; of a group of tiles.
_WRITTEN, _LOOPED, _A_ROUND, _FAR, _A_GROUP = 5.0, 12.0, 4.0, 2.4, 10.0
# Values that LLVM loads again around a loop beside so many accumulators, without and with steps behind it.
_FAR_SIDE = 6  # points along an axis from which on two registers are stored one by one, unless there is a loop
_FULL, _AGAIN, _AGAIN_BEHIND = 16, 1.0, 5.0


@lru_cache(maxsize=16384)
def points(
    registers: Registers,
    side: int,
    channels_in: int,
    channels_out: int,
    groups: tuple[tuple[int, float], ...],
    tile: ProductTile,
) -> Sum:
    """The products at all points.

    Args:
        side: Points along an axis.
        groups: Tiles of the image that are multiplied together, and how often.
    """
    found, (whole, rest) = Sum(), divmod(channels_out, tile.block)
    if tile.lanes == FEWEST_LANES:  # all vectors are whole
        rest = -(-rest // FEWEST_LANES) * FEWEST_LANES
    for channels, blocks in ((tile.block, whole), (rest, 1)):
        for rows, times in groups:
            if channels and blocks and rows:
                found.add(group(registers, side, channels_in, channels, rows, tile), blocks * times)
    return found


@lru_cache(maxsize=16384)
def group(registers: Registers, side: int, inner: int, channels: int, rows: int, tile: ProductTile) -> Sum:
    """The products at all points of `rows` tiles by one block of `channels` output channels.

    Args:
        inner: Input channels.
    """
    found, times = Sum(), side * side
    widths, sums = _sums(tile.lanes, channels, rows, isinstance(tile, NarrowingTile) and rows % 2 == 0)
    held = sum(count * registers.share(width) for width, count in sums)
    rounds, looped, scalar = _steering(registers, side, inner, rows, held, tile.unroll)
    if looped and registers.ahead:
        rounds, scalar = _written_out(rounds, scalar, tile.unroll * (held + len(widths) + rows) + rows)
    multiply = held if registers.by_lane else step(registers.rate, held, rows + len(widths))
    found.compute(times, multiply * (inner - registers.by_lane), held)
    found.compute(times, 0, _moved(registers, sums, tile.unroll) * inner)
    if registers.by_lane:
        spilled = _spilled(held, inner % tile.unroll) if looped else 0
        loads = _values(inner, rows, tile.unroll, looped) + spilled + inner * _weights(widths, tile.vectors)
        found.read(times, loads, (inner * rows + spilled * tile.lanes + sum(widths) * inner) * registers.value_bytes)
    near = looped or side < _FAR_SIDE or (registers.ahead and inner * held > _WRITTEN_OUT)
    pairs = registers.by_lane and near and len(set(widths)) == 1
    found.write(times, len(widths) * rows / (2 if pairs else 1), sum(widths) * rows * registers.value_bytes)
    found.steer(times, scalar, 1 + rounds)
    found.steer(1, _A_GROUP, 1)
    return found


def _sums(lanes: int, channels: int, rows: int, shared: bool) -> tuple[list[int], list[tuple[int, int]]]:
    """The widths of the vectors of a row of sums, and of the registers that hold all sums, with their numbers."""
    if shared:
        last = (channels - 1) // FEWEST_LANES * FEWEST_LANES
        widths, sums = _sums(lanes, last, rows, False) if last else ([], [])
        return [*widths, FEWEST_LANES], [*sums, (2 * FEWEST_LANES, rows // 2)]
    widths = [narrowed(lanes, channels - at, FEWEST_LANES) for at in range(0, channels, lanes)]
    return widths, [(width, rows) for width in widths]


def _steering(
    registers: Registers, side: int, inner: int, rows: int, held: float, unroll: int
) -> tuple[int, bool, float]:
    """Rounds of a loop behind the first, whether there is one, and scalar instructions of a point."""
    rounds, rest = max(0, inner // unroll - 1), inner % unroll > 0
    looped = held * unroll * rounds > _WRITTEN_OUT
    short = registers.fenced and inner * held <= _FENCED
    if not looped:
        return 0, False, _WRITTEN + (rounds if short else 0) + (rest and registers.fenced)
    far = _FAR if side * side * inner * registers.value_bytes * rows > FAR_BYTES else 0
    return rounds, True, _LOOPED + (rest and registers.fenced) + (_A_ROUND + far) * rounds


def _written_out(rounds: int, scalar: float, size: float) -> tuple[int, float]:
    """Branches of the rounds of a loop of so many instructions, and scalar instructions of a point, where LLVM writes
    several rounds out for the core: as many as divide all, else two or four with an exit between them."""
    copies = copies_of(rounds, size)
    turns, rest = divmod(rounds, copies)
    branches = 2 * turns + 1 if rest else turns
    return branches, scalar - _A_ROUND * (rounds - turns - (rest > 0))


def _weights(widths: list[int], vectors: int) -> float:
    """Loads of weights for an input channel on Arm: by pairs, also of two channels where their weights lie together; a
    narrower vector comes alone."""
    whole = widths.count(widths[0])
    if whole < len(widths):
        return -(-whole // 2) + len(widths) - whole
    return whole / 2 if whole == vectors else -(-whole // 2)


def _moved(registers: Registers, sums: list[tuple[int, int]], unroll: int) -> int:
    """Copies of lanes for an input channel: of values that are loaded by more than a narrower vector's lanes."""
    return sum(count for width, count in sums[1:] if width < unroll) if registers.by_lane else 0


def _values(inner: int, rows: int, unroll: int, looped: bool) -> float:
    """Loads of values, together where a round has a power of two of them."""
    rounds, rest = divmod(inner, unroll)

    def loads(count: int) -> int:
        return rows if count & (count - 1) == 0 and inner >= 2 * count else rows * count

    behind = 0 if not rest else rows * rest if looped else loads(rest)
    return rounds * loads(unroll) + behind if rounds else behind


def _spilled(held: float, rest: int) -> float:
    if held < _FULL:
        return 0.0
    return _AGAIN_BEHIND if rest else _AGAIN
