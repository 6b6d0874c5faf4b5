"""What a user sees while a long run goes on: a bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pfir.names import visible
from pfir.report.glossary import stage as in_words

if TYPE_CHECKING:
    from rich.progress import TaskID

SECONDS_BETWEEN_LINES = 10.0
LEAST_SHARE = 0.05
"""Of a stage that must be done before its pace tells anything."""


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

    def budget(self, total_s: float | None) -> None:  # noqa: B027  (silence tells no time)
        """The run is planned to take so long from when this progress was made; None where nobody can say."""

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


@dataclass
class Clock:
    """How long a run and its stage have taken, and what is left of them by the plan or else by the stage's pace.

    Args:
        total_s: What the run is planned to take; None where nobody can say.
        share: How far the stage has come, in [0, 1].
    """

    began: float = field(default_factory=lambda: time.monotonic())
    total_s: float | None = None
    stage_began: float = 0.0
    share: float = 0.0

    @property
    def elapsed_s(self) -> float:
        """Of the run."""
        return time.monotonic() - self.began

    def start_stage(self) -> None:
        """A stage begins now."""
        self.stage_began, self.share = time.monotonic(), 0.0

    def __str__(self) -> str:
        """`about 2 min left of 4 min`; empty where nothing is known."""
        if self.total_s is not None:
            return left_of(self.total_s - self.elapsed_s, self.total_s)
        spent = time.monotonic() - self.stage_began
        if not LEAST_SHARE <= self.share < 1:
            return ""
        return f"{roughly(spent * (1 - self.share) / self.share)} left of this stage"


def left_of(left_s: float, total_s: float) -> str:
    """What is left of a plan, or by how much it was passed."""
    if left_s < 0:
        return f"{roughly(-left_s)} over the planned {_planned(total_s)}"
    return f"{roughly(left_s)} left of {_planned(total_s)}"


def roughly(seconds: float) -> str:
    """`about 12 min`, `about 40 s`, `a few seconds`: no more than anyone knows."""
    if seconds >= 90:
        return f"about {round(seconds / 60)} min"
    return f"about {round(seconds / 10) * 10} s" if seconds >= 10 else "a few seconds"


def _planned(seconds: float) -> str:
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"


class Lines(Progress):
    """One line a stage and a note, and a step's line now and then."""

    def __init__(self, stream=None) -> None:
        self._stream = stream or sys.stderr
        self._clock = Clock()
        self._last = 0.0

    def stage(self, name: str) -> None:
        self._clock.start_stage()
        self._last = self._clock.stage_began
        self._print(f"[{self._last - self._clock.began:6.1f} s] {in_words(name)}{_after_comma(self._clock)}")

    def note(self, text: str) -> None:
        self._print(f"  {text}")

    def step(self, share: float, text: str) -> None:
        now = time.monotonic()
        self._clock.share = share
        if now - self._last >= SECONDS_BETWEEN_LINES:
            self._last = now
            self._print(f"  {share:4.0%} {text}{_after_comma(self._clock)}")

    def budget(self, total_s: float | None) -> None:
        self._clock.total_s = total_s

    def _print(self, text: str) -> None:
        print(visible(text), file=self._stream, flush=True)


def _after_comma(clock: Clock) -> str:
    left = str(clock)
    return f", {left}" if left else ""


class Bars(Progress):
    """One bar that fills for each stage, the time left behind the last; notes scroll above them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress
        from rich.table import Column

        columns = (
            TextColumn("{task.description}", markup=False, table_column=Column(min_width=24)),
            BarColumn(bar_width=10),
            TaskProgressColumn(),
            TimeElapsedColumn(table_column=Column(min_width=7)),
            # Made anew each time that it is drawn; on a narrow terminal the text behind it is what gets cut.
            TextColumn("{task.fields[left]}", markup=False, table_column=Column(min_width=26, no_wrap=True)),
            TextColumn("{task.fields[text]}", markup=False),
        )
        self._clock = Clock()
        self._bars = RichProgress(*columns, console=Console(stderr=True))
        self._task: TaskID | None = None
        self._bars.start()

    def stage(self, name: str) -> None:
        self._finish()
        self._clock.start_stage()
        self._task = self._bars.add_task(visible(in_words(name)), total=1.0, text="", left=self._clock)

    def note(self, text: str) -> None:
        self._bars.console.print(visible(text), markup=False, highlight=False)

    def step(self, share: float, text: str) -> None:
        self._clock.share = share
        if self._task is not None:
            self._bars.update(self._task, completed=share, text=visible(text))

    def budget(self, total_s: float | None) -> None:
        self._clock.total_s = total_s

    def close(self) -> None:
        self._finish()
        self._bars.stop()

    def _finish(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=1.0, text="", left="")


def progress_for(stream=None) -> Progress:
    """Bars where stderr is a terminal, lines elsewhere."""
    return Bars() if (stream or sys.stderr).isatty() else Lines(stream)
