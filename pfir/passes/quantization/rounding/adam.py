"""Adam on one array."""

from __future__ import annotations

import numpy as np

FIRST, SECOND, SMALL = 0.9, 0.999, 1e-8


class Adam:
    """Steps against the gradient, each number's in units of its own recent gradients.

    Args:
        shape: Of the array.

    Source: Kingma and Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, arXiv:1412.6980, algorithm 1, with
    the defaults given there.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._mean, self._square = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        self._steps = 0

    def step(self, array: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Update the array in place."""
        self._steps += 1
        self._mean += np.float32(1 - FIRST) * (gradient - self._mean)
        self._square += np.float32(1 - SECOND) * (gradient * gradient - self._square)
        root = np.sqrt(self._square / np.float32(1 - SECOND**self._steps))
        array -= np.float32(rate / (1 - FIRST**self._steps)) * self._mean / (root + np.float32(SMALL))
