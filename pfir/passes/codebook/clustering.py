"""The few numbers that stand for many with the least squared error: weighted k-means in one dimension."""

from __future__ import annotations

import numpy as np

STARTS = ("kmeans", "quantile")
"""Where the centres begin: at the best ones of a summary of the numbers, or at equal shares of them."""
MOST_POINTS = 512
"""Distinct numbers up to which the result is the best of all; more are summed up in so many first."""
MOST_ROUNDS = 100
"""Of moving each centre to the mean of its numbers. The last rounds move hardly any."""


def clustered(values: np.ndarray, weights: np.ndarray, count: int, start: str = "kmeans") -> np.ndarray:
    """The centres of so many clusters, float64 [count], in order; of fewer distinct numbers the last one is repeated.

    Args:
        values: The numbers, [N].
        weights: What the squared error of each counts, [N], at least 0.
        count: At least 1.
        start: One of `STARTS`.

    Source: Wang and Song, "Ckmeans.1d.dp: Optimal k-means Clustering in One Dimension by Dynamic Programming", The R
    Journal 3/2, 2011; Lloyd, "Least Squares Quantization in PCM", 1982, goes on from there where numbers were summed
    up.
    """
    points, mass = _distinct(values, weights)
    if points.size <= count:
        return np.pad(points, (0, count - points.size), mode="edge") if points.size else np.zeros(count)
    summed = _summed_up(points, mass)
    if start == "quantile" or summed[0].size <= count:
        return _settled(points, mass, _quantiles(points, mass, count))
    return _settled(points, mass, _best(*summed, count))


def nearest(levels: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Which of these levels, in order, lies nearest to each number: int64 of the numbers' shape."""
    return np.searchsorted((levels[1:] + levels[:-1]) / 2, values)


def _distinct(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct numbers, in order, and what each weighs; where nothing does, all weigh the same."""
    points, which = np.unique(np.ravel(values).astype(np.float64), return_inverse=True)
    mass = np.bincount(which.ravel(), np.ravel(weights).astype(np.float64), points.size)
    return points, mass + max(1e-12 * mass.mean(), np.finfo(np.float64).tiny) if mass.any() else np.ones(points.size)


def _summed_up(points: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST_POINTS` means of neighbours with their mass: half cut by their share of the mass, half by range."""
    if points.size <= MOST_POINTS:
        return points, mass
    half = MOST_POINTS // 2
    share = np.cumsum(mass) / mass.sum()
    by_mass = np.minimum((share * half).astype(np.int64), half - 1)
    by_range = ((points - points[0]) / (points[-1] - points[0]) * (half - 1)).astype(np.int64)
    bins = np.unique(by_mass + by_range, return_inverse=True)[1]
    total = np.bincount(bins, mass)
    return np.bincount(bins, mass * points) / total, total


def _quantiles(points: np.ndarray, mass: np.ndarray, count: int) -> np.ndarray:
    """The middle of each of so many equal shares of the mass."""
    share = (np.cumsum(mass) - mass / 2) / mass.sum()
    return np.interp((np.arange(count) + 0.5) / count, share, points)


def _best(points: np.ndarray, mass: np.ndarray, count: int) -> np.ndarray:
    """The centres of least error, by dynamic programming over where clusters of neighbours end."""
    sums = [np.concatenate([[0.0], np.cumsum(mass * (points - points.mean()) ** k)]) for k in range(3)]
    zeroth, first, second = (total[None, 1:] - total[:-1, None] for total in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(zeroth > 0, second - first * first / zeroth, 0.0)
    error[np.tril_indices(points.size, -1)] = np.inf  # A cluster begins no later than it ends.
    least, starts = error[0], []
    for _ in range(count - 1):
        total = np.concatenate([[np.inf], least[:-1]])[:, None] + error
        starts.append(total.argmin(axis=0))
        least = total.min(axis=0)
    return _means(points, mass, _edges(starts, points.size))


def _edges(starts: list[np.ndarray], size: int) -> np.ndarray:
    """Where the best clusters begin, the first at 0, and the end."""
    edges = [size]
    for chosen in reversed(starts):
        edges.append(int(chosen[edges[-1] - 1]))
    return np.array([0, *reversed(edges)])


def _means(points: np.ndarray, mass: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.add.reduceat(points * mass, edges[:-1]) / np.add.reduceat(mass, edges[:-1])


def _settled(points: np.ndarray, mass: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """The centres once each is the mean of the numbers nearest to it; one without any stays."""
    sums = [np.concatenate([[0.0], np.cumsum(x)]) for x in (mass, mass * points)]
    for _ in range(MOST_ROUNDS):
        edges = np.concatenate([[0], np.searchsorted(points, (centres[1:] + centres[:-1]) / 2), [points.size]])
        zeroth, first = (np.diff(total[edges]) for total in sums)
        moved = np.where(zeroth > 0, first / np.where(zeroth > 0, zeroth, 1), centres)
        if np.array_equal(moved, centres):
            break
        centres = np.sort(moved)
    return centres
