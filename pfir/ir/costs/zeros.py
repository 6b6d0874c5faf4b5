"""Where the zeros of a constant matrix leave whole blocks of outputs empty: what a kernel that skips them has to do."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from pfir.workload import BLOCK_SHAPES, UNIT_SHAPES

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
    """The pattern of a matrix `[I, O]` of float32 or int8; None where too few blocks are zero for any kernel to skip
    them."""
    if matrix.dtype not in (np.float32, np.int8) or not matrix.size:
        return None
    width, inputs = _narrowest(matrix)
    sparse = np.count_nonzero(matrix) <= (1 - _SHARE) * matrix.size
    if not sparse or matrix.shape[0] % inputs or matrix.shape[1] % width:
        return None
    kept = blocks_kept(matrix, width, inputs)
    share = 1 - kept.mean()
    if share < _SHARE:
        return None
    name = f"{share:.0%}:{hashlib.sha256(np.packbits(kept).tobytes()).hexdigest()[:_DIGEST]}"
    return Zeros(matrix.shape, name, _counts(matrix))


def blocks_kept(matrix: np.ndarray, width: int, inputs: int = 1) -> np.ndarray:
    """Which blocks of so many inputs by `width` outputs are not all zero, bool `[I / inputs, O / width]`."""
    rows, columns = matrix.shape
    return (matrix.reshape(rows // inputs, inputs, columns // width, width) != 0).any((1, 3))


def _narrowest(matrix: np.ndarray) -> tuple[int, int]:
    """Outputs and inputs of the narrowest blocks that kernels skip."""
    return min(UNIT_SHAPES) if matrix.dtype == np.int8 else (min(BLOCK_SHAPES)[0], 1)


def _counts(matrix: np.ndarray) -> tuple[int, ...]:
    """The `rounds` of a workload."""
    if matrix.dtype == np.int8:
        return tuple(_units(matrix, *shape) for shape in UNIT_SHAPES)
    return tuple(_rounds(matrix, *shape) for shape in BLOCK_SHAPES)


def _units(matrix: np.ndarray, width: int, inputs: int) -> int:
    """Units that are not zero; 0 where the sizes are no multiples."""
    if matrix.shape[0] % inputs or matrix.shape[1] % width:
        return 0
    return int(blocks_kept(matrix, width, inputs).sum())


def _rounds(matrix: np.ndarray, width: int, steps: int) -> int:
    """Rounds of so many inputs over all columns of blocks; 0 where the outputs are no multiple of the width."""
    if matrix.shape[1] % width:
        return 0
    return int((-(-blocks_kept(matrix, width).sum(0) // steps)).sum())
