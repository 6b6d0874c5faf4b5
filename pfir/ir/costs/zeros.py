"""Where the zeros of a constant matrix leave whole blocks of outputs empty: what a kernel that skips them has to do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pfir.workload import BLOCK_SHAPES

_SHARE = 0.25  # of the narrowest blocks, which dense kernels read as fast as the others are found
_DIGEST = 12


@dataclass(frozen=True)
class Zeros:
    """The pattern of zeros of a matrix.

    Args:
        sizes: Inputs and outputs.
        name: Short and equal for equal patterns alone: the share of blocks that are zero, and a hash of their places.
        rounds: As in `Workload`.
    """

    sizes: tuple[int, int]
    name: str
    rounds: tuple[int, ...]


def zeros_of(matrix: np.ndarray) -> Zeros | None:
    """The pattern of a float32 matrix `[I, O]`; None where too few blocks are zero for any kernel to skip them."""
    narrowest = min(width for width, _ in BLOCK_SHAPES)
    if matrix.dtype != np.float32 or not matrix.size or matrix.shape[1] % narrowest:
        return None
    if np.count_nonzero(matrix) > (1 - _SHARE) * matrix.size:
        return None
    kept = blocks_kept(matrix, narrowest)
    share = 1 - kept.mean()
    if share < _SHARE:
        return None
    name = f"{share:.0%}:{hashlib.sha256(np.packbits(kept).tobytes()).hexdigest()[:_DIGEST]}"
    return Zeros(matrix.shape, name, tuple(_rounds(matrix, *shape) for shape in BLOCK_SHAPES))


def blocks_kept(matrix: np.ndarray, width: int) -> np.ndarray:
    """Which blocks of `width` outputs are not all zero, bool `[I, O / width]`."""
    return (matrix.reshape(len(matrix), -1, width) != 0).any(2)


def _rounds(matrix: np.ndarray, width: int, steps: int) -> int:
    """Rounds of so many inputs over all columns of blocks; 0 where the outputs are no multiple of the width."""
    if matrix.shape[1] % width:
        return 0
    return int((-(-blocks_kept(matrix, width).sum(0) // steps)).sum())
