"""Mean and variance of each channel of a model's tensors over the calibration data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import DataError
from pfir.ir.model import Model
from pfir.passes.base import Activations

# A channel that hardly varies on the calibration data gets at least this share of its layer's mean variance: whoever
# divides by its deviation would otherwise divide by next to nothing.
SMALLEST_SHARE = 1e-4
# Elements of one sample that are looked at in one run over the data: half a gigabyte at a batch of 64.
LARGEST_SAMPLE = 1 << 21

Statistics = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Tensor to the mean and variance of each of its channels, float64 [C]."""


def channel_statistics(model: Model, activations: Activations, tensors: Sequence[gs.Tensor]) -> Statistics:
    """Mean and variance of each channel (axis 1) of these tensors [N, C, *d]; variances are those of the population.

    Raises:
        DataError: The calibration data holds nothing, or gives values that are not finite.
    """
    sums: dict[str, _Moments] = {}
    for names in _chunks(tensors):
        for values in activations(model, names):
            for name in names:
                sums.setdefault(name, _Moments()).add(values[name])
    if tensors and not sums:
        raise DataError("the calibration data holds no sample, and the mean of a channel needs some")
    for name, moments in sums.items():
        if not np.isfinite(moments.squares).all():
            raise DataError(f"tensor {name} is not finite on the calibration data")
    return {name: (moments.mean, moments.squares / moments.count) for name, moments in sums.items()}


def usable(variance: np.ndarray) -> np.ndarray:
    """The variances [C], raised where a channel hardly varies, so that its deviation may be divided by."""
    return np.maximum(variance, SMALLEST_SHARE * variance.mean())


def _chunks(tensors: Sequence[gs.Tensor]) -> Iterator[list[str]]:
    """The names in order, cut into runs whose values of a batch fit into memory together."""
    chunk: list[str] = []
    elements = 0
    for tensor in tensors:
        size = math.prod(d for d in (tensor.shape or [])[1:] if isinstance(d, int))
        if chunk and elements + size > LARGEST_SAMPLE:
            yield chunk
            chunk, elements = [], 0
        chunk.append(tensor.name)
        elements += size
    if chunk:
        yield chunk


class _Moments:
    """Mean and sum of squared deviations per channel, merged batch by batch.

    Source: Chan, Golub, LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean: np.ndarray = np.zeros(())
        self.squares: np.ndarray = np.zeros(())

    def add(self, batch: np.ndarray) -> None:
        """Take in a batch [N, C, *k]."""
        x = np.moveaxis(batch.astype(np.float64), 1, 0).reshape(batch.shape[1], -1)
        count, mean = x.shape[1], x.mean(axis=1)
        squares = ((x - mean[:, None]) ** 2).sum(axis=1)
        total = self.count + count
        delta = mean - self.mean
        self.squares = self.squares + squares + delta**2 * self.count * count / total
        self.mean = self.mean + delta * count / total
        self.count = total
