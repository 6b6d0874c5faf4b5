"""The error that a layer makes with other weights, behind its Relu or Clip, and its gradient."""

from __future__ import annotations

import numpy as np

from pfir.passes.pruning.consumer_matrix import ConsumerMatrix
from pfir.passes.quantization.rounding.layers import QuantizedLayer
from pfir.passes.quantization.rounding.rows import Rows

CHUNK = 4096
"""Rows whose error is taken at once."""


class Objective:
    """The squared error of a layer's outputs: the mean over rows of the sum over outputs.

    Args:
        layer: Tells bias, factor and what follows.
        matrix: How the layer contracts.
        rows: Its inputs in the quantized model, and what the float model gives.

    Attributes:
        weight: The float weights, [G, O, F].
        scale: [G, O, 1].
        count: How many rows there are.
    """

    def __init__(self, layer: QuantizedLayer, matrix: ConsumerMatrix, rows: Rows) -> None:
        self.weight = matrix.matrix(layer.weight).astype(np.float32)
        self.scale = matrix.matrix(np.broadcast_to(layer.scale, layer.weight.shape))[:, :, :1].astype(np.float32)
        self.count = rows.inputs.shape[1]
        bias = np.zeros(self.weight.shape[:2], np.float32) if layer.bias is None else layer.bias
        self._bias = np.broadcast_to(bias.reshape(-1), self.weight.shape[0] * self.weight.shape[1])
        self._bias = self._bias.reshape(len(self.weight), 1, -1)
        self._inputs, self._factor = rows.inputs, np.float32(layer.factor)
        self._least, self._most = (np.float32(bound) for bound in layer.bounds)
        self._before = rows.wanted
        self._wanted = np.clip(rows.wanted, self._least, self._most)

    def gradient(self, weight: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """By the weights [G, O, F], of the error on these rows."""
        x = self._inputs[:, rows]
        y = self._outputs(weight, x)
        gap = np.clip(y, self._least, self._most) - self._wanted[:, rows]
        gap *= (y > self._least) & (y < self._most)
        return np.float32(2.0 / len(rows)) * self._factor * np.matmul(gap.swapaxes(1, 2), x)

    def error(self, weight: np.ndarray) -> float:
        """On all rows."""
        total = 0.0
        for start in range(0, self.count, CHUNK):
            part = slice(start, start + CHUNK)
            y = np.clip(self._outputs(weight, self._inputs[:, part]), self._least, self._most)
            total += float(np.square(y - self._wanted[:, part]).sum(dtype=np.float64))
        return total / self.count

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """E[x x^T], float64 [G, F, F], and E[y x^T], [G, O, F], of inputs x and the outputs y that W x should give."""
        x = self._inputs
        second = np.matmul(x.swapaxes(1, 2), x).astype(np.float64) / self.count
        products = (self._before - self._bias) / self._factor
        return second, np.matmul(products.swapaxes(1, 2), x).astype(np.float64) / self.count

    def _outputs(self, weight: np.ndarray, x: np.ndarray) -> np.ndarray:
        return self._factor * np.matmul(x, weight.swapaxes(1, 2)) + self._bias
