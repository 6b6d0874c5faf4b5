"""Register tiles of the matrix-like kernels, from a model of the core."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd

from pfir.target import Target


@dataclass(frozen=True)
class Tile:
    """The accumulators of one inner loop: `rows` x `vectors` registers of `lanes` values each.

    Args:
        lanes: float32 values in a vector.
        vectors: Vectors of output channels.
        rows: Output positions.
        unroll: Input channels whose step is unrolled.
        threads: Threads that share the kernel's outer loops.
    """

    lanes: int
    vectors: int
    rows: int
    unroll: int
    threads: int = 1

    @property
    def block(self) -> int:
        """Output channels computed together."""
        return self.lanes * self.vectors


def matrix_tile(target: Target, rows: int, channels_out: int, channels_in: int, most: int | None = None) -> Tile:
    """The tile that keeps the multiply-add units busiest for `rows` positions of `channels_out` channels.

    More accumulators amortise more loads: a tile of r rows and v vectors loads r + v values for r * v
    multiply-adds. Below `_ENOUGH` accumulators the unit's latency shows. Padding counts as waste. There are at most
    `most` accumulators, if that is given.
    """
    prefer = _score_x86 if target.triple.startswith("x86") else _score
    options = [
        (prefer(target, lanes, vectors, tile_rows, rows, channels_out), -(-channels_out % (lanes * vectors)),
         lanes, vectors, tile_rows)
        for lanes in _lane_choices(target)
        for vectors in range(1, _most_vectors(target, rows) + 1)
        for tile_rows in range(1, min(rows, _most_rows(target, channels_in)) + 1)
        if _fits(target, vectors, tile_rows) and (most is None or vectors * tile_rows <= most)
    ]  # fmt: skip
    *_, lanes, vectors, tile_rows = max(options)  # of equals the one without padding, then the wider vector
    return Tile(lanes, vectors, tile_rows, _unroll(target, channels_in), target.threads)


def stem_accumulators(target: Target, kernel_width: int, stride: int) -> int:
    """The most accumulators of a convolution over few channels, whose steps along a row are all unrolled.

    On Arm the compiler keeps the row in registers, beside them; these leave enough (found by disassembly, 3x3 to 7x7).
    On x86 fewer are faster, as measured for 3x3 with stride 2: 8 took 0.57 of the time of 28.
    """
    if target.triple.startswith("x86"):
        return 8
    return 16 if kernel_width <= 3 and stride == 1 else 12


def product_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> Tile:
    """The tile of a matrix product: on Arm with twice the steps where that divides, since its loop is a short one."""
    again = target.cpu in _UNROLLED_AGAIN and _unroll(target, channels_in) < 4
    tile = matrix_tile(target, rows, channels_out, channels_in, 16 if again else None)
    twice = not target.triple.startswith("x86") and tile.unroll == 4 and channels_in % 8 == 0 and channels_in > 8
    return replace(tile, unroll=8) if twice else tile


def strip_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> Tile:
    """The tile of products over `rows` tiles of an image, shared evenly among rounds."""
    tile = matrix_tile(target, rows, channels_out, channels_in)
    rounds = -(-rows // tile.rows)
    return replace(tile, rows=-(-rows // rounds))


def channel_tile(target: Target, columns: int, channels: int) -> Tile:
    """The tile of a depthwise or pooling kernel: one vector of channels by several columns."""
    lanes = min(_lane_choices(target), key=lambda n: (-(-channels // n) * n, -n))
    limit = min(target.core.vector_registers // 3, columns, 8)
    rows = min(range(1, limit + 1), key=lambda r: (-(-columns // r) * (r + 2), -r))
    return Tile(lanes, 1, rows, 1, target.threads)


def plain_tile(target: Target) -> Tile:
    """The tile of kernels that compute each element on its own."""
    return Tile(target.lanes, 1, 1, 1, target.threads)


_ENOUGH = 12
_WAY_BYTES = 4096
_LATENCY = 4  # cycles of a multiply-add on x86
_PER_STEP = 0.4  # cycles of loop control
_PER_ROW = 0.002  # share of the time
_WEIGHTS_A_CYCLE = 4  # float32 values that the second-level cache gives beside everything else
# LLVM unrolls short loops four more times for these, which takes registers: with 20 accumulators it spills.
_UNROLLED_AGAIN = ("cortex-a53", "cortex-a55")


def _fits(target: Target, vectors: int, rows: int) -> bool:
    """Whether accumulators and operands stay in registers.

    x86 takes the broadcast element from memory. Arm multiplies by a lane of a register, so that each row holds one: on
    32 registers 4 x 5 fits and 4 x 7 spills.
    """
    registers = target.core.vector_registers
    if target.triple.startswith("x86"):
        return vectors * rows <= registers - 4 and (vectors == 1 or vectors * rows + vectors + 1 <= registers)
    return vectors * rows + vectors + rows <= registers - 2


def _most_vectors(target: Target, rows: int) -> int:
    """A single row has no other accumulators to hide latency behind than more vectors."""
    if rows < 4 or target.triple.startswith("x86"):
        return 8
    return 4


def _most_rows(target: Target, channels_in: int) -> int:
    """Rows apart by a multiple of a large power of two share lines of the first-level cache; on x86 it has 8 ways of
    4 KiB, one of which the weights take."""
    if not target.triple.startswith("x86"):
        return target.core.vector_registers
    apart = _WAY_BYTES // gcd(_WAY_BYTES, 4 * channels_in)
    return max(1, min(target.core.vector_registers, 7 * apart))


def _lane_choices(target: Target) -> tuple[int, ...]:
    return tuple(n for n in (target.lanes, target.lanes // 2, target.lanes // 4) if n >= 4)


def _score_x86(target: Target, lanes: int, vectors: int, tile_rows: int, rows: int, channels: int) -> float:
    """Useful multiply-adds a cycle, for one step of a tile.

    Two vectors of at most 256 bits are multiplied and two loaded a cycle; whether two of 512 bits are, the core's peak
    tells. A single vector takes each row's value from memory, several share a register. On Zen 4 what this predicts
    for matrix products lies within about 10 % of what was measured, for tiles of 4 to 16 lanes and 12 to 112 channels;
    many rows, which lie apart in memory, cost more than many vectors.
    """
    multiplies = vectors * tile_rows * max(lanes * 2, target.core.macs_per_cycle) / target.core.macs_per_cycle / 2
    loads = max((vectors + tile_rows) / 2, vectors * lanes / _WEIGHTS_A_CYCLE)
    cycles = max(multiplies, loads, _LATENCY)
    rounds = -(-rows // tile_rows) * -(-channels // (lanes * vectors))
    return rows * channels / (rounds * cycles) / (1 + _PER_STEP / cycles + _PER_ROW * tile_rows)


def _score(target: Target, lanes: int, vectors: int, tile_rows: int, rows: int, channels: int) -> float:
    accumulators = vectors * tile_rows
    block = lanes * vectors
    useful = rows / (-(-rows // tile_rows) * tile_rows) * channels / (-(-channels // block) * block)
    reuse = accumulators / (vectors + tile_rows)
    return useful * reuse * min(1.0, accumulators / _ENOUGH) * lanes / target.lanes


def _unroll(target: Target, channels_in: int) -> int:
    """Input channels a step: a whole vector of them where that divides; on Arm more rather than fewer otherwise, since
    it loads several at once."""
    steps = (4, 3, 2, 1) if target.triple.startswith("x86") else (4, 6, 5, 7, 3, 2, 1)
    return next(step for step in steps if channels_in % step == 0)
