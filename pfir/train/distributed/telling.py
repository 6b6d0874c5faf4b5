"""What the first worker and the process that started it tell each other, by files in the job's folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pfir.train.checkpoint import State
from pfir.train.distributed.job import Places
from pfir.train.distributed.messages import packed_state, state_of
from pfir.train.fitting.judges import Judges
from pfir.train.fitting.progress import Progress

Arrays = dict[str, np.ndarray]

_EVALUATE, _WATCH = "evaluate", "watch"
_EVERY_S = 0.1
_POLL_S = 0.05


class Teller:
    """The first worker's side: progress at most ten times a second, and questions to the judges."""

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
        return float(self._asked(_EVALUATE, arrays))

    def watch(self, arrays: Arrays) -> dict[str, float]:
        """Ask for the further figures of these, and wait for them."""
        return dict(self._asked(_WATCH, arrays))

    def _asked(self, question: str, arrays: Arrays) -> Any:
        self._places.answer.unlink(missing_ok=True)
        write(self._places.question, packed_state(State(arrays, {"question": question})))
        while not self._places.answer.exists():
            time.sleep(_POLL_S)
        return json.loads(self._places.answer.read_text())


class Listener:
    """The other side: each call hears what was told since the last one.

    Args:
        judges: Answer questions.
    """

    def __init__(self, places: Places, on_progress: Callable[[Progress], None], judges: Judges) -> None:
        self._places, self._on_progress, self._judges = places, on_progress, judges
        self._read = 0

    def listen(self) -> None:
        """Hand on the progress, and answer a question."""
        for progress in self._progresses():
            self._on_progress(progress)
        if self._places.question.exists():
            question = state_of(self._places.question.read_bytes())
            self._places.question.unlink()
            assert question is not None, "a question has arrays"
            write(self._places.answer, json.dumps(self._answer(question)).encode())

    def _answer(self, question: State) -> float | dict[str, float]:
        if question.facts["question"] == _WATCH:
            return self._judges.watched(question.arrays)
        assert self._judges.evaluate, "who does not evaluate is not asked for a score"
        return float(self._judges.evaluate(question.arrays))

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
