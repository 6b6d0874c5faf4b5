"""How far the outputs of a quantized model are from those of the float one, on some of the calibration data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from pfir.ir.model import Model
from pfir.passes.base import Activations

MOST_SAMPLES = 64
"""Outputs are compared on so many samples."""


class OutputError:
    """The relative squared error of outputs against those of a float model, which are kept.

    Args:
        model: The float model; it may change afterwards.
        activations: Runs a model on the calibration data.
    """

    def __init__(self, model: Model, activations: Activations) -> None:
        self._activations = activations
        self._wanted = self._outputs(model)

    def of(self, model: Model) -> float:
        """Squared error over variance, averaged over the outputs of numbers; 0 where all are the same."""
        given = self._outputs(model)
        errors = [_relative(y, given[name]) for name, y in self._wanted.items() if y.dtype.kind in "fiub"]
        return float(np.mean(errors)) if errors else 0.0

    def _outputs(self, model: Model) -> dict[str, np.ndarray]:
        names = [t.name for t in model.graph.outputs]
        batches = list(some_samples(model, names, self._activations, MOST_SAMPLES))
        return {name: np.concatenate([np.atleast_1d(batch[name]) for batch in batches]) for name in names}


def some_samples(
    model: Model, names: Sequence[str], activations: Activations, most: int
) -> Iterator[Mapping[str, np.ndarray]]:
    """The named tensors on the first batches of the calibration data, as many as hold that many samples."""
    inputs = [t.name for t in model.graph.inputs]
    seen = 0
    for batch in activations(model, tuple(dict.fromkeys((*inputs, *names)))):
        yield batch
        seen += samples_of(batch, inputs)
        if seen >= most:
            return


def samples_of(batch: Mapping[str, np.ndarray], inputs: Sequence[str]) -> int:
    """How many samples a batch of these inputs holds."""
    return max((len(batch[name]) for name in inputs if batch[name].ndim), default=1)


def _relative(wanted: np.ndarray, given: np.ndarray) -> float:
    wanted, given = wanted.astype(np.float64), given.astype(np.float64)
    error = np.square(given - wanted).sum()
    return (
        float(error / max(np.square(wanted - wanted.mean(axis=0)).sum(), np.finfo(np.float64).tiny)) if error else 0.0
    )
