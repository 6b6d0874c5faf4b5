"""How well a model does: accuracy against labels, fidelity and loss against the original."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pfir.artifact import TensorSpec
from pfir.data.base import Dataset
from pfir.errors import DataError, UsageError
from pfir.ir.model import Model
from pfir.run.agreement import Agreement, agreement_of
from pfir.run.classify import class_scores, log_probabilities
from pfir.run.session import Session

Arrays = dict[str, np.ndarray]
Runnable = Model | bytes | Session
BATCH = 32
"""Samples of one run: more are no faster, and all activations of a run are held at once."""
_MOST_OUTPUT_BYTES = 256 << 20


@dataclass(frozen=True)
class Reference:
    """The original's outputs on a data set: {name: [N, ...]}, for comparison with many candidates."""

    outputs: Arrays
    fingerprint: str


@dataclass(frozen=True)
class Scores:
    """What one pass over a data set tells.

    Args:
        samples: How many were run.
        accuracy: Share of right top-1 answers, in [0, 1]; None without labels or without an [N, K] output.
        cross_entropy: Mean of -log p(label), in nats; None where accuracy is None.
        fidelity: See `fidelity`; None without a reference.
        divergence: Mean KL(original || model) in nats for a classifier, else the mean over outputs of
            ||y - y0||^2 / ||y0 - mean y0||^2; lower is better; None without a reference.
    """

    samples: int
    accuracy: float | None = None
    cross_entropy: float | None = None
    fidelity: float | None = None
    divergence: float | None = None


def accuracy(model: Runnable, dataset: Dataset, threads: int = 1, batch: int = BATCH) -> float:
    """Share of samples whose highest score is at their label, in [0, 1].

    Raises:
        DataError: There are no labels, the model is no classifier, or a label lies outside its classes.
    """
    if dataset.labels is None:
        raise DataError("the data has no labels y, so accuracy cannot be measured; fidelity to the original can")
    session = _session(model, threads)
    hits = 0
    for indices, _, outputs in _runs(session, dataset, batch):
        scores = class_scores(outputs)
        if scores is None:
            shapes = ", ".join(f"{name} {list(y.shape)}" for name, y in outputs.items())
            raise DataError(f"accuracy needs an output [N, K] with K >= 2; the model has {shapes}")
        hits += int(_right(scores, _labels(dataset.labels, indices, scores.shape[1])).sum())
    return hits / len(dataset)


def fidelity(
    model: Runnable, original: Runnable | Reference, dataset: Dataset, threads: int = 1, batch: int = BATCH
) -> float:
    """Likeness to the original's outputs, in [0, 1]; 1 is the same.

    For one [N, K] output with K >= 2 the share of samples with the same top-1 class; otherwise the mean over outputs
    of max(0, 1 - ||y - y0|| / ||y0 - mean y0||), the mean taken over the samples: an answer that ignores its input
    scores 0. A sample with NaN or infinite outputs agrees with nothing.
    """
    found = evaluate(model, dataset, original, threads, batch).fidelity
    assert found is not None, "there is an original"
    return found


def reference(model: Runnable, dataset: Dataset, threads: int = 1, batch: int = BATCH) -> Reference:
    """The outputs of the original, run once."""
    session = _session(model, threads)
    parts = [outputs for _, _, outputs in _runs(session, dataset, batch)]
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Reference(joined, dataset.fingerprint())


def evaluate(
    model: Runnable,
    dataset: Dataset,
    original: Runnable | Reference | None = None,
    threads: int = 1,
    batch: int = BATCH,
) -> Scores:
    """All that one pass over the data tells; lower `divergence` ranks candidates that fidelity cannot tell apart.

    Raises:
        DataError: A label lies outside the model's classes.
        UsageError: The original has other outputs than the model, or its reference is of other data.
    """
    session = _session(model, threads)
    theirs = _answers(original, dataset, threads)
    agreement: Agreement | None = None
    right, surprise = [], []
    for indices, feeds, outputs in _runs(session, dataset, batch):
        scores = class_scores(outputs)
        if dataset.labels is not None and scores is not None:
            labels = _labels(dataset.labels, indices, scores.shape[1])
            right.append(_right(scores, labels))
            surprise.append(-log_probabilities(scores)[np.arange(len(labels)), labels])
        if theirs is not None:
            expected = theirs(indices, feeds)
            agreement = agreement or agreement_of(expected)
            agreement.add(outputs, expected)
    return Scores(
        len(dataset),
        accuracy=float(np.concatenate(right).mean()) if right else None,
        cross_entropy=float(np.concatenate(surprise).mean()) if surprise else None,
        fidelity=agreement.fidelity() if agreement else None,
        divergence=agreement.divergence() if agreement else None,
    )


def _session(model: Runnable, threads: int) -> Session:
    return model if isinstance(model, Session) else Session(model, threads)


def _runs(session: Session, dataset: Dataset, batch: int) -> Iterator[tuple[np.ndarray, Arrays, Arrays]]:
    """Runs over a data set; as few samples at a time as keep the outputs of a run within `_MOST_OUTPUT_BYTES`."""
    if len(dataset) == 0:
        raise DataError("the data set holds no samples")
    start, size = 0, batch if _are_sized(session.outputs) else 1
    while start < len(dataset):
        indices = np.arange(start, min(start + size, len(dataset)))
        feeds = dataset.batch(indices)
        outputs = session.by_sample(feeds)
        yield indices, feeds, outputs
        start += size
        bytes_each = sum(y.nbytes for y in outputs.values()) // len(indices)
        size = max(1, min(batch, _MOST_OUTPUT_BYTES // max(1, bytes_each)))


def _are_sized(outputs: tuple[TensorSpec, ...]) -> bool:
    """Whether every output declares its sizes beside the samples, and is small enough for runs of `BATCH` samples."""
    sizes = [size for spec in outputs for size in spec.shape[1:]]
    most = max((math.prod(s for s in spec.shape[1:] if isinstance(s, int)) for spec in outputs), default=0)
    declared = all(isinstance(size, int) for size in sizes) and all(spec.shape for spec in outputs)
    return declared and most * 8 * BATCH <= _MOST_OUTPUT_BYTES


def _answers(original: Runnable | Reference | None, dataset: Dataset, threads: int):
    """A function of (indices, feeds) that gives the original's outputs, or None without an original."""
    if original is None:
        return None
    if isinstance(original, Reference):
        if original.fingerprint != dataset.fingerprint():
            raise UsageError("the reference outputs belong to other data than the data set given")
        return lambda indices, _: {name: y[indices] for name, y in original.outputs.items()}
    session = _session(original, threads)
    return lambda _, feeds: session.by_sample(feeds)


def _labels(all_labels: np.ndarray, indices: np.ndarray, classes: int) -> np.ndarray:
    labels = all_labels[indices]
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if wrong.size:
        label, sample = labels[wrong[0]], indices[wrong[0]]
        raise DataError(f"label {label} of sample {sample} lies outside the model's {classes} classes 0..{classes - 1}")
    return labels


def _right(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each row's largest score is at its label; a row that is not finite is wrong."""
    return (scores.argmax(1) == labels) & np.isfinite(scores).all(1)
