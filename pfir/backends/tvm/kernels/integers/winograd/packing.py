"""Winograd's transforms of weights of eight bits, whole numbers of 16 bits, and what the sums start from.

The transforms of a kernel have fractions; each is multiplied by what makes its points whole. Results come out so many
times too large, a power of two by the power of an odd number. In arithmetic modulo 2^32 the inverse of the latter takes
it away again, whatever overflowed before; the former is part of the float that sums are multiplied by. So sums are
exact wherever their own values, by that power of two, stay within 32 bits.

Points fit in 16 bits: those of 4x4 tiles are at most 100 times int8 in the image, 144 times 127 in the weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.backends.tvm.kernels.winograd.transforms import KERNEL, Rows, points_of

_WORD = 1 << 32
_LIMIT = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Whole:
    """How the transforms along one axis become whole numbers.

    Args:
        scale: What the results are multiplied by.
        last: By how much less the last point of the kernel is, which 16 bits would not hold.
    """

    scale: int
    last: int = 1

    @property
    def even(self) -> int:
        """The power of two in the results of both axes."""
        return (self.scale & -self.scale) ** 2

    @property
    def inverse(self) -> int:
        """What takes the odd factor away, modulo 2^32, as int32."""
        found = pow(self.scale**2 // self.even, -1, _WORD)
        return found - _WORD if found > _LIMIT else found


WHOLE = {2: Whole(2), 4: Whole(24, 4)}
"""By rows and columns of a tile of the result."""


def whole_points(kernels: np.ndarray, outputs: int) -> np.ndarray:
    """`[O/b, 9, I, b]` int8 -> `[O/b, (m + 2)^2, I, b]` int16 for `outputs` m."""
    blocks, taps, *sizes = kernels.shape
    points = points_of(kernels.reshape(blocks, taps, -1).astype(np.int32), whole_rows(outputs))
    return points.astype(np.int16).reshape(blocks, -1, *sizes)


def whole_rows(outputs: int) -> Rows:
    """The rows of the transform, `WHOLE[m].scale` times too large but for the last one."""
    *rows, (*zeros, last) = KERNEL[outputs]
    return (*rows, (*zeros, last // WHOLE[outputs].last))


def tiled_starts(weight: np.ndarray, bias: np.ndarray | None, zero: int, outputs: int) -> np.ndarray:
    """What is added to the sums at one point, so that they end as those with the integers minus their zero point:
    `[O]` int32, modulo 2^32. The border counts as the zero point.

    Args:
        weight, bias: As of `starts`.
        zero: The zero point of the stored input.
    """
    begin = (0 if bias is None else bias.astype(np.int64)) - zero * weight.astype(np.int64).sum(axis=(1, 2, 3))
    return (begin * WHOLE[outputs].scale ** 2).astype(np.int32)


def is_exact(weight: np.ndarray, bias: np.ndarray | None, zero: int, outputs: int) -> bool:
    """Whether no input makes sums too large for tiles of so many rows and columns.

    Args:
        weight, bias, zero: As of `tiled_starts`, of integers of eight bits.
    """
    most = np.abs(weight.astype(np.int64)).sum(axis=(1, 2, 3)) * max(zero + 128, 127 - zero)
    return bool((most + (0 if bias is None else np.abs(bias.astype(np.int64)))).max() * WHOLE[outputs].even <= _LIMIT)
