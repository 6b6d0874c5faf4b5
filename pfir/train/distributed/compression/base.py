"""What compression asks of a network, and what a training asks of compression."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pfir.train.flat import FlatBuffer


class Collectives(Protocol):
    """Operations that all workers of a group call in the same order.

    Attributes:
        rank: Which worker this is.
        count: How many there are.
        sent_bytes: What this worker has given to the network so far, each value counted once.
    """

    rank: int
    count: int
    sent_bytes: int

    def mean(self, values: np.ndarray) -> None:
        """Each value becomes its mean over the workers, in place; float32 or float16 [size]."""

    def largest(self, value: float) -> float:
        """The largest value of any worker."""

    def gather(self, content: bytes) -> list[bytes]:
        """What each worker gives, in the order of their ranks."""

    def of_first(self, content: bytes) -> bytes:
        """What the first worker gives."""

    def tensor(self, values: np.ndarray) -> Any:
        """These values as a torch tensor where the network reads it: their own memory, or a copy on a GPU."""


class Hook(Protocol):
    """Averages the gradients of a step over the workers."""

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """The gradients become their mean over the workers, or what of it is sent in this step."""

    def forget(self) -> None:
        """Drop what was left to be sent later."""
