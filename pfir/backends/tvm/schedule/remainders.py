"""Tiles of products that treat the last output channels apart, or all of them, where a whole vector for them would be
mostly waste."""

from __future__ import annotations

from pfir.backends.tvm.schedule.tile_kinds import DotsTile, DottedTile, NarrowingTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, by_lane
from pfir.target import FLOAT32, Target

_HALVED = 16  # lanes of vectors whose halves take half the time
_SHARED = 2 * FEWEST_LANES  # lanes of a vector that two rows may share
_ACCUMULATORS = 20  # that LLVM keeps in registers beside the weights and a value
_MOST_VECTORS = 4
_LATENT = 8  # accumulators that hide the latency of a multiply-add: four cycles on two pipes
_SUMS = 0.7  # share of the registers that sums of a strip may take
_STRIP_ROWS = 6
_STEPS_AN_OUTPUT = 2  # fewest, counted on Arm


def remainder_tile(
    target: Target, rows: int, channels_out: int, channels_in: int
) -> DotsTile | DottedTile | NarrowingTile | None:
    """The tile of such a product, None where vectors of channels do."""
    if target.arithmetic != FLOAT32:
        return None
    if channels_out < FEWEST_LANES:
        return _dots(target, rows, channels_out, channels_in)
    if rows < FEWEST_LANES:
        return None
    if target.arm64:
        return _dotted(target, channels_out, channels_in)
    wide = target.triple.startswith("x86") and target.lanes >= _SHARED
    return _narrowing(target, rows, channels_out, channels_in) if wide else None


def _dots(target: Target, rows: int, channels_out: int, channels_in: int) -> DotsTile | None:
    """Vectors along the input channels: of outputs there are too few. Sums of several rows share the weights, or a
    single row's take turns to hide the latency of a multiply-add. A vector of four lanes that three outputs fill does
    better over several rows."""
    steps, filled = channels_in // target.lanes, channels_out + 1 == target.lanes and rows > 1
    if filled or steps < _STEPS_AN_OUTPUT * channels_out:
        return None
    registers = target.core.vector_registers
    tile_rows = min(rows, FEWEST_LANES, (registers - channels_out) // (channels_out + 1))
    sums = tile_rows * channels_out
    copies = min(steps, -(-_LATENT // sums), (registers - tile_rows - channels_out) // sums)
    return DotsTile(target.lanes, channels_out, tile_rows, copies, target.threads)


def _dotted(target: Target, channels_out: int, channels_in: int) -> DottedTile | None:
    """A single channel behind few vectors is a dot product of each row, by vectors of input channels: a quarter of the
    multiply-adds that a vector of output channels takes. Behind five vectors and more it saves too little."""
    vectors, rest = divmod(channels_out, target.lanes)
    if rest != 1 or not 1 <= vectors <= _MOST_VECTORS or channels_in < target.lanes:
        return None
    return DottedTile(target.lanes, vectors, target.lanes, 8 if channels_in % 8 == 0 else 4, target.threads)


def _narrowing(target: Target, rows: int, channels_out: int, channels_in: int) -> NarrowingTile | None:
    """The last vector is a narrower one: of halves and less two are multiplied in the time of a whole one of 512 bits,
    and one of four lanes is shared by two rows, up to 36 channels. Measured on Zen 4."""
    unroll, (vectors, rest) = min(4, channels_in), divmod(channels_out, _SHARED)
    if 0 < rest <= _SHARED // 2 and 1 <= vectors <= _MOST_VECTORS:
        pairs = target.core.vector_registers * 9 // 16 // (2 * vectors + 1)
        pairs = min(rows // 2, _MOST_VECTORS, max(1, pairs))
        return NarrowingTile(_SHARED, vectors + 1, 2 * pairs, unroll, target.threads)
    vectors = -(-channels_out // target.lanes)
    if target.lanes < _HALVED or not 0 < channels_out % target.lanes <= target.lanes // 2 or vectors <= 2:
        return None
    vectors = min(vectors, _MOST_VECTORS)
    return NarrowingTile(target.lanes, vectors, min(rows, _ACCUMULATORS // vectors), unroll, target.threads)


def strip_remainder(target: Target, rows: int, channels_out: int, unroll: int) -> NarrowingTile | None:
    """The tile of Winograd's products over `rows` tiles of an image where two of them share the last vector, with up to
    four channels of each, behind up to five whole ones: a tenth less time on Zen 4, where two vectors of 256 bits are
    multiplied in the time of one of 512. None where they do not."""
    vectors, last = -(-channels_out // _SHARED), (channels_out - 1) % _SHARED + 1
    if by_lane(target) or target.lanes < _SHARED or target.arithmetic != FLOAT32 or last > FEWEST_LANES:
        return None
    most = int(_SUMS * target.core.vector_registers / (vectors - 1 / 2))
    tile_rows = min(most // 2 * 2, _STRIP_ROWS, rows // 2 * 2)
    if vectors == 1 or tile_rows < FEWEST_LANES:
        return None
    return NarrowingTile(_SHARED, vectors, tile_rows, unroll, target.threads)
