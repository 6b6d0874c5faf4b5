"""What a training asks of the processes that it runs in, be it one or many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from pfir.train.checkpoint import State
from pfir.train.distributed.compression.base import Arrays
from pfir.train.distributed.compression.residuals import dropped
from pfir.train.session import TrainSession


class Workers(Protocol):
    """The processes of a training, seen from one of them; all of them call the same methods in the same order.

    Attributes:
        rank: Which one this is, from 0; the first one evaluates, writes checkpoints and tells progress.
        count: How many there are.
    """

    rank: int
    count: int

    def exchange(self, session: TrainSession, scalars: np.ndarray, seconds: float) -> tuple[np.ndarray, float]:
        """The means of the scalars over all workers, and the first one's clock.

        The session's gradients and running statistics become their means, too.

        Args:
            session: Has just done a step on this worker's share of the batch.
            scalars: What the step told, float32.
            seconds: What this worker's clock shows.
        """

    def state(self, load: Callable[[], State | None]) -> State | None:
        """What the first worker loads."""

    def number(self, find: Callable[[], float]) -> float:
        """What the first worker finds, which alone looks for it."""

    def forget(self) -> None:
        """Drop what is left of earlier gradients: the training goes on from another point."""

    def residuals(self) -> list[Arrays]:
        """What is left of earlier gradients in each worker, as the first one gets it; nothing for the others."""

    def resume(self, residuals: Sequence[Arrays]) -> str | None:
        """Go on with these, of however many workers they are; a note where they cannot be made use of.

        Args:
            residuals: The first worker's count.
        """


class Alone:
    """See Workers: the only process."""

    rank, count = 0, 1

    def exchange(self, session: TrainSession, scalars: np.ndarray, seconds: float) -> tuple[np.ndarray, float]:
        """See Workers."""
        return scalars, seconds

    def state(self, load: Callable[[], State | None]) -> State | None:
        """See Workers."""
        return load()

    def number(self, find: Callable[[], float]) -> float:
        """See Workers."""
        return find()

    def forget(self) -> None:
        """See Workers."""

    def residuals(self) -> list[Arrays]:
        """See Workers."""
        return []

    def resume(self, residuals: Sequence[Arrays]) -> str | None:
        """See Workers."""
        return dropped(len(residuals)) if residuals else None


ALONE = Alone()
