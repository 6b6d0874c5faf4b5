"""Outputs read as scores of classes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

_SUM_TOLERANCE = 1e-3
_FLOOR = 1e-12  # the smallest probability whose logarithm is taken


def class_scores(outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The only output as [N, K] if it is a classifier's: K >= 2, any other axis of size 1; else None."""
    if len(outputs) != 1:
        return None
    (scores,) = outputs.values()
    if scores.ndim < 2 or scores.dtype.kind != "f":
        return None
    classes = max(scores.shape[1:])
    if classes < 2 or scores.size != scores.shape[0] * classes:
        return None
    return scores.reshape(scores.shape[0], classes)


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """log p [N, K] in float64 of logits, or of probabilities (rows that are not negative and sum to 1)."""
    scores = scores.astype(np.float64)
    if (scores >= 0).all() and (np.abs(scores.sum(1) - 1) < _SUM_TOLERANCE).all():
        return np.log(np.maximum(scores, _FLOOR))
    shifted = scores - scores.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
