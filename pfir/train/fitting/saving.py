"""The checkpoints of one training: when they are written, what they hold, what a disk that is full means."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from pfir.train import checkpoint
from pfir.train.checkpoint import State
from pfir.train.distributed.workers import ALONE, Workers
from pfir.train.fitting.moments import part
from pfir.train.fitting.totals import Totals

Arrays = dict[str, np.ndarray]
_KEY = "key"


class Checkpoints:
    """Writes and reads the state of a training.

    Args:
        path: The file; None for none.
        key: Says which training a state belongs to.
        every_s: Seconds between two writes within an epoch.
        workers: The processes of the training: the first one writes, all of them read what it finds.
    """

    def __init__(self, path: Path | None, key: str, every_s: float, workers: Workers = ALONE) -> None:
        self._path, self._key, self._every_s, self._workers = path, key, every_s, workers
        self._saved, self._failed, self._passed_over = time.monotonic(), False, False

    @property
    def are_kept(self) -> bool:
        return self._path is not None and self._workers.rank == 0

    def load(self) -> tuple[Totals, dict[str, Arrays], str | None]:
        """What has happened, the arrays of each group that was saved, and a note on files that were passed over.

        There are no groups where the training starts from the beginning.
        """
        found = checkpoint.load(self._path, self._key) if self._path else checkpoint.Found(None)
        self._passed_over = found.note is not None
        state = self._workers.state(lambda: found.state)
        if state is None:
            return Totals(), {}, found.note
        facts = {name: value for name, value in state.facts.items() if name != _KEY}
        groups = {name.partition("/")[0] for name in state.arrays}
        return Totals.of(facts), {g: part(state.arrays, f"{g}/") for g in groups}, found.note

    def is_due(self) -> bool:
        """Whether it is time for another write within an epoch."""
        return self.are_kept and time.monotonic() - self._saved > self._every_s

    def save(self, totals: Totals, groups: dict[str, Arrays]) -> str | None:
        """Write the state; where it cannot be written a note says so, once, and the last state stays."""
        self._saved = time.monotonic()
        if self._path is None:
            return None
        arrays = {f"{group}/{name}": x for group, named in groups.items() for name, x in named.items()}
        try:
            state = State(arrays, {_KEY: self._key, **totals.facts()})
            checkpoint.save(self._path, state, keeps_last=not self._passed_over)
            self._passed_over = False
        except OSError as error:
            told, self._failed = self._failed, True
            return None if told else _unwritten(self._path, error)
        return None


def _unwritten(path: Path, error: OSError) -> str:
    return (
        f"{path}: the state of training cannot be written ({error.strerror or error}); training goes on, and if it is "
        "interrupted, begins again at the last state that could be"
    )
