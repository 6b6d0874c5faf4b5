"""Histograms of tensors over the calibration data, taken in one run of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from pfir.errors import DataError
from pfir.ir.edit import producer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.output_error import samples_of

MOST_BINS = 4096
"""Between half of it and all of it are in use: 8 to 16 for each step of eight bits."""
MOST_VALUES = 1 << 20
"""Values of a batch that are counted; least and greatest are taken of all."""
LEAST_SAMPLES = 8
"""Fewer samples than this tell no range."""
_LEAST_EXPONENT = -120


class Histogram:
    """Counts of values in bins whose width is a power of two; a wider range joins bins in pairs.

    Bins lie at multiples of their width, so the result does not depend on the order of the batches. Zeros are counted
    apart: every grid holds them exactly.
    """

    def __init__(self) -> None:
        self.low, self.high = math.inf, -math.inf
        self.zeros = 0
        self.counts = np.zeros(0, np.int64)
        self._first, self._exponent = 0, _LEAST_EXPONENT

    @property
    def centres(self) -> np.ndarray:
        """float64 [bins]: the middle of each bin."""
        return (self._first + np.arange(self.counts.size) + 0.5) * 2.0**self._exponent

    @property
    def is_constant(self) -> bool:
        """Whether all values are the same."""
        return self.low == self.high

    def add(self, x: np.ndarray) -> None:
        """Count the values of an array, all of them finite; of a large one some, evenly spread."""
        self.low, self.high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        some = x.reshape(-1)[:: max(1, x.size // MOST_VALUES) | 1]
        filled = some[some != 0]
        self.zeros += some.size - filled.size
        if filled.size:
            self._widen()
            places = np.floor(filled * np.float32(2.0**-self._exponent)).astype(np.int64) - self._first
            self.counts += np.bincount(places, minlength=self.counts.size)

    def _widen(self) -> None:
        """Bins from the least to the greatest value, no more than MOST_BINS."""
        if not self.counts.size:
            span = self.high - self.low or abs(self.high)
            self._exponent = max(_LEAST_EXPONENT, math.ceil(math.log2(span / MOST_BINS)))
            self._first = math.floor(self.low * 2.0**-self._exponent)
        while self._last() - min(self._first, self._bin(self.low)) >= MOST_BINS:
            self._join()
        before, behind = self._first - self._bin(self.low), self._last() + 1 - self._first - self.counts.size
        self.counts = np.pad(self.counts, (max(before, 0), max(behind, 0)))
        self._first -= max(before, 0)

    def _bin(self, value: float) -> int:
        return math.floor(value * 2.0**-self._exponent)

    def _last(self) -> int:
        return max(self._bin(self.high), self._first + self.counts.size - 1)

    def _join(self) -> None:
        odd = self._first % 2
        even = np.pad(self.counts, (odd, (self.counts.size + odd) % 2))
        self.counts = even.reshape(-1, 2).sum(axis=1)
        self._first, self._exponent = (self._first - odd) // 2, self._exponent + 1


def observe(model: Model, names: Sequence[str], activations: Activations) -> dict[str, Histogram]:
    """The histogram of each of these tensors over the calibration data.

    Raises:
        DataError: There are fewer than `LEAST_SAMPLES` samples, or a tensor holds NaN or infinite values.
    """
    inputs = [t.name for t in model.graph.inputs]
    found, samples = {name: Histogram() for name in names}, 0
    for batch in activations(model, tuple(dict.fromkeys((*inputs, *names)))):
        samples += samples_of(batch, inputs)
        for name, histogram in found.items():
            _add(model, histogram, name, batch)
    if samples < LEAST_SAMPLES:
        raise DataError(f"{samples} calibration samples are too few to tell ranges; give at least {LEAST_SAMPLES}")
    return found


def _add(model: Model, histogram: Histogram, name: str, batch: Mapping[str, np.ndarray]) -> None:
    values = batch[name]
    if not np.isfinite(values).all():
        node = producer(model.graph.tensors()[name])
        where = "the graph's input" if node is None else f"made by {node.op} {node.name}"
        raise DataError(f"tensor {name}, {where}, is NaN or infinite on calibration data; look at the data's scale")
    if values.size:
        histogram.add(values)
