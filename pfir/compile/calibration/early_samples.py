"""The calibration samples of a run for passes in front of its search, opened once one of them asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from pfir.compile.calibration.samples import open_samples
from pfir.compile.request import Request
from pfir.compile.training.gradients import LossGradients
from pfir.compile.training.learning import Learning
from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.ir.training import TrainingGraph
from pfir.run.activations import activations

BATCH = 16


class EarlySamples:
    """The samples that a run calibrates on, before they are opened for all else.

    Args:
        request: Names the data; without any, inputs are generated.
        model: What the samples are for.
        original: The same as loaded.
    """

    def __init__(self, request: Request, model: Model, original: Model) -> None:
        self._request, self._model, self._original = request, model, original

    def activations(self, model: Model, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """As `Context.activations`."""
        return activations(model, names, self._calibration, BATCH)

    def gradients(self, model: Model, names: Sequence[str]) -> Mapping[str, np.ndarray]:
        """As `Context.gradients`."""
        samples = self._calibration
        return LossGradients(self._model, samples, len(samples), self._request.engine)(model, names)

    def train(self, graph: TrainingGraph) -> Mapping[str, np.ndarray]:
        """As `Context.train`."""
        asked = self._request
        return Learning(self._model, self._calibration, asked.seed, engine=asked.engine).train(graph)

    @cached_property
    def _calibration(self) -> Dataset:
        sized = fix_sizes(self._model, self._request.batch, dict(self._request.input_shapes))
        return open_samples(self._request, sized, self._original).calibration
