"""Which samples of a global batch belong to a worker."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Share:
    """The part of a batch that one worker of several takes: all of them together take every sample once.

    Args:
        rank: Which worker, from 0.
        count: How many workers there are.
    """

    rank: int = 0
    count: int = 1

    def of(self, indices: np.ndarray) -> np.ndarray:
        """This worker's run of these; their number is a multiple of the workers'."""
        size = len(indices) // self.count
        return indices[self.rank * size : (self.rank + 1) * size]


WHOLE = Share()


def divisible(batch: int, count: int) -> int:
    """The smallest batch of at least this size that so many workers can share equally."""
    return -(-batch // count) * count
