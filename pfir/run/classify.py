"""Outputs read as scores of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pfir.artifact import TensorSpec

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


def class_count(outputs: Sequence[TensorSpec]) -> int | None:
    """How many classes a model of these outputs tells apart, by the same rule; None if it is no classifier."""
    if len(outputs) != 1 or np.dtype(outputs[0].dtype).kind != "f" or len(outputs[0].shape) < 2:
        return None
    sizes = outputs[0].shape[1:]
    if not all(isinstance(size, int) for size in sizes) or max(sizes) < 2:
        return None
    return max(sizes) if sorted(sizes)[:-1] == [1] * (len(sizes) - 1) else None


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """log p [N, K] in float64 of logits, or of probabilities (rows that are not negative and sum to 1)."""
    scores = scores.astype(np.float64)
    if (scores >= 0).all() and (np.abs(scores.sum(1) - 1) < _SUM_TOLERANCE).all():
        return np.log(np.maximum(scores, _FLOOR))
    shifted = scores - scores.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
