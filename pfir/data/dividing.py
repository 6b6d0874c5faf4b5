"""A data set divided in two."""

from __future__ import annotations

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import DataError, UsageError


def split(dataset: Dataset, share: float, seed: int = 0) -> tuple[Dataset, Dataset]:
    """The rest, and `share` of the samples: disjoint, together all, the same for the same seed.

    With labels every class gives its share, as near as whole samples allow; each part keeps the samples' order.

    Args:
        share: 0 < share < 1.

    Raises:
        UsageError: The share is out of range.
        DataError: A part would be empty.
    """
    if not 0 < share < 1:
        raise UsageError(f"share is {share}; it must lie between 0 and 1")
    count = len(dataset)
    if count < 2:
        raise DataError(f"{count} sample cannot be split in two")
    taken = _spread(dataset, seed)[: min(max(round(share * count), 1), count - 1)]
    rest = np.setdiff1d(np.arange(count), taken)
    return dataset.subset(rest), dataset.subset(np.sort(taken))


def _spread(dataset: Dataset, seed: int) -> np.ndarray:
    """All indices in random order, such that every beginning holds each class in proportion."""
    order = np.random.default_rng(seed).permutation(len(dataset))
    if dataset.labels is None:
        return order
    labels = dataset.labels[order]
    # Place k of n in its class stands at (k + 1/2) / n of the way; a stable sort of these places deals the classes out.
    way = np.empty(len(order))
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        way[members] = (np.arange(len(members)) + 0.5) / len(members)
    return order[np.argsort(way, kind="stable")]
