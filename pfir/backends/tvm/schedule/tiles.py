"""Register tiles of the matrix-like kernels, from a model of the core."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from math import gcd

from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, PlainTile, ProductTile
from pfir.target import FLOAT16, Target

FEWEST_LANES = 4


def matrix_tile(target: Target, rows: int, channels_out: int, channels_in: int, most: int | None = None) -> MatrixTile:
    """The tile that keeps the multiply-add units busiest for `rows` positions of `channels_out` channels.

    More accumulators amortise more loads: a tile of r rows and v vectors loads r + v values for r * v
    multiply-adds. Below `_ENOUGH` accumulators the unit's latency shows. Padding counts as waste. There are at most
    `most` accumulators, if that is given.
    """
    return matrix_tiles(target, rows, channels_out, channels_in, most)[0]


def matrix_tiles(
    target: Target, rows: int, channels_out: int, channels_in: int, most: int | None = None
) -> list[MatrixTile]:
    """The tiles that stay in registers, the best by the model of the core first."""
    unroll = _unroll(target, channels_in)
    shapes = _shapes(target, rows, channels_out, channels_in, most)
    return [MatrixTile(*shape, unroll, target.threads) for shape in shapes]


def _shapes(target: Target, rows: int, channels_out: int, channels_in: int, most: int | None) -> tuple[Shape, ...]:
    """The shapes of those tiles."""
    tall = min(rows, most_rows(target, channels_in))
    if by_lane(target):
        return _ranked(target.core.vector_registers, target.lanes, rows, channels_out, tall, most)
    return _ranked_x86(target, rows, channels_out, tall, most)


Shape = tuple[int, int, int]  # lanes, vectors, rows


@lru_cache(maxsize=8192)
def _ranked(registers: int, whole: int, rows: int, channels: int, tall: int, most: int | None) -> tuple[Shape, ...]:
    """The shapes of tiles on Arm, the best first: of `whole` lanes and fewer, of at most `tall` rows."""
    return _sorted(
        (_score(whole, lanes, vectors, tile_rows, rows, channels), channels, lanes, vectors, tile_rows)
        for lanes in _lane_choices(whole)
        for vectors in range(1, (8 if rows < _FEW_ROWS else 4) + 1)
        for tile_rows in range(1, tall + 1)
        if vectors * tile_rows + vectors + tile_rows <= registers - 2 and (most is None or vectors * tile_rows <= most)
    )


def _ranked_x86(target: Target, rows: int, channels: int, tall: int, most: int | None) -> tuple[Shape, ...]:
    """The shapes of tiles on x86, the best first."""
    return _sorted(
        (_score_x86(target, lanes, vectors, tile_rows, rows, channels), channels, lanes, vectors, tile_rows)
        for lanes in lane_choices(target)
        for vectors in range(1, 8 + 1)
        for tile_rows in range(1, tall + 1)
        if _fits_x86(target, vectors, tile_rows) and (most is None or vectors * tile_rows <= most)
    )


def _sorted(options: Iterable[tuple[float, int, int, int, int]]) -> tuple[Shape, ...]:
    """Shapes by falling score; of equals the one without padding, then the wider vector."""
    ranked = sorted(
        (
            (score, -(-channels % (lanes * vectors)), lanes, vectors, rows)
            for score, channels, lanes, vectors, rows in options
        ),
        reverse=True,
    )
    return tuple(shape[2:] for shape in ranked)


def _stem_accumulators(target: Target, inner: int, kernel_width: int, stride: int, channels_out: int) -> int:
    """The most accumulators of a convolution over few channels, whose steps along a row are all unrolled.

    On Arm the compiler keeps the row in registers, beside them; these leave enough (found by disassembly, 3x3 to 7x7).
    A single block of channels takes fewer, as its bias stays in registers too; of fewer than three input channels LLVM
    would then write out the whole kernel. On x86 fewer are faster, as measured for 3x3 with stride 2: 8 took 0.57 of
    the time of 28.
    """
    if target.triple.startswith("x86") or (channels_out <= 2 * target.lanes and inner >= 3):
        return 8
    return 16 if kernel_width <= 3 and stride == 1 and inner < 4 else 12


def stem_tiles(
    target: Target, columns: int, channels_out: int, channels_in: int, kernel_width: int, stride: int
) -> list[MatrixTile]:
    """The tiles of a convolution over few channels that stay in registers, the best first.

    Of a 3-wide kernel over one channel LLVM writes out all steps and holds all their weights (64-bit Arm). Two vectors
    of nine leave room for as many columns as divide evenly (counted: from 7 % fewer instructions to 2 % more than four
    vectors, which spill). Where none do, or there is no other block, so that the bias is held too, one vector does.
    """
    most = _stem_accumulators(target, channels_in, kernel_width, stride, channels_out)
    tiles = matrix_tiles(target, columns, channels_out, channels_in, most)
    if not target.arm64 or channels_in > 1 or kernel_width > 3:
        return tiles
    even = [rows for rows in range(4, 9 if stride == 1 else 8) if columns % rows == 0]
    vectors = 2 if even and channels_out > 2 * target.lanes else 1
    held = MatrixTile(target.lanes, vectors, max(even, default=min(6, columns)), 1, target.threads)
    return [held, *(tile for tile in tiles if tile != held)]


def product_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> MatrixTile:
    """The tile of a matrix product: on Arm with twice the steps where that divides, since its loop is a short one; LLVM
    loads the weights of all steps ahead, for which 32-bit Arm has registers only beside few rows."""
    if target.triple.startswith("x86"):
        return matrix_tile(target, rows, channels_out, channels_in)
    if rows >= 4 and channels_in < _LOOPED:
        return _held_tile(target, rows, channels_out, channels_in)
    twice = channels_in % 8 == 0 and (target.arm64 or rows < 4)
    shapes = _shapes(target, rows, channels_out, channels_in, _most_accumulators(target, channels_out, channels_in))
    shape = next(shape for shape in shapes if shape[0] == target.lanes)
    tile = MatrixTile(*shape, _unroll(target, channels_in), target.threads)
    if twice:
        return replace(tile, unroll=8)
    steps = 8 if target.arithmetic == FLOAT16 or rows < 4 and channels_out <= 8 * target.lanes else 4
    return replace(tile, unroll=min(steps, channels_in)) if target.arm64 else tile


def _most_accumulators(target: Target, channels_out: int, channels_in: int) -> int | None:
    """The most accumulators of a product's tile on Arm: fewer where the bias of a single block stays in registers too,
    yet fewer where LLVM writes out all steps besides."""
    if channels_in < _HELD:
        return _ENOUGH
    again = scheduled_ahead(target) and channels_in % 8 and _unroll(target, channels_in) <= 4
    return _LOADED_AHEAD if again or channels_out <= 4 * target.lanes else None


def overlapped_tile(target: Target, tile: MatrixTile, rows: int, channels_out: int, channels_in: int) -> MatrixTile:
    """The tile with as many vectors as compute the fewest of `channels_out` twice where the last vector overlaps the
    one before it, and as many more rows as there are fewer vectors."""
    most = min(tile.vectors, -(-channels_out // tile.lanes))
    vectors = min(range(1, most + 1), key=lambda n: (-(-channels_out // (n * tile.lanes)) * n, -n))
    tile_rows = min(rows, tile.rows * tile.vectors // vectors, most_rows(target, channels_in))
    return shared(replace(tile, vectors=vectors, rows=max(tile.rows, tile_rows)), rows)


def _held_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> MatrixTile:
    """The tile of a product over so few channels that LLVM writes out all steps, then holds all weights in registers.

    Found by disassembly for 2 to 9 channels: these do not spill.
    """
    vectors = 2 if channels_out > 2 * target.lanes else 1
    tile_rows = 8 if rows % 8 == 0 and (vectors == 1 or channels_in % 2 == 0) else 4
    return MatrixTile(target.lanes, vectors, tile_rows, channels_in, target.threads)


def rest_rows(rows: int, vectors: int, tile: ProductTile) -> int:
    """Rows of the tile of the block that is left, of fewer vectors than `tile` has: as many accumulators, or nearly."""
    return min(rows, max(tile.rows, 16 // vectors, 1), 8 if rows >= 8 else tile.rows)


def strip_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> MatrixTile:
    """The tile of products over `rows` tiles of an image, shared evenly among rounds; on Arm with steps of a whole
    vector, which is loaded at once, and with accumulators that leave room for what LLVM loads ahead where it writes
    out all steps."""
    most = (_ENOUGH if channels_in < _WRITTEN_OUT else _LOADED_AHEAD) if by_lane(target) else None
    tile = shared(matrix_tile(target, rows, channels_out, channels_in, most), rows)
    steps = target.lanes if channels_in >= 2 * target.lanes else 4
    return replace(tile, unroll=min(steps, channels_in)) if by_lane(target) else tile


def shared(tile: MatrixTile, rows: int) -> MatrixTile:
    """The tile with as few rows as take no more rounds over `rows`."""
    rounds = -(-rows // tile.rows)
    return replace(tile, rows=-(-rows // rounds))


def by_lane(target: Target) -> bool:
    """Whether a value multiplies a vector from a lane of a register, several of which one load brings; x86 takes each
    value from memory."""
    return not target.triple.startswith("x86")


def scheduled_ahead(target: Target) -> bool:
    """Whether the code is scheduled for a single in-order core: LLVM then loads further ahead, and unrolls short loops
    four more times, both of which take registers."""
    return target.cpu == "cortex-a55" and target.arm64


def plain_tile(target: Target) -> PlainTile:
    """The tile of kernels that compute each element on its own."""
    return PlainTile(target.lanes, target.threads)


_ENOUGH = 12
_HELD = 16  # input channels up to which LLVM writes out all steps of more accumulators and holds the weights
_LOOPED = 10  # input channels from which on LLVM keeps the loop over them
_LOADED_AHEAD = 16  # accumulators
_WRITTEN_OUT = 20  # input channels up to which LLVM writes out a loop over them with so many accumulators
_FEW_ROWS = 4  # a single row has no other accumulators to hide latency behind than more vectors, so do few
_HALF_ROWS = 8  # whose values take turns in the 16 registers by whose lanes float16 multiplies
_WAY_BYTES = 4096
_LATENCY = 4  # cycles of a multiply-add on x86
_PER_STEP = 0.4  # cycles of loop control
_PER_ROW = 0.002  # share of the time
_WEIGHTS_A_CYCLE = 4  # float32 values that the second-level cache gives beside everything else


def _fits_x86(target: Target, vectors: int, rows: int) -> bool:
    """Whether accumulators and operands stay in registers: x86 takes the broadcast element from memory. Arm multiplies
    by a lane of a register, so that each row holds one: on 32 registers 4 x 5 fits and 4 x 7 spills."""
    registers = target.core.vector_registers
    return vectors * rows <= registers - 4 and (vectors == 1 or vectors * rows + vectors + 1 <= registers)


def most_rows(target: Target, channels_in: int) -> int:
    """Rows apart by a multiple of a large power of two share lines of the first-level cache; on x86 it has 8 ways of
    4 KiB, one of which the weights take."""
    if by_lane(target):
        return _HALF_ROWS if target.arithmetic == FLOAT16 else target.core.vector_registers
    apart = _WAY_BYTES // gcd(_WAY_BYTES, 4 * channels_in)
    return max(1, min(target.core.vector_registers, 7 * apart))


def lane_choices(target: Target) -> tuple[int, ...]:
    """Values of a vector: all that a register holds, and fewer."""
    return _lane_choices(target.lanes)


def _lane_choices(whole: int) -> tuple[int, ...]:
    return tuple(n for n in (whole, whole // 2, whole // 4) if n >= FEWEST_LANES)


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


def _score(whole: int, lanes: int, vectors: int, tile_rows: int, rows: int, channels: int) -> float:
    accumulators = vectors * tile_rows
    block = lanes * vectors
    useful = rows / (-(-rows // tile_rows) * tile_rows) * channels / (-(-channels // block) * block)
    reuse = accumulators / (vectors + tile_rows)
    return useful * reuse * min(1.0, accumulators / _ENOUGH) * lanes / whole


def _unroll(target: Target, channels_in: int) -> int:
    """Input channels a step: a whole vector of them where that divides; on Arm, which loads several at once, more than
    fewer otherwise, and where nothing divides a whole vector and a rest behind the loop."""
    if target.triple.startswith("x86"):
        return next(step for step in (4, 3, 2, 1) if channels_in % step == 0)
    return next((step for step in (target.lanes, 4, 6, 5, 7) if channels_in % step == 0), min(4, channels_in))
