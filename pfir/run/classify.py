"""Outputs read as scores of classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pfir.artifact import TensorSpec

_FLOATS = ("float16", "float32", "float64")
_SUM_TOLERANCE = 1e-3
_QUANTIZED_SUM_TOLERANCE = 0.1
_FLOOR = 1e-12  # the smallest probability whose logarithm is taken


def scores_output(outputs: Sequence[TensorSpec]) -> TensorSpec | None:
    """The output that labels are held against: the first that is [N, K], K >= 2, else the first that is so but for axes
    of size 1; None where there is none."""
    found = [t for t in outputs if t.dtype in _FLOATS and _classes_of(t.shape) is not None]
    return min(found, key=lambda t: len(t.shape) > 2) if found else None


def class_count(outputs: Sequence[TensorSpec]) -> int | None:
    """How many classes a model of these outputs tells apart; None if it is no classifier."""
    found = scores_output(outputs)
    return None if found is None else _classes_of(found.shape)


def class_scores(outputs: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The output that labels are held against as [N, K]; None where there is none."""
    found = scores_output([TensorSpec(name, y.dtype.name, y.shape) for name, y in outputs.items()])
    return None if found is None else outputs[found.name].reshape(len(outputs[found.name]), -1)


def labels_serve(outputs: Sequence[TensorSpec]) -> str | None:
    """What labels are good for with these outputs, in a sentence; None where a single output leaves no doubt."""
    found, listed = scores_output(outputs), ", ".join(f"{t.name} {_text(t.shape)}" for t in outputs)
    if found is None:
        return (
            "the labels serve nothing: no output of the model gives scores of classes, [N, K] with K >= 2; "
            f"it has {listed}"
        )
    if len(outputs) == 1:
        return None
    return f"the labels are held against output {found.name} {_text(found.shape)}, the first of {listed} that is [N, K]"


def log_probabilities(scores: np.ndarray) -> np.ndarray:
    """log p [N, K] in float64 of logits, or of probabilities (rows that are not negative and sum to 1)."""
    scores = scores.astype(np.float64)
    if (scores >= 0).all() and (np.abs(scores.sum(1) - 1) < _SUM_TOLERANCE).all():
        return np.log(np.maximum(scores, _FLOOR))
    shifted = scores - scores.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def probabilities(scores: np.ndarray) -> np.ndarray:
    """p [N, K] in float64 of logits, or of probabilities, which a quantized model gives with sums near 1."""
    scores = scores.astype(np.float64)
    sums = scores.sum(1, keepdims=True)
    if (scores >= 0).all() and (np.abs(sums - 1) < _QUANTIZED_SUM_TOLERANCE).all():
        return scores / sums
    return np.exp(log_probabilities(scores))


def _classes_of(shape: Sequence[int | str | None]) -> int | None:
    """K of [N, K], also among axes of size 1."""
    sizes = [size for size in shape[1:] if isinstance(size, int)]
    if not sizes or len(sizes) < len(shape) - 1 or max(sizes) < 2:
        return None
    return max(sizes) if sorted(sizes)[:-1] == [1] * (len(sizes) - 1) else None


def _text(shape: Sequence[int | str | None]) -> str:
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"
