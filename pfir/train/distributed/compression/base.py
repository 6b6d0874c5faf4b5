"""What compression asks of a network, and what a training asks of compression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from pfir.train.flat import FlatBuffer

Arrays = Mapping[str, np.ndarray]

LEFT, STEP = "left", "step"
"""In a hook's state: what it keeps back of gradients, float32 [size], and how many it has seen."""


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

    def to_first(self, content: bytes) -> list[bytes]:
        """What each worker gives, in the order of their ranks, as the first one gets it; nothing for the others."""

    def from_first(self, contents: list[bytes]) -> bytes:
        """What the first worker has for this one; it alone gives something, for each worker in the order of ranks."""

    def tensor(self, values: np.ndarray) -> Any:
        """These values as a torch tensor where the network reads it: their own memory, or a copy on a GPU."""


class Hook(Protocol):
    """Averages the gradients of a step over the workers.

    Attributes:
        compensates: Whether it keeps back what it does not send, for later steps.
    """

    compensates: bool

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """The gradients become their mean over the workers, or what of it is sent in this step."""

    def forget(self) -> None:
        """Drop what was left to be sent later."""

    def state(self) -> dict[str, np.ndarray]:
        """All that decides what it does next, by name; nothing where it does not compensate."""

    def restore(self, state: Arrays) -> None:
        """Go on from what `state` gave, of this hook or another one that compensates."""
