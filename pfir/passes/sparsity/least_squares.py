"""What stays of a weight makes up for what is gone, in closed form."""

from __future__ import annotations

import numpy as np


def refitted(weight: np.ndarray, keep: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """The weight [O, F] that is zero where `keep` is False and gives outputs nearest to those of the given one.

    Each output by itself: with kept features K it solves G[K, K] v = G[K, :] w.

    Args:
        weight: float64 [O, F].
        keep: bool [O, F].
        gram: G, positive definite, float64 [F, F].
    """
    result, wanted = np.zeros_like(weight), weight @ gram
    for row, kept in enumerate(keep):
        places = np.flatnonzero(kept)
        result[row, places] = np.linalg.solve(gram[np.ix_(places, places)], wanted[row, places])
    return result
