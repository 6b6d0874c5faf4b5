"""SparseGPT: features in turn, the weights of those behind make up for what is gone."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from pfir.passes.sparsity.patterns import Pattern

BLOCK = 128
"""Features whose zeros are chosen together, at least, and whose changes reach those behind at once."""


def sparsegpt(weight: np.ndarray, gram: np.ndarray, pattern: Pattern, taps: int, share: float) -> np.ndarray:
    """The weight [O, F] with a share of its units zero.

    Args:
        weight: float64 [O, F].
        gram: Positive definite, float64 [F, F].
        pattern: Of the zeros.
        taps: Features of a channel.
        share: Of the units of every block of features.

    Source: Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", ICML 2023,
    arXiv:2301.00774, algorithm 1. Ours chooses units of weights by the sum of their errors.
    """
    weight, upper = weight.copy(), _inverse_root(gram)
    span, features = pattern.span(taps), weight.shape[1]
    block = span if pattern.of else span * -(-BLOCK // span)
    for start in range(0, features, block):
        end = min(start + block, features)
        errors = _block(weight[:, start:end], upper[start:end, start:end], pattern, taps, share)
        weight[:, end:] -= errors @ upper[start:end, end:]
    return weight


def _inverse_root(gram: np.ndarray) -> np.ndarray:
    """The upper triangular U of U^T U = G^-1, without an inverse that rounding could make indefinite."""
    root = np.linalg.cholesky(gram[::-1, ::-1])[::-1, ::-1]
    return np.asarray(solve_triangular(root, np.eye(len(gram))))


def _block(weight: np.ndarray, upper: np.ndarray, pattern: Pattern, taps: int, share: float) -> np.ndarray:
    """Choose zeros in these features, in place; what went of each, over its diagonal, for those behind: [O, F]."""
    scale = np.diag(upper)
    keep = pattern.keep(np.square(weight / scale), taps, share)
    errors = np.zeros_like(weight)
    for k in range(weight.shape[1]):
        errors[:, k] = np.where(keep[:, k], 0.0, weight[:, k]) / scale[k]
        weight[:, k:] -= errors[:, k, None] * upper[k, k:]
        weight[~keep[:, k], k] = 0.0
    return errors
