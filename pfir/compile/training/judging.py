"""What tells which of two models is nearer to the original: samples that neither has learnt by heart."""

from __future__ import annotations

import hashlib

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import is_classifier
from pfir.run.evaluate import Reference, Scores, evaluate, reference
from pfir.run.session import Session
from pfir.train.feeding.augment import View, draw, flip_crop

VIEWS, MOST_VIEWS, FEW = 2, 8, 64
"""How often each sample is seen, moved otherwise each time: twice, and of few samples so often that these are as many
as the last, eight times at most."""
SAME_WHEN_FLIPPED = 0.85
"""Images whose mirror image the original puts into the same class this often may be mirrored in training."""


class Judge:
    """Scores models against the original on samples that are kept back from training; each model once.

    Those are samples of `--validation`, where it is given: the original has most likely learnt its own training samples
    by heart, and what is cut out of it still knows them better than any others, so that on them training seems to
    help less than it does. Without it images that may be mirrored are judged in other views.

    Args:
        teacher: The original.
        samples: Of the run.
        threads: That models run on.
        seed: Of the views.
    """

    def __init__(self, teacher: Model, samples: Samples, threads: int = 1, seed: int = 0) -> None:
        self.augment = augmentation(teacher, samples.train) if samples.kind == "given" else "none"
        self._teacher, self._threads = teacher, threads
        judging = samples.judging
        self._kept_back = viewed(judging, seed, views_of(judging)) if self.augment == "flip-crop" else judging
        self._unseen = samples.unseen or self._kept_back
        self._known: dict[int, tuple[Model, dict[int, Scores]]] = {}
        self._references: dict[int, Reference] = {}

    def scores(self, model: Model) -> Scores:
        """On what training chooses by: never a sample of `--validation`."""
        return self._on(self._kept_back, model)

    def is_worse(self, model: Model, before: Model) -> bool:
        """Whether a model is farther from the original than the one before it, and agrees with it less often."""
        one, other = self._on(self._unseen, model), self._on(self._unseen, before)
        return one.divergence > other.divergence and one.fidelity < other.fidelity

    def _on(self, data: Dataset, model: Model) -> Scores:
        known = self._known.setdefault(id(model), (model, {}))[1]
        if id(data) not in known:
            known[id(data)] = evaluate(model, data, self._reference(data), self._threads)
        return known[id(data)]

    def _reference(self, data: Dataset) -> Reference:
        if id(data) not in self._references:
            self._references[id(data)] = reference(self._teacher, data, self._threads)
        return self._references[id(data)]


def augmentation(teacher: Model, data: Dataset) -> str:
    """`flip-crop` for images that the original classifies alike when mirrored, else `none`, as for values of images."""
    if data.targets is not None:
        return "none"
    probe = data.batch(np.arange(min(len(data), 256)))
    if len(probe) != 1 or next(iter(probe.values())).ndim != 4 or not is_classifier(teacher):
        return "none"
    name, images = next(iter(probe.items()))
    mirrored = np.ascontiguousarray(np.flip(images, 2 if images.shape[3] < images.shape[1] else 3))
    session = Session(teacher)
    answers = [next(iter(session.predict({name: x}).values())).argmax(1) for x in (images, mirrored)]
    return "flip-crop" if np.mean(answers[0] == answers[1]) >= SAME_WHEN_FLIPPED else "none"


def views_of(data: Dataset) -> int:
    """How often each of these samples is seen."""
    return min(max(VIEWS, -(-FEW // len(data))), MOST_VIEWS)


def viewed(data: Dataset, seed: int = 0, views: int = VIEWS) -> Dataset:
    """Each sample in several fixed views, mirrored and moved as in training; all first views, then all second ones."""
    return _Viewed(data, seed, views)


class _Viewed(Dataset):
    def __init__(self, data: Dataset, seed: int, views: int) -> None:
        self._data, self._seed, self._views = data, seed, views
        self.inputs, self.kind, self.notes = data.inputs, data.kind, data.notes
        self.labels = None if data.labels is None else np.tile(data.labels, views)
        self.targets = None if data.targets is None else np.concatenate([data.targets] * views)
        self._view = draw(np.random.default_rng([seed, 2]), len(self))

    def __len__(self) -> int:
        return self._views * len(self._data)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        view: View = self._view.of(indices)
        arrays = self._data.batch(indices % len(self._data))
        return {name: flip_crop(x, view) if x.ndim == 4 else x for name, x in arrays.items()}

    def fingerprint(self) -> str:
        text = f"{self._data.fingerprint()} in {self._views} views of seed {self._seed}"
        return hashlib.sha256(text.encode()).hexdigest()
