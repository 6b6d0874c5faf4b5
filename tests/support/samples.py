"""Data sets of tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.data.base import Dataset
from pfir.data.files.stored import content_hash


class Samples(Dataset):
    """Arrays by input name, perhaps with labels."""

    kind = "given"

    def __init__(self, arrays: Mapping[str, np.ndarray], labels=None) -> None:
        self._arrays, self.inputs = dict(arrays), tuple(arrays)
        self.labels = None if labels is None else np.asarray(labels, np.int64)

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def batch(self, indices):
        return {name: x[indices] for name, x in self._arrays.items()}

    def fingerprint(self) -> str:
        return content_hash(self._arrays | ({} if self.labels is None else {"labels": self.labels}))


def rows(x: np.ndarray, labels=None) -> Samples:
    """The rows of an array, for an input x."""
    return Samples({"x": x.astype(np.float32)}, labels)


def kinds_of_images(count: int = 96, labelled: bool = True, size: int = 8) -> Samples:
    """Images [count, 3, size, size] of five kinds, each with a mean colour pattern of its own."""
    random = np.random.default_rng(3)
    kinds = random.integers(0, 5, count)
    patterns = random.normal(size=(5, 3, size, size))
    x = (patterns[kinds] + random.normal(size=(count, 3, size, size), scale=0.3)).astype(np.float32)
    return Samples({"image": x}, kinds if labelled else None)
