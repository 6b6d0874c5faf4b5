"""From histogram to grid: the range of an activation by least and greatest value, percentile, entropy or MSE."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from weakref import WeakKeyDictionary

import numpy as np

from pfir.passes.quantization.grids import Grid, grid_between
from pfir.passes.quantization.ranges import Histogram

SHARES = np.linspace(1.0, 0.2, 81)
"""Of the full range on one side of zero: what searches try."""
ROUNDS = 2
"""A search moves the upper end, then the lower one, so many times."""

Range = tuple[float, float]


RangeOf = Callable[[Histogram, int], Range]
"""Finds the range of a tensor that has so many levels."""


def range_finder(calibration: str, percentile: float) -> RangeOf:
    """The method of this name, a key of `CALIBRATIONS`.

    Args:
        percentile: Share of the values, in percent, that the method of this name keeps within the range.
    """
    method = CALIBRATIONS[calibration]
    return _once(partial(percentile_range, percentile=percentile) if method is percentile_range else method)


def _once(method: RangeOf) -> RangeOf:
    """The method, which searches each histogram once for each number of levels."""
    known: WeakKeyDictionary[Histogram, dict[tuple[int, int], Range]] = WeakKeyDictionary()

    def found(histogram: Histogram, levels: int) -> Range:
        ranges = known.setdefault(histogram, {})
        key = (levels, int(histogram.counts.sum()) + histogram.zeros)  # More values may have been added since.
        if key not in ranges:
            ranges[key] = method(histogram, levels)
        return ranges[key]

    return found


def calibrated(histogram: Histogram, find: RangeOf, bits: int) -> Grid:
    """The grid of a tensor with this histogram."""
    return grid_between(*(find(histogram, 2**bits) if histogram.counts.any() else (0.0, 0.0)), bits)


def min_max_range(histogram: Histogram, levels: int) -> Range:
    """From the least to the greatest value."""
    del levels
    return min(histogram.low, 0.0), max(histogram.high, 0.0)


def percentile_range(histogram: Histogram, levels: int, percentile: float = 99.99) -> Range:
    """From the least to the greatest value once the same share of all values is left out at each end."""
    centres, counts = histogram.centres, histogram.counts
    allowed = (counts.sum() + histogram.zeros) * (1 - percentile / 100) / 2
    above = centres[np.cumsum(counts) > allowed]
    below = centres[np.cumsum(counts[::-1])[::-1] > allowed]
    low, high = min(float(above.min(initial=0)), 0.0), max(float(below.max(initial=0)), 0.0)
    full = min_max_range(histogram, levels)
    return (max(full[0], low), min(full[1], high)) if low < high else full


def mse_range(histogram: Histogram, levels: int) -> Range:
    """The range of least mean squared error, of rounding and clipping together."""
    centres, counts = histogram.centres, histogram.counts

    def error(low: float, high: float) -> float:
        scale = (high - low) / (levels - 1)
        zero = np.rint(-low / scale)
        steps = np.clip(np.rint(centres / scale) + zero, 0, levels - 1) - zero
        return float(counts @ np.square(steps * scale - centres))

    return _searched(histogram, error)


def entropy_range(histogram: Histogram, levels: int) -> Range:
    """The range by whose levels the distribution of the values, clipped to it, is told with the least divergence.

    Source: Migacz, "8-bit Inference with TensorRT", GTC 2017; ours moves both ends and leaves out zeros, which are
    exact.
    """
    centres, counts = histogram.centres, histogram.counts.astype(np.float64)

    def divergence(low: float, high: float) -> float:
        inside = (centres >= low) & (centres <= high)
        kept = counts[inside]
        if not kept.any():
            return np.inf
        clipped = kept.copy()
        clipped[0] += counts[centres < low].sum()
        clipped[-1] += counts[centres > high].sum()
        level = np.rint((centres[inside] - low) * ((levels - 1) / (high - low))).astype(np.int64)
        filled = kept > 0
        told = np.bincount(level, kept) / np.maximum(np.bincount(level, filled), 1)
        return _divergence(clipped, np.where(filled, told[level], 0.0))

    return _searched(histogram, divergence)


def _divergence(true: np.ndarray, told: np.ndarray) -> float:
    """Kullback and Leibler's, of counts; what is told to be impossible and is not costs as the rarest of all."""
    true, told = true / true.sum(), told / told.sum()
    there = true > 0
    least = told[told > 0].min()
    return float((true[there] * np.log(true[there] / np.maximum(told[there], least))).sum())


def _searched(histogram: Histogram, cost: Callable[[float, float], float]) -> Range:
    """The range of least cost: each end in turn is moved towards zero. Of equals the wider one."""
    low, high = full = min_max_range(histogram, 0)
    for _ in range(ROUNDS if low < 0 < high else 1):
        if full[1] > 0:
            ends = [float(share * full[1]) for share in SHARES]
            high = ends[int(np.argmin([cost(low, end) for end in ends]))]
        if full[0] < 0:
            ends = [float(share * full[0]) for share in SHARES]
            low = ends[int(np.argmin([cost(end, high) for end in ends]))]
    return low, high


CALIBRATIONS: Mapping[str, RangeOf] = {
    "min-max": min_max_range,
    "percentile": percentile_range,
    "entropy": entropy_range,
    "mse": mse_range,
}
"""Methods by name."""
