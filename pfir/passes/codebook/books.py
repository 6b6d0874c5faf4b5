"""The weights of a layer as places in one codebook, or in one for each few output channels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pfir.passes.codebook.clustering import clustered, nearest


@dataclass(frozen=True, eq=False)
class WeightBooks:
    """A weight whose values stand in codebooks.

    Args:
        levels: The codebooks, float32 [B, K], each in order.
        places: Of each weight in its codebook, uint8 [C, R]: the weights of each output channel, B codebooks one after
            the other for as many channels each.
        axis: Which axis of the weight holds output channels.
        shape: Of the weight.
        zeros: Weights that stay zero, bool [C, R]; None where none must.
    """

    levels: np.ndarray
    places: np.ndarray
    axis: int
    shape: tuple[int, ...]
    zeros: np.ndarray | None = None

    @property
    def bits(self) -> int:
        """Of a place."""
        return int(self.levels.shape[1] - 1).bit_length()

    def values(self) -> np.ndarray:
        """float32 of the weight's shape: what the places stand for."""
        books = self.levels.shape[0]
        places = self.places.reshape(books, -1)
        return unrolled(np.take_along_axis(self.levels, places.astype(np.int64), 1), self.axis, self.shape)

    def of(self, weight: np.ndarray) -> WeightBooks:
        """The same codebooks with the places of these weights."""
        return replace(self, places=self._nearest(rows(weight, self.axis)))

    def with_levels(self, levels: np.ndarray) -> WeightBooks:
        """Other values in the codebooks, [B, K], in any order; the places keep theirs."""
        order = np.argsort(levels, axis=1, kind="stable")
        rank = np.argsort(order, axis=1, kind="stable")
        books = levels.shape[0]
        places = np.take_along_axis(rank, self.places.reshape(books, -1).astype(np.int64), 1)
        sorted_levels = np.take_along_axis(levels, order, 1).astype(np.float32)
        return replace(self, levels=sorted_levels, places=places.astype(np.uint8).reshape(self.places.shape))

    def _nearest(self, weights: np.ndarray) -> np.ndarray:
        books = self.levels.shape[0]
        each = zip(self.levels.astype(np.float64), weights.reshape(books, -1), strict=True)
        found = np.stack([nearest(levels, values) for levels, values in each]).astype(np.uint8)
        return self._held(found.reshape(weights.shape))

    def _held(self, places: np.ndarray) -> np.ndarray:
        """The places, zero where weights must stay zero."""
        if self.zeros is None:
            return places
        books = self.levels.shape[0]
        zero = np.abs(self.levels).argmin(axis=1).astype(np.uint8)
        return np.where(self.zeros, np.repeat(zero, len(places) // books)[:, None], places)


def fitted(
    weight: np.ndarray, axis: int, bits: int, importance: np.ndarray, channels: int = 0, start: str = "kmeans"
) -> WeightBooks:
    """Codebooks of the least weighted squared error for a weight.

    Weights that are exactly zero stay so: a value of each codebook is zero then.

    Args:
        weight: float32.
        axis: Which axis holds output channels.
        bits: 1 to 8, of a place.
        importance: What the squared error of each weight counts, of the weight's shape.
        channels: Output channels that share a codebook, at most; 0 for all.
        start: As `clustered` takes it.
    """
    values, counts = rows(weight, axis), rows(importance, axis)
    books = 1 if not channels else book_count(len(values), channels)
    zeros = values == 0
    parts = zip(values.reshape(books, -1), counts.reshape(books, -1), strict=True)
    levels = np.stack([_levels(each, counts, 2**bits, bool(zeros.any()), start) for each, counts in parts])
    empty = np.zeros(values.shape, np.uint8)
    return WeightBooks(levels, empty, axis, weight.shape, zeros if zeros.any() else None).of(weight)


def book_count(outputs: int, channels: int) -> int:
    """The fewest codebooks, each of as many of these output channels, that have at most so many."""
    return next(count for count in range(1, outputs + 1) if outputs % count == 0 and outputs // count <= channels)


def rows(weight: np.ndarray, axis: int) -> np.ndarray:
    """A weight as [C, R], the weights of each output channel."""
    return np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)


def unrolled(values: np.ndarray, axis: int, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse of `rows`, for a weight of this shape."""
    turned = [shape[axis], *(size for i, size in enumerate(shape) if i != axis)]
    return np.ascontiguousarray(np.moveaxis(values.reshape(turned), 0, axis))


def _levels(values: np.ndarray, weights: np.ndarray, count: int, has_zero: bool, start: str) -> np.ndarray:
    if not has_zero:
        return clustered(values, weights, count, start).astype(np.float32)
    there = values != 0
    others = clustered(values[there], weights[there], count - 1, start)
    return np.sort(np.append(others, 0.0)).astype(np.float32)
