"""The checkpoints of one training: when they are written, what they hold, what a disk that is full means."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pfir.train import checkpoint
from pfir.train.checkpoint import State
from pfir.train.distributed.workers import ALONE, Workers
from pfir.train.fitting.moments import part
from pfir.train.fitting.totals import Totals

Arrays = dict[str, np.ndarray]
_KEY, _WORKER = "key", "worker"


class Checkpoints:
    """Writes and reads the state of a training.

    Args:
        path: The file; None for none.
        key: Says which training a state belongs to.
        every_s: Seconds between two writes within an epoch.
        workers: The processes of the training, which save and load together: the first one writes and reads.
    """

    def __init__(self, path: Path | None, key: str, every_s: float, workers: Workers = ALONE) -> None:
        self._path, self._key, self._every_s, self._workers = path, key, every_s, workers
        self._saved_s, self._failed, self._passed_over = 0.0, False, False

    @property
    def are_kept(self) -> bool:
        return self._path is not None

    def load(self) -> tuple[Totals, dict[str, Arrays], str | None]:
        """What has happened, the arrays of each group that was saved, and a note on files that were passed over.

        There are no groups where the training starts from the beginning.
        """
        path = None if self._workers.rank else self._path
        found = checkpoint.Found(None) if path is None else checkpoint.load(path, self._key)
        self._passed_over = found.note is not None
        common, residuals = _without_residuals(found.state)
        state = self._workers.state(lambda: common)
        if state is None:
            return Totals(), {}, found.note
        notes = [note for note in (found.note, self._workers.resume(residuals)) if note]
        facts = {name: value for name, value in state.facts.items() if name != _KEY}
        totals, groups = Totals.of(facts), {name.partition("/")[0] for name in state.arrays}
        self._saved_s = totals.seconds
        return totals, {g: part(state.arrays, f"{g}/") for g in groups}, "; ".join(notes) or None

    def is_due(self, totals: Totals) -> bool:
        """Whether it is time for another write within an epoch; the clock is that of all workers."""
        return self.are_kept and totals.seconds - self._saved_s >= self._every_s

    def save(self, totals: Totals, groups: dict[str, Arrays]) -> str | None:
        """Write the state; where it cannot be written a note says so, once, and the last state stays."""
        self._saved_s = totals.seconds
        if self._path is None:
            return None
        residuals = {f"{_WORKER}{rank}": dict(left) for rank, left in enumerate(self._workers.residuals())}
        return self._write(self._path, totals, groups | residuals) if self._workers.rank == 0 else None

    def _write(self, path: Path, totals: Totals, groups: dict[str, Arrays]) -> str | None:
        arrays = {f"{group}/{name}": x for group, named in groups.items() for name, x in named.items()}
        try:
            state = State(arrays, {_KEY: self._key, **totals.facts()})
            checkpoint.save(path, state, keeps_last=not self._passed_over)
            self._passed_over = False
        except OSError as error:
            told, self._failed = self._failed, True
            return None if told else _unwritten(path, error)
        return None


def _without_residuals(state: State | None) -> tuple[State | None, list[Arrays]]:
    """The state that all workers share, and what each of them kept of gradients."""
    if state is None:
        return None, []
    common = {name: x for name, x in state.arrays.items() if not name.startswith(_WORKER)}
    ranks = range(len({name.partition("/")[0] for name in state.arrays.keys() - common.keys()}))
    return State(common, state.facts), [part(state.arrays, f"{_WORKER}{rank}/") for rank in ranks]


def _unwritten(path: Path, error: OSError) -> str:
    return (
        f"{path}: the state of training cannot be written ({error.strerror or error}); training goes on, and if it is "
        "interrupted, begins again at the last state that could be"
    )
