"""Tiles of products that treat the last output channels apart, where a whole vector for them would be mostly waste."""

from __future__ import annotations

from pfir.backends.tvm.tiles import FEWEST_LANES, Tile
from pfir.target import FLOAT32, Target

_HALVED = 16  # lanes of vectors whose halves take half the time
_SHARED = 2 * FEWEST_LANES  # lanes of a vector that two rows may share
_ACCUMULATORS = 20  # that LLVM keeps in registers beside the weights and a value
_MOST_VECTORS = 4


def remainder_tile(target: Target, rows: int, channels_out: int, channels_in: int) -> Tile | None:
    """The tile of such a product, None where all channels are treated alike."""
    if target.arithmetic != FLOAT32 or rows < FEWEST_LANES:
        return None
    if target.arm64:
        return _dotted(target, channels_out, channels_in)
    wide = target.triple.startswith("x86") and target.lanes >= _SHARED
    return _narrowing(target, rows, channels_out, channels_in) if wide else None


def _dotted(target: Target, channels_out: int, channels_in: int) -> Tile | None:
    """A single channel behind few vectors is a dot product of each row, by vectors of input channels: a quarter of the
    multiply-adds that a vector of output channels takes. Behind five vectors and more it saves too little."""
    vectors, rest = divmod(channels_out, target.lanes)
    if rest != 1 or not 1 <= vectors <= _MOST_VECTORS or channels_in < target.lanes:
        return None
    return Tile(target.lanes, vectors, target.lanes, 8 if channels_in % 8 == 0 else 4, target.threads,
                narrows=True)  # fmt: skip


def _narrowing(target: Target, rows: int, channels_out: int, channels_in: int) -> Tile | None:
    """The last vector is a narrower one: of halves and less two are multiplied in the time of a whole one of 512 bits,
    and one of four lanes is shared by two rows, up to 36 channels. Measured on Zen 4."""
    unroll, (vectors, rest) = min(4, channels_in), divmod(channels_out, _SHARED)
    if 0 < rest <= _SHARED // 2 and 1 <= vectors <= _MOST_VECTORS:
        pairs = target.core.vector_registers * 9 // 16 // (2 * vectors + 1)
        pairs = min(rows // 2, _MOST_VECTORS, max(1, pairs))
        return Tile(_SHARED, vectors + 1, 2 * pairs, unroll, target.threads, narrows=True)
    vectors = -(-channels_out // target.lanes)
    if target.lanes < _HALVED or not 0 < channels_out % target.lanes <= target.lanes // 2 or vectors <= 2:
        return None
    vectors = min(vectors, _MOST_VECTORS)
    return Tile(target.lanes, vectors, min(rows, _ACCUMULATORS // vectors), unroll, target.threads, narrows=True)
