"""Everything a training step reads: samples, labels and the teacher's outputs."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from pfir.data.base import Dataset
from pfir.data.files.stored import content_hash
from pfir.errors import DataError
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.batch import check_inputs
from pfir.train.feeding.feeder import Arrays, Feeder, ahead
from pfir.train.feeding.remembered import Remembered
from pfir.train.feeding.teacher import Answers, Teacher
from pfir.train.settings import Settings

VIEWS = 8
"""Augmented views of each sample that a teacher answers for; from the ninth epoch on its answers are known, which for
ResNet-56 at 2.5x makes an epoch a quarter shorter."""


class Source:
    """The feeds of a training graph, step by step.

    Args:
        graph: Says whether labels and a teacher are needed.
        data: The samples.
        settings: Batch, seed, augmentation, threads; beside its checkpoint the teacher's answers are kept.
        answers: Computes what the teacher does, faster than ONNX Runtime; see Teacher.

    Raises:
        DataError: The data is empty, or has no labels where the loss needs them.
        TrainingError: An input holds no samples.
    """

    def __init__(self, graph: TrainingGraph, data: Dataset, settings: Settings, answers: Answers | None = None) -> None:
        if not len(data):
            raise DataError("the training data has no samples; give at least one")
        if graph.labels and data.labels is None:
            raise DataError("the loss needs labels and the data has none; give `y`, or a label weight of 0")
        check_inputs(graph.model, data.inputs)
        self._graph, self._data = graph, data
        views = VIEWS if graph.teacher else None
        self._feeder = Feeder(data, settings.batch, settings.seed, settings.augment, views, settings.renew)
        self.steps_per_epoch = self._feeder.steps_per_epoch
        self.teacher = Teacher(graph, settings.threads, answers) if graph.teacher else None
        self._remembered = _remembered(self.teacher, graph, data, settings) if self.teacher else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of every input of the graph."""
        return {n: x.shape[1:] for n, x in self._complete(0, self._inputs(0)).items()}

    def variances(self) -> Arrays:
        """The constants of the graph that hold the variances of the teacher's outputs."""
        return self.teacher.variances(self._data) if self.teacher else {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of how the teacher answered."""
        return (self.teacher.notes if self.teacher else ()) + (self._remembered.notes if self._remembered else ())

    def feeds(self, first: int, last: int) -> Generator[Arrays]:
        """The feeds of steps first, ..., last - 1, samples and the teacher's answers made while the student learns."""
        return ahead(lambda step: self._complete(step, self._inputs(step)), first, last)

    def close(self) -> None:
        if self.teacher:
            self.teacher.close()

    def _inputs(self, step: int) -> Arrays:
        arrays = self._feeder.arrays(step)
        if self._graph.labels:
            arrays[self._graph.labels] = self._feeder.labels(step).astype(np.int64)
        return arrays

    def _complete(self, step: int, arrays: Arrays) -> Arrays:
        if self._remembered:
            return {**arrays, **self._remembered.outputs(self._feeder.indices(step), self._feeder.view(step), arrays)}
        return {**arrays, **self.teacher.outputs(arrays)} if self.teacher else arrays


def _remembered(teacher: Teacher, graph: TrainingGraph, data: Dataset, settings: Settings) -> Remembered | None:
    """What keeps the teacher's answers; what never comes again is not kept."""
    if settings.renew:
        return None
    folder = settings.checkpoint and settings.checkpoint.with_suffix(".answers")
    return Remembered(teacher, len(data), folder, _key(graph, data, settings) if folder else "")


def _key(graph: TrainingGraph, data: Dataset, settings: Settings) -> str:
    """Whose answers to what."""
    assert graph.teacher is not None, "the graph has a teacher"
    weights = content_hash({name: t.values for name, t in graph.teacher.initializers().items()})
    nodes = [(n.op, [t.name for t in n.inputs], repr(n.attrs)) for n in graph.teacher.graph.nodes]
    views = (settings.seed, settings.augment, graph.teacher_inputs)
    return f"{data.fingerprint()} {weights} {nodes} {views}"
