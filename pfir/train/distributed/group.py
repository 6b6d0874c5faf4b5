"""The workers of a training that exchange what a step gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pfir.train.checkpoint import State
from pfir.train.distributed.collective import losing_none
from pfir.train.distributed.compression.base import Arrays, Collectives, Hook
from pfir.train.distributed.compression.residuals import divided, dropped
from pfir.train.distributed.messages import packed_state, state_of
from pfir.train.session import TrainSession


class Group:
    """See Workers: this process and those that torchrun started with it.

    Args:
        collective: What joins them.
        hook: How gradients are averaged.
    """

    def __init__(self, collective: Collectives, hook: Hook) -> None:
        self._collective, self._hook = collective, hook
        self.rank, self.count = collective.rank, collective.count

    def exchange(self, session: TrainSession, scalars: np.ndarray, seconds: float) -> tuple[np.ndarray, float]:
        """See Workers: the gradients by the hook, all else in one more operation.

        Running statistics move by linear steps, so their mean after every step is what it would be at the end; this
        way all workers hold the same state whenever one is saved.
        """
        with losing_none():
            self._hook.reduce(session.gradients, self._collective)
        statistics = session.statistics.flat
        told = np.concatenate([scalars, statistics, [0.0 if self.rank else seconds * self.count]], dtype=np.float32)
        self._collective.mean(told)
        session.set_statistics(told[len(scalars) : len(scalars) + statistics.size])
        return told[: len(scalars)], float(told[-1])

    def state(self, load: Callable[[], State | None]) -> State | None:
        """See Workers."""
        return state_of(self._collective.of_first(b"" if self.rank else packed_state(load())))

    def number(self, find: Callable[[], float]) -> float:
        """See Workers."""
        found = np.array([0.0 if self.rank else find()], np.float64)
        return float(np.frombuffer(self._collective.of_first(found.tobytes()), np.float64)[0])

    def forget(self) -> None:
        """See Workers."""
        self._hook.forget()

    def residuals(self) -> list[Arrays]:
        """See Workers."""
        if not self._hook.compensates:
            return []
        own = packed_state(State(self._hook.state(), {}))
        return [_arrays(content) for content in self._collective.to_first(own)]

    def resume(self, residuals: Sequence[Arrays]) -> str | None:
        """See Workers."""
        if not self._hook.compensates:
            return dropped(len(residuals)) if residuals else None
        own = _arrays(self._collective.from_first([] if self.rank else self._divided(residuals)))
        if own:
            self._hook.restore(own)
        return None

    def _divided(self, residuals: Sequence[Arrays]) -> list[bytes]:
        """For each worker the state of its hook; an empty one where there are none."""
        each = divided(residuals, self.count) if residuals else [{}] * self.count
        return [packed_state(State(dict(state), {})) for state in each]


def _arrays(content: bytes) -> Arrays:
    found = state_of(content)
    assert found is not None, "a hook has a state"
    return found.arrays
