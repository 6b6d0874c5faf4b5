"""Sums that tell, batch by batch, how like two models' outputs are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

import numpy as np

from pfir.errors import UsageError
from pfir.run.classify import class_scores, log_probabilities

Arrays = Mapping[str, np.ndarray]

# What NaN, infinite or constant outputs are charged with: worse than any sane candidate, yet a number.
WORST = 1e6


class Agreement(ABC):
    """Takes outputs and expected outputs in batches, then tells fidelity in [0, 1] and divergence >= 0."""

    @abstractmethod
    def add(self, outputs: Arrays, expected: Arrays) -> None: ...

    @abstractmethod
    def fidelity(self) -> float: ...

    @abstractmethod
    def divergence(self) -> float: ...


def agreement_of(expected: Arrays) -> Agreement:
    """The kind that suits outputs like these."""
    # [N, K, 1, 1] may be a classifier or a regressor: only labels could tell, so distances are the safe reading.
    ranks = {y.ndim for y in expected.values()}
    single = len(expected) == 1 and ranks == {2}
    return _TopOne() if single and class_scores(expected) is not None else _Distances()


class _TopOne(Agreement):
    """Share of equal top-1 classes; mean KL(expected || outputs)."""

    def __init__(self) -> None:
        self._samples, self._equal, self._sum = 0, 0, 0.0

    def add(self, outputs: Arrays, expected: Arrays) -> None:
        _same_outputs(outputs, expected)
        ours, theirs = class_scores(outputs), class_scores(expected)
        assert ours is not None and theirs is not None, "`agreement_of` has seen scores of classes"
        sane = np.isfinite(ours).all(1)
        self._samples += len(ours)
        self._equal += int(((ours.argmax(1) == theirs.argmax(1)) & sane).sum())
        log_q, log_p = log_probabilities(ours[sane]), log_probabilities(theirs[sane])
        self._sum += float((np.exp(log_p) * (log_p - log_q)).sum()) + WORST * int((~sane).sum())

    def fidelity(self) -> float:
        return self._equal / self._samples

    def divergence(self) -> float:
        return min(max(0.0, self._sum / self._samples), WORST)


class _Distances(Agreement):
    """Mean over outputs of max(0, 1 - ||y - y0|| / ||y0 - mean y0||); mean of the squared quotient."""

    def __init__(self) -> None:
        self._sums: dict[str, _Sums] = {}

    def add(self, outputs: Arrays, expected: Arrays) -> None:
        _same_outputs(outputs, expected)
        for name, y0 in expected.items():
            self._sums.setdefault(name, _Sums(y0)).add(outputs[name], y0)

    def fidelity(self) -> float:
        return float(np.mean([max(0.0, 1 - s.quotient()) for s in self._sums.values()]))

    def divergence(self) -> float:
        return float(np.mean([min(s.quotient() ** 2, WORST) for s in self._sums.values()]))


class _Sums:
    """Squared error and squared spread of one output; sums are taken around its first sample, against cancellation."""

    def __init__(self, first: np.ndarray) -> None:
        self._origin = np.atleast_1d(first)[0].astype(np.float64)
        self._total = np.zeros_like(self._origin)
        self._squares = self._error = 0.0
        self._count = 0

    def add(self, y: np.ndarray, y0: np.ndarray) -> None:
        y, y0 = np.atleast_1d(y), np.atleast_1d(y0)
        centred = y0.astype(np.float64) - self._origin
        self._total += centred.sum(0)
        self._squares += float((centred**2).sum())
        self._error += float(((y.astype(np.float64) - y0) ** 2).sum())
        self._count += len(y0)

    def quotient(self) -> float:
        """||y - y0|| / ||y0 - mean y0||; an output that never changes must be met to float32 rounding."""
        if not np.isfinite(self._error):
            return WORST
        spread = self._squares - float((self._total**2).sum()) / self._count
        rounding = self._count * float((self._origin**2).sum()) * np.finfo(np.float32).eps ** 2
        if spread <= rounding:
            return 0.0 if self._error <= 16 * rounding else WORST
        return float(np.sqrt(self._error / spread))


def _same_outputs(outputs: Arrays, expected: Arrays) -> None:
    for name, y0 in expected.items():
        if name not in outputs:
            raise UsageError(f"output {name} of the original is missing; the model has {', '.join(outputs)}")
        if outputs[name].shape != y0.shape:
            raise UsageError(f"output {name} is {list(outputs[name].shape)}, the original's is {list(y0.shape)}")
