"""The error that a layer makes with other weights, behind its Relu or Clip, and its gradient."""

from __future__ import annotations

import numpy as np

from pfir.passes.pruning.consumer_matrix import ConsumerMatrix
from pfir.passes.quantization.rounding.rows import Rows

CHUNK = 4096
"""Rows whose error is taken at once."""


class Objective:
    """The squared error of a layer's outputs: the mean over rows of the sum over outputs.

    Args:
        weight: The float weights.
        scale: Of the integers in their place, broadcasts to the weight.
        factor: What the layer multiplies its products by.
        matrix: How the layer contracts.
        rows: Its inputs in the quantized model, and what the float model gives.
        bounds: Least and largest value that gets through behind the layer.
        bias: What is added to the product, [O]; None where nothing is, and nothing may be.

    Attributes:
        weight: The float weights, [G, O, F].
        scale: [G, O, 1].
        has_bias: Whether a bias can carry what is lacking on average.
        count: How many rows there are.
    """

    def __init__(
        self,
        weight: np.ndarray,
        scale: np.ndarray,
        factor: float,
        matrix: ConsumerMatrix,
        rows: Rows,
        bounds: tuple[float, float],
        bias: np.ndarray | None = None,
    ) -> None:
        self.weight = matrix.matrix(weight).astype(np.float32)
        self.scale = matrix.matrix(np.broadcast_to(scale, weight.shape))[:, :, :1].astype(np.float32)
        self.count = rows.inputs.shape[1]
        self.has_bias = bias is not None
        outputs = self.weight.shape[:2]
        added = 0.0 if bias is None else bias.reshape(outputs[0], 1, outputs[1])
        self._added = rows.beside + np.float32(added)
        self._inputs, self._factor = rows.inputs, np.float32(factor)
        self._least, self._most = (np.float32(bound) for bound in bounds)
        self._before = rows.wanted
        self._wanted = np.clip(rows.wanted, self._least, self._most)

    def gradient(self, weight: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """By the weights [G, O, F], of the error on these rows."""
        x = self._inputs[:, rows]
        y = self._outputs(weight, rows)
        gap = np.clip(y, self._least, self._most) - self._wanted[:, rows]
        gap *= (y > self._least) & (y < self._most)
        return np.float32(2.0 / len(rows)) * self._factor * np.matmul(gap.swapaxes(1, 2), x)

    def error(self, weight: np.ndarray, shift: np.ndarray | float = 0.0) -> float:
        """On all rows, with this number [G * O] added to each output."""
        groups, outputs, _ = self.weight.shape
        shift = np.broadcast_to(np.float32(shift), groups * outputs).reshape(groups, 1, outputs)
        total = 0.0
        for part in self._parts():
            y = np.clip(self._outputs(weight, part) + shift, self._least, self._most)
            total += float(np.square(y - self._wanted[:, part]).sum(dtype=np.float64))
        return total / self.count

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """E[x x^T], float64 [G, F, F], and E[y x^T], [G, O, F], of inputs x and the outputs y that W x should give.

        Where there is a bias to carry the means, they are those of the deviations from them.
        """
        x, y = self._inputs, (self._before - self._added) / self._factor
        if self.has_bias:
            x, y = (part - part.mean(1, dtype=np.float64, keepdims=True).astype(np.float32) for part in (x, y))
        second, cross = (np.matmul(part.swapaxes(1, 2), x).astype(np.float64) / self.count for part in (x, y))
        return second, cross

    def gap(self, weight: np.ndarray) -> np.ndarray:
        """What these weights lack on average before any Relu or Clip, float32 [G * O]."""
        total = sum(
            (self._before[:, part] - self._outputs(weight, part)).sum(1, dtype=np.float64) for part in self._parts()
        )
        return np.ravel(total / self.count).astype(np.float32)

    def _parts(self) -> list[slice]:
        return [slice(start, start + CHUNK) for start in range(0, self.count, CHUNK)]

    def _outputs(self, weight: np.ndarray, rows: slice | np.ndarray) -> np.ndarray:
        return self._factor * np.matmul(self._inputs[:, rows], weight.swapaxes(1, 2)) + self._added[:, rows]
