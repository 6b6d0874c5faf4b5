"""Everything a training step reads: samples, labels and the teacher's outputs."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

import numpy as np

from pfir.data.base import Dataset
from pfir.data.files.stored import content_hash
from pfir.errors import DataError, UsageError
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.batch import check_inputs
from pfir.train.distributed.share import WHOLE, Share
from pfir.train.feeding.feeder import Arrays, Feeder, ahead
from pfir.train.feeding.remembered import Remembered
from pfir.train.feeding.teacher import Answers, Teacher, variance
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
        share: The part of every batch that is fed.
        answers: Computes what the teacher does, faster than ONNX Runtime; see Teacher.

    Raises:
        DataError: The data is empty, or has no labels or values where the loss needs them.
        UsageError: Mixing or augmentation does not suit the loss.
        TrainingError: An input holds no samples.
    """

    def __init__(
        self,
        graph: TrainingGraph,
        data: Dataset,
        settings: Settings,
        share: Share = WHOLE,
        answers: Answers | None = None,
    ) -> None:
        if not len(data):
            raise DataError("the training data has no samples; give at least one")
        if graph.labels and data.labels is None:
            raise DataError("the loss needs labels and the data has none; give `y`, or a label weight of 0")
        check_changes(graph, settings)
        if graph.targets and data.targets is None:
            raise DataError("the loss needs values and the data has none; give floats `y`, or a target weight of 0")
        check_inputs(graph.model, data.inputs)
        self._graph, self._data = graph, data
        views = VIEWS if graph.teacher else None
        self._feeder = Feeder(
            data, settings.batch, settings.seed, settings.augment, views, settings.renew, settings.mixing, share
        )
        self.steps_per_epoch = self._feeder.steps_per_epoch
        self.teacher = Teacher(graph, settings.threads, answers) if graph.teacher else None
        # Of several processes each keeps its own answers, in memory.
        kept = settings if share == WHOLE else replace(settings, checkpoint=None)
        self._remembered = _remembered(self.teacher, graph, data, kept) if self.teacher else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of every input of the graph."""
        return {n: x.shape[1:] for n, x in self._complete(0, self._inputs(0)).items()}

    def variances(self) -> Arrays:
        """The constants of the graph that hold the variances of the teacher's outputs and of the data's values."""
        found = self.teacher.variances(self._data) if self.teacher else {}
        if self._graph.target_variance and self._data.targets is not None:
            found[self._graph.target_variance] = variance(self._data.targets)
        return found

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
        inputs = self._feeder.arrays(step)
        arrays = dict(inputs)
        if self._graph.labels:
            arrays[self._graph.labels] = self._feeder.labels(step).astype(np.int64)
        if self._graph.targets and self._data.targets is not None:
            arrays[self._graph.targets] = self._data.targets[self._feeder.indices(step)]
        if self._graph.label_partners and self._graph.label_shares:
            labels, shares = self._feeder.second_labels(step, inputs)
            arrays |= {self._graph.label_partners: labels.astype(np.int64), self._graph.label_shares: shares}
        return arrays

    def _complete(self, step: int, arrays: Arrays) -> Arrays:
        if self._remembered:
            return {**arrays, **self._remembered.outputs(self._feeder.indices(step), self._feeder.view(step), arrays)}
        return {**arrays, **self.teacher.outputs(arrays)} if self.teacher else arrays


def check_changes(graph: TrainingGraph, settings: Settings) -> None:
    """Return only if what becomes of the samples keeps their labels and values true."""
    if graph.targets and settings.augment != "none":
        raise UsageError(f"augment is {settings.augment}; values of moved images would move too, so it must be none")
    if settings.mixing and (graph.targets or (graph.labels and not graph.label_partners)):
        raise UsageError("the loss takes one label a sample, so samples cannot be mixed; leave out mixup and cutmix")
    if graph.label_partners and not settings.mixing:
        raise UsageError("the loss takes two labels a sample, and none are mixed; give mixup or cutmix")


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
    views = (settings.seed, settings.augment, settings.mixing, graph.teacher_inputs)
    return f"{data.fingerprint()} {weights} {nodes} {views}"
