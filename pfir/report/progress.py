"""What a user sees while a long run goes on: a bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod

from pfir.names import visible

SECONDS_BETWEEN_LINES = 10.0


class Progress(ABC):
    """Told about stages, notes and steps by whoever works."""

    @abstractmethod
    def stage(self, name: str) -> None:
        """A stage of the run begins."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Something that a user should read."""

    @abstractmethod
    def step(self, share: float, text: str) -> None:
        """The stage has come this far, `share` in [0, 1]."""

    def close(self) -> None:  # noqa: B027  (plain lines hold nothing)
        """Leave the terminal as it was."""


class Silent(Progress):
    """Says nothing."""

    def stage(self, name: str) -> None:
        pass

    def note(self, text: str) -> None:
        pass

    def step(self, share: float, text: str) -> None:
        pass


class Lines(Progress):
    """One line a stage and a note, and a step's line now and then."""

    def __init__(self, stream=None) -> None:
        self._stream = stream or sys.stderr
        self._began = time.monotonic()
        self._last = 0.0

    def stage(self, name: str) -> None:
        self._last = time.monotonic()
        self._print(f"[{self._last - self._began:6.1f} s] {name}")

    def note(self, text: str) -> None:
        self._print(f"  {text}")

    def step(self, share: float, text: str) -> None:
        now = time.monotonic()
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._print(f"  {share:4.0%} {text}")

    def _print(self, text: str) -> None:
        print(visible(text), file=self._stream, flush=True)


class Bars(Progress):
    """One bar that fills for each stage; notes scroll above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._bars = RichProgress(*columns, console=Console(stderr=True))
        self._task = None
        self._bars.start()

    def stage(self, name: str) -> None:
        self._finish()
        self._task = self._bars.add_task(name, total=1.0, text="")

    def note(self, text: str) -> None:
        self._bars.console.print(visible(text), markup=False, highlight=False)

    def step(self, share: float, text: str) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=share, text=visible(text))

    def close(self) -> None:
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=1.0, text="")


def progress_for(stream=None) -> Progress:
    """Bars where stderr is a terminal, lines elsewhere."""
    return Bars() if (stream or sys.stderr).isatty() else Lines(stream)
