"""Training graphs on the calibration data, for passes: their labels, their gradients and a few steps of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.base import Context, Slopes, Steps
from pfir.run.classify import class_scores
from pfir.run.session import Session
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.feeding.remembered import Remembered
from pfir.train.feeding.teacher import Teacher
from pfir.train.mean_gradients import differentiable_as_a_whole
from pfir.train.session import TrainSession
from pfir.train.settings import Settings
from pfir.train.steps import Steps as Stepping
from pfir.train.trainer import fit

BATCH = 32
TRAINED_SAMPLES = 2048
"""Samples, with repetition, that one call of `train` sees: 64 steps."""
LEARNING_RATE = 1e-3
CLIP = 2.0

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Learning:
    """The callables `labels`, `differentiate`, `steps` and `train` of a Context.

    Args:
        original: Gives the labels of data without any: the class that it finds.
        data: Samples; means leave out those beyond a multiple of the batch (32).
        seed: What decides the order of training.
        jobs: How many threads train.
        engine: What differentiates (`--engine`).
    """

    original: Model
    data: Dataset
    seed: int = 0
    jobs: int = 1
    engine: str = AUTO_ENGINE

    def given_to(self, context: Context, train: bool) -> Context:
        """The context with these callables; `train` is among them only if it is asked for."""
        return replace(
            context,
            labels=self.labels,
            differentiate=self.differentiate,
            steps=self.steps,
            train=self.train if train else None,
        )

    def labels(self) -> np.ndarray:
        """The labels of the data, else the original's answers, int64 [N]."""
        if self.data.labels is not None:
            return np.asarray(self.data.labels).astype(np.int64)
        session = Session(self.original)
        starts = range(0, len(self.data), BATCH)
        parts = [np.arange(at, min(at + BATCH, len(self.data))) for at in starts]
        return np.concatenate([class_scores(session.predict(self.data.batch(p))).argmax(1) for p in parts])

    def differentiate(self, graph: TrainingGraph) -> Slopes:
        """Loss and gradients as means over the data, BatchNormalization acting as in inference.

        Raises:
            UsageError: An operator between weights and loss has no gradient.
        """
        try:
            whole = differentiable_as_a_whole(replace(graph, frozen_batch_norm=True))
            return _Differentiated(whole, self._labelled(graph), self.engine)
        except TrainingError as error:
            raise UsageError(f"no gradients to rank channels by: {error}; choose another criterion") from error

    def steps(self, graph: TrainingGraph, feeds: Mapping[str, np.ndarray]) -> Steps:
        """Loss and gradients on batches that are fed, of the sizes of this one.

        Raises:
            UsageError: An operator between weights and loss has no gradient.
        """
        try:
            return Stepping(graph, feeds, self.jobs, self.engine)
        except TrainingError as error:
            raise UsageError(f"nothing can be learnt step by step: {error}") from error

    def train(self, graph: TrainingGraph) -> Arrays:
        """The trainable initializers of a graph after a few epochs, 2048 samples in all.

        Raises:
            UsageError: The graph cannot be trained.
        """
        data = self._labelled(graph)
        batch = min(BATCH, len(data))
        epochs = max(1, TRAINED_SAMPLES // len(data))
        settings = Settings(
            epochs=epochs,
            batch=batch,
            learning_rate=LEARNING_RATE,
            clip=CLIP,
            seed=self.seed,
            jobs=self.jobs,
            engine=self.engine,
        )
        try:
            return fit(graph, data, settings).arrays
        except TrainingError as error:
            raise UsageError(f"no training between the stages: {error}; choose another criterion") from error

    def _labelled(self, graph: TrainingGraph) -> Dataset:
        missing = graph.labels is not None and self.data.labels is None
        return _Answered(self.data, self.labels()) if missing else self.data


class _Answered(Dataset):
    """Samples with labels that they did not come with."""

    def __init__(self, data: Dataset, labels: np.ndarray) -> None:
        self._data, self.labels = data, labels
        self.inputs, self.kind, self.notes = data.inputs, data.kind, data.notes

    def __len__(self) -> int:
        return len(self._data)

    def batch(self, indices: np.ndarray) -> Arrays:
        return self._data.batch(indices)

    def fingerprint(self) -> str:
        return f"{self._data.fingerprint()} answered"


class _Differentiated:
    """A training graph in a session; each call sets some trainable initializers and goes once through the data."""

    def __init__(self, graph: TrainingGraph, data: Dataset, engine: str) -> None:
        self._data, self._labels = data, graph.labels
        self._batch = min(BATCH, len(data))
        self._teacher = Teacher(graph, 1) if graph.teacher else None
        self._remembered = Remembered(self._teacher, len(data)) if self._teacher else None
        if graph.variances:
            model = graph.model.clone()
            model.set_arrays(self._teacher.variances(data))
            graph = replace(graph, model=model)
        shapes = {name: x.shape[1:] for name, x in self._feeds(0).items()}
        self._session = TrainSession(graph, shapes, self._batch, engine=engine)

    def __call__(self, arrays: Mapping[str, np.ndarray]) -> tuple[float, Arrays]:
        parameters, gradients = self._session.parameters.views, self._session.gradients
        for name, array in arrays.items():
            parameters[name][...] = array
        steps = len(self._data) // self._batch
        total, loss = np.zeros(gradients.flat.size), 0.0
        for step in range(steps):
            loss += self._session.step(self._feeds(step)).loss
            total += gradients.flat
        gradients.flat[:] = total / steps
        return loss / steps, {name: view.copy() for name, view in gradients.views.items()}

    def _feeds(self, step: int) -> Arrays:
        indices = np.arange(step * self._batch, (step + 1) * self._batch)
        feeds = dict(self._data.batch(indices))
        taught = self._remembered.outputs(indices, 0, feeds) if self._remembered else {}
        labels = {self._labels: self._data.labels[indices].astype(np.int64)} if self._labels else {}
        return {**feeds, **taught, **labels}
