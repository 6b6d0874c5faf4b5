"""What the first worker and the process that started it tell each other, by files in the job's folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np

from pfir.train.checkpoint import State
from pfir.train.distributed.job import Places
from pfir.train.distributed.messages import packed_state, state_of
from pfir.train.trainer import Progress

Arrays = dict[str, np.ndarray]

_EVERY_S = 0.1
_POLL_S = 0.05


class Teller:
    """The first worker's side: progress at most ten times a second, and questions for a score."""

    def __init__(self, places: Places) -> None:
        self._places, self._told = places, 0.0

    def progress(self, progress: Progress) -> None:
        """Tell it, unless it has just been told and there is nothing to note."""
        now = time.monotonic()
        last = progress.step == progress.steps
        if now - self._told < _EVERY_S and progress.note is None and not last:
            return
        self._told = now
        with self._places.progress.open("a") as file:
            file.write(json.dumps(asdict(progress)) + "\n")

    def score(self, arrays: Arrays) -> float:
        """Ask for the score of these, and wait for it."""
        self._places.answer.unlink(missing_ok=True)
        write(self._places.question, packed_state(State(arrays, {})))
        while not self._places.answer.exists():
            time.sleep(_POLL_S)
        return float(json.loads(self._places.answer.read_text()))


class Listener:
    """The other side: each call hears what was told since the last one.

    Args:
        evaluate: Answers questions; None where none are asked.
    """

    def __init__(
        self, places: Places, on_progress: Callable[[Progress], None], evaluate: Callable[[Arrays], float] | None
    ) -> None:
        self._places, self._on_progress, self._evaluate = places, on_progress, evaluate
        self._read = 0

    def listen(self) -> None:
        """Hand on the progress, and answer a question."""
        for progress in self._progresses():
            self._on_progress(progress)
        if self._evaluate and self._places.question.exists():
            question = state_of(self._places.question.read_bytes())
            self._places.question.unlink()
            assert question is not None, "a question has arrays"
            write(self._places.answer, json.dumps(float(self._evaluate(question.arrays))).encode())

    def _progresses(self) -> Iterator[Progress]:
        if not self._places.progress.exists():
            return
        with self._places.progress.open("rb") as file:
            file.seek(self._read)
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            yield Progress(**json.loads(line))


def write(path: Path, content: bytes) -> None:
    """Whoever reads sees all of it or nothing."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)
