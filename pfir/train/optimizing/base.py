"""What an optimizer promises, and the limit on a gradient's length that all have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

Arrays = Mapping[str, np.ndarray]


class Optimizer(Protocol):
    """Moves flat parameters against a flat gradient."""

    def step(self, parameters: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Update the parameters in place; the gradient is used up.

        Args:
            parameters: float32 [size].
            gradient: float32 [size], finite.
            rate: The learning rate of this step.
        """

    def state(self) -> dict[str, np.ndarray]:
        """What the next step depends on beside parameters and gradient, by name: the arrays themselves."""

    def restore(self, arrays: Arrays) -> None:
        """Go back to a state, which stays as it is."""


def limit(gradient: np.ndarray, clip: float | None) -> None:
    """Shorten the gradient in place to an L2 norm of `clip` at most; None for no limit."""
    if clip is None:
        return
    norm = float(np.linalg.norm(gradient))
    if norm > clip:
        gradient *= np.float32(clip / norm)


def copy_into(state: Arrays, arrays: Arrays) -> None:
    """Overwrite each array of a state with that of the same name."""
    for name, array in state.items():
        array[...] = arrays[name]
