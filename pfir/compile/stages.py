"""The stages of a run: told to the progress as they begin, timed for the report."""

from __future__ import annotations

import time
from contextlib import contextmanager

from pfir.report.progress import Progress
from pfir.report.record import Stage
from pfir.system.memory import give_back


class Stages:
    """A stopwatch with a name for each part of the run."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.finished: list[Stage] = []
        self._began = time.monotonic()

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def seconds(self, name: str) -> float:
        """What the finished stages of this name took."""
        return sum(stage.seconds for stage in self.finished if stage.name == name)

    @contextmanager
    def __call__(self, name: str):
        """Time what is inside."""
        self.progress.stage(name)
        began = time.monotonic()
        yield
        give_back()
        self.finished.append(Stage(name, round(time.monotonic() - began, 3)))
