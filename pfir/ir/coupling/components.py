"""Connected components of labels, without a loop over labels."""

from __future__ import annotations

import numpy as np


def components(count: int, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest label that each of `count` labels is connected with, given edges a[k] - b[k]."""
    root = np.arange(count)
    if not len(a):
        return root
    while True:
        low = np.minimum(root[a], root[b])
        before = root.copy()
        # Hook both ends, and the roots they had, onto the smaller root; then shorten the paths.
        np.minimum.at(root, before[a], low)
        np.minimum.at(root, before[b], low)
        root = np.minimum(root, root[root])
        while not np.array_equal(root, shorter := root[root]):
            root = shorter
        if np.array_equal(root, before):
            return root
