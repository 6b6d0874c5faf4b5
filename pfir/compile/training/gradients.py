"""Gradients for the criteria that rank channels by them: of which loss, on which samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher, is_classifier
from pfir.run.classify import class_scores
from pfir.run.session import Session
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.mean_gradients import mean_gradients

BATCH = 32

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class LossGradients:
    """Gradients of the loss on a data set, as the callable `Context.gradients`.

    A classifier's loss is the cross-entropy with the labels or, without any, with the original's own answers. Any other
    model's is the squared error against the original's mean output: the likeness to the original itself is at its
    minimum where nothing was removed yet, and has no gradient there.

    Args:
        original: Gives the answers; the model asked about may be a smaller version of it.
        data: Samples, with labels or without; those beyond a multiple of the batch (32) are left out.
        limit: Samples to use at most.
        engine: What differentiates (`--engine`).
    """

    original: Model
    data: Dataset
    limit: int
    engine: str = AUTO_ENGINE

    def __call__(self, model: Model, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """Gradients of those named initializers that the loss depends on, averaged over the samples.

        Raises:
            UsageError: An operator between weights and outputs has no gradient.
        """
        try:
            graph, batches = self._classes(model) if is_classifier(model) else self._values(model)
            asked = tuple(name for name in graph.trainable if name in set(names))
            return mean_gradients(replace(graph, trainable=asked), batches, engine=self.engine)
        except TrainingError as error:
            raise UsageError(f"no gradients to rank channels by: {error}; choose another criterion") from error

    def _classes(self, model: Model) -> tuple[TrainingGraph, Iterator[Arrays]]:
        graph = attach_teacher(model, None, DistillationSettings(label_weight=1.0))
        return graph, ({**feeds, graph.labels: labels} for feeds, labels in self._labelled())

    def _labelled(self) -> Iterator[tuple[Arrays, np.ndarray]]:
        session = Session(self.original) if self.data.labels is None else None
        for indices, feeds in self._batches():
            given = class_scores(session.predict(feeds)).argmax(1) if session else self.data.labels[indices]
            yield feeds, given.astype(np.int64)

    def _values(self, model: Model) -> tuple[TrainingGraph, Iterator[Arrays]]:
        graph = attach_teacher(model, self.original)
        answers = self._answers(graph)
        means = {ours: answers[name].mean(0, dtype=np.float64) for name, ours in graph.teacher_inputs.items()}
        variances = {
            constant: np.array(max(answers[name].var(0, dtype=np.float64).mean(), 1e-12), np.float32)
            for name, constant in graph.variances.items()
        }
        sized = graph.model.clone()
        sized.set_arrays(variances)
        return replace(graph, model=sized), ({**feeds, **_repeated(means, len(i))} for i, feeds in self._batches())

    def _answers(self, graph: TrainingGraph) -> Arrays:
        session = Session(graph.teacher)
        parts = [session.predict(feeds) for _, feeds in self._batches()]
        return {name: np.concatenate([part[name] for part in parts]) for name in graph.teacher_inputs}

    def _batches(self) -> Iterator[tuple[np.ndarray, Arrays]]:
        count = min(len(self.data), self.limit)
        size = min(BATCH, count)
        for start in range(0, count - size + 1, max(size, 1)) if count else ():
            indices = np.arange(start, start + size)
            yield indices, self.data.batch(indices)


def _repeated(means: Arrays, count: int) -> Arrays:
    return {name: np.repeat(mean[None].astype(np.float32), count, axis=0) for name, mean in means.items()}
