"""The numbers that integers stand for: one scale and zero point for activations, symmetric scales for weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LARGEST_BITS = 8
SMALLEST_SCALE = 2.0**-100
"""Far below what any network computes with, and still a normal float32 when two of them are multiplied."""


@dataclass(frozen=True)
class Grid:
    """The numbers scale * (integer - zero_point) of an activation, integers from 0 to `high`.

    They are unsigned: ONNX Runtime runs a net of signed ones on x86 only partly as integers, since it makes them
    unsigned but for those with several readers.

    Args:
        scale: A float32 number above 0.
        zero_point: The integer that stands for 0.
        bits: 2 to 8.
    """

    scale: float
    zero_point: int
    bits: int = LARGEST_BITS

    @property
    def high(self) -> int:
        """The greatest integer."""
        return 2**self.bits - 1

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the greatest number."""
        return -self.scale * self.zero_point, self.scale * (self.high - self.zero_point)

    def nearest(self, x: np.ndarray) -> np.ndarray:
        """The numbers of the grid that lie nearest to x, in its type."""
        steps = np.clip(np.rint(x / self.scale) + self.zero_point, 0, self.high)
        return ((steps - self.zero_point) * self.scale).astype(x.dtype)


def grid_between(low: float, high: float, bits: int = LARGEST_BITS) -> Grid:
    """The grid of that many bits from low to high, which is widened to hold zero: padding must stay exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32(max((high - low) / (2**bits - 1), SMALLEST_SCALE)))
    return Grid(scale, int(np.clip(round(-low / scale), 0, 2**bits - 1)), bits)


@dataclass(frozen=True, eq=False)
class WeightGrid:
    """The numbers scale * integer of a weight, integers from -limit to limit.

    Args:
        scale: float32, [C] along `axis` of the weight, or [] for all of it.
        axis: Which axis of the weight holds output channels, of one group where input channels come first.
        bits: 2 to 8.
    """

    scale: np.ndarray
    axis: int
    bits: int = LARGEST_BITS

    @property
    def limit(self) -> int:
        """The greatest integer; the least is its negative, so that zero lies in the middle."""
        return 2 ** (self.bits - 1) - 1

    def along(self, rank: int) -> np.ndarray:
        """The scale as an array that is broadcast over a weight of this rank."""
        if self.scale.ndim == 0:
            return self.scale
        return self.scale.reshape([-1 if i == self.axis else 1 for i in range(rank)])

    def integers(self, weight: np.ndarray) -> np.ndarray:
        """int8 of the weight's shape: the nearest integers."""
        steps = np.rint(weight.astype(np.float64) / self.along(weight.ndim))
        return np.clip(steps, -self.limit, self.limit).astype(np.int8)

    def numbers(self, integers: np.ndarray) -> np.ndarray:
        """float32: what the integers stand for."""
        return integers.astype(np.float32) * self.along(integers.ndim)
