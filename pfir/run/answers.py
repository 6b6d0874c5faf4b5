"""A classifier's answers to labelled samples, and what they say of each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pfir.data.base import Dataset
from pfir.run.classify import class_scores, probabilities
from pfir.run.session import Session

BATCH = 64
BOUND = 2.58
"""Standard errors that a share may be off: 99 %."""

Feeds = dict[str, np.ndarray]
Part = tuple[Dataset, np.ndarray]
"""A labelled data set, and the indices of the samples that are meant."""


@dataclass(frozen=True)
class Answers:
    """What was asked and answered.

    Args:
        labels: int64 [N].
        given: The model's best classes, int64 [N].
        confidence: The mean of its largest probability, in [0, 1]; 0 where its outputs are not finite.
        classes: How many it tells apart.
    """

    labels: np.ndarray
    given: np.ndarray
    confidence: float
    classes: int

    @property
    def count(self) -> int:
        return len(self.labels)

    @property
    def hits(self) -> int:
        return int((self.labels == self.given).sum())

    @property
    def accuracy(self) -> float:
        return self.hits / self.count

    @property
    def chance(self) -> float:
        """The accuracy of answers that are as frequent as these, but know nothing of the labels: Cohen's."""
        return float((self.share_of_labels() * self.share_of_answers()).sum())

    def share_of_labels(self) -> np.ndarray:
        """How frequent each class is among the labels, [K]."""
        return np.bincount(self.labels, minlength=self.classes) / self.count

    def share_of_answers(self) -> np.ndarray:
        """How frequent each class is among the answers, [K]."""
        return np.bincount(self.given, minlength=self.classes) / self.count


def answers(session: Session, parts: Sequence[Part], change: Callable[[Feeds], Feeds] | None = None) -> Answers | None:
    """The model's answers to these samples, their inputs changed first; None if it gives no class scores.

    Samples whose label lies outside the model's classes are left out.
    """
    labels, scores = [], []
    for feeds, wanted in _batches(parts):
        found = class_scores(session.predict(change(feeds) if change else feeds))
        if found is None or len(found) != len(wanted):
            return None
        labels.append(wanted)
        scores.append(found)
    if not labels:
        return None
    return _compared(np.concatenate(labels), np.concatenate(scores))


def bounds(hits: int, count: int) -> tuple[float, float]:
    """The least and the largest share of right answers that so many hits leave likely.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22(158), 1927.
    """
    share, z = hits / count, BOUND**2 / count
    middle, width = share + z / 2, BOUND * float(np.sqrt(share * (1 - share) / count + z / (4 * count)))
    return (middle - width) / (1 + z), (middle + width) / (1 + z)


def _batches(parts: Sequence[Part]) -> Iterator[tuple[Feeds, np.ndarray]]:
    for dataset, indices in parts:
        assert dataset.labels is not None, "answers are held against labels"
        for start in range(0, len(indices), BATCH):
            some = indices[start : start + BATCH]
            yield dataset.batch(some), dataset.labels[some]


def _compared(labels: np.ndarray, scores: np.ndarray) -> Answers | None:
    classes = scores.shape[1]
    known = (labels >= 0) & (labels < classes)
    labels, scores = labels[known], scores[known]
    if not len(labels):
        return None
    finite = np.isfinite(scores).all(1)
    sure = np.zeros(len(labels))
    if finite.any():
        sure[finite] = probabilities(scores[finite]).max(1)
    return Answers(labels, np.nan_to_num(scores).argmax(1), float(sure.mean()), classes)
