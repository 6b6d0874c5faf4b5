"""Everything a training step reads: samples, labels and the teacher's outputs."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import DataError, UsageError
from pfir.ir.training import TrainingGraph
from pfir.train.canonical.batch import check_inputs
from pfir.train.distributed.share import WHOLE, Share
from pfir.train.feeding.feeder import Arrays, Feeder, ahead
from pfir.train.feeding.teacher import Remembered, Teacher, variance
from pfir.train.settings import Settings

VIEWS = 8
"""Augmented views of each sample that a teacher answers for; from the ninth epoch on its answers are known, which for
ResNet-56 at 2.5x makes an epoch a quarter shorter."""


class Source:
    """The feeds of a training graph, step by step.

    Args:
        graph: Says whether labels and a teacher are needed.
        data: The samples.
        settings: Batch, seed, augmentation, threads.
        share: The part of every batch that is fed.

    Raises:
        DataError: The data is empty, or has no labels or values where the loss needs them.
        UsageError: Mixing or augmentation does not suit the loss.
        TrainingError: An input holds no samples.
    """

    def __init__(self, graph: TrainingGraph, data: Dataset, settings: Settings, share: Share = WHOLE) -> None:
        if not len(data):
            raise DataError("the training data has no samples; give at least one")
        if graph.labels and data.labels is None:
            raise DataError("the loss needs labels and the data has none; give `y`, or a label weight of 0")
        _check_changes(graph, settings)
        if graph.targets and data.targets is None:
            raise DataError("the loss needs values and the data has none; give floats `y`, or a target weight of 0")
        check_inputs(graph.model, data.inputs)
        self._graph, self._data = graph, data
        views = VIEWS if graph.teacher else None
        self._feeder = Feeder(
            data, settings.batch, settings.seed, settings.augment, views, settings.renew, settings.mixing, share
        )
        self.steps_per_epoch = self._feeder.steps_per_epoch
        self.teacher = Teacher(graph, settings.threads) if graph.teacher else None
        # What never comes again is not remembered.
        self._remembered = Remembered(self.teacher, len(data)) if self.teacher and not settings.renew else None

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one sample of every input of the graph."""
        return {n: x.shape[1:] for n, x in self._complete(0, self._inputs(0)).items()}

    def variances(self) -> Arrays:
        """The constants of the graph that hold the variances of the teacher's outputs and of the data's values."""
        found = self.teacher.variances(self._data) if self.teacher else {}
        if self._graph.target_variance and self._data.targets is not None:
            found[self._graph.target_variance] = variance(self._data.targets)
        return found

    def feeds(self, first: int, last: int) -> Generator[Arrays]:
        """The feeds of steps first, ..., last - 1; samples are prepared ahead, the teacher runs when asked."""
        for step, arrays in enumerate(ahead(self._inputs, first, last), start=first):
            yield self._complete(step, arrays)

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


def _check_changes(graph: TrainingGraph, settings: Settings) -> None:
    """Return only if what becomes of the samples keeps their labels and values true."""
    if graph.targets and settings.augment != "none":
        raise UsageError(f"augment is {settings.augment}; values of moved images would move too, so it must be none")
    if settings.mixing and (graph.targets or (graph.labels and not graph.label_partners)):
        raise UsageError("the loss takes one label a sample, so samples cannot be mixed; leave out mixup and cutmix")
    if graph.label_partners and not settings.mixing:
        raise UsageError("the loss takes two labels a sample, and none are mixed; give mixup or cutmix")
