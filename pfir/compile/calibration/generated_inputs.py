"""Activations on generated inputs, which are made only once a pass asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np

from pfir.artifact import whole_inputs
from pfir.compile.calibration.ranges import learn_ranges
from pfir.data.base import Dataset
from pfir.data.generated import generated
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.run.activations import activations

COUNT = 128
BATCH = 16


class GeneratedInputs:
    """Inputs in the range that a model tells, for passes that measure and were given no data.

    Args:
        model: As loaded.
        input_shapes: Full shapes by input name, where the model does not tell all sizes.
        seed: Of the inputs.
    """

    def __init__(self, model: Model, input_shapes: Mapping[str, Sequence[int]], seed: int) -> None:
        self._model, self._input_shapes, self._seed = model, input_shapes, seed
        self.notes: tuple[str, ...] = ()
        """What a user should know; nothing as long as no input was made."""

    def activations(self, model: Model, names: Sequence[str]) -> Iterator[Mapping[str, np.ndarray]]:
        """The named tensors, a batch at a time, as `Context` says.

        Raises:
            UsageError: A size of an input is not known.
        """
        return activations(model, names, self._dataset, BATCH)

    @cached_property
    def _dataset(self) -> Dataset:
        inputs = fix_sizes(self._model, None, self._input_shapes).inputs()
        ranges, learned = learn_ranges(self._model, inputs)
        self.notes = (f"No data was given: statistics are those of {COUNT} generated inputs.", *learned)
        return generated(inputs, COUNT, self._seed, ranges, whole_inputs(self._model.inputs()))
