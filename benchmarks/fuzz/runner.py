"""Cases run in processes forked from this one, which has everything imported; it survives whatever they do."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.fuzz.case import Base
from benchmarks.fuzz.child import run_cases
from benchmarks.fuzz.verdict import MOST_BYTES, MOST_SECONDS, Verdict, ended_by

BATCH = 50
"""Cases in one process: forking and what it copies cost as much as a case. A faulty one is run again alone."""
PATIENCE_S = 60.0
"""Of the clock for one case, after which the process is ended: on a busy machine 20 s of work take longer."""

Named = tuple[str, int]
"""A kind and a number."""


class Runner:
    """Runs cases.

    Args:
        base: What they are made of.
        scratch: A folder for the folders of cases.
        seed: Of all choices.
        keep: Where the folders of faulty cases are copied to; None for nowhere.
    """

    def __init__(self, base: Base, scratch: Path, seed: int, keep: Path | None) -> None:
        self._base, self._scratch, self._seed, self._keep = base, scratch, seed, keep
        self._forks = 0

    def run(self, cases: Iterable[Named], jobs: int) -> Iterator[Verdict]:
        """The verdicts as they come, of so many processes at a time."""
        waiting, workers = deque(cases), []
        while waiting or workers:
            while waiting and len(workers) < jobs:
                batch = [waiting.popleft() for _ in range(min(BATCH, len(waiting)))]
                workers.append(self._fork(batch))
            for worker in _ready(workers):
                for found in worker.verdicts():
                    yield self._confirmed(found)
                if worker.over:
                    workers.remove(worker)
                    waiting.extendleft(reversed(worker.left))

    def _confirmed(self, found: Verdict) -> Verdict:
        """The verdict of a faulty case that ran once more, alone; its folder is kept."""
        found = replace(found, fault=_fault_of(found))
        if not found.fault:
            return found
        worker = self._fork([(found.kind, found.number)], keep=True)
        again = []
        while not worker.over:
            again += [v for w in _ready([worker]) for v in w.verdicts()]
        alone = replace(again[-1], fault=_fault_of(again[-1]))
        if not alone.fault:
            # A machine may have been busy; and what crashed in this process is tried in a child for users.
            fine = found.fault.startswith(("longer than", "more than")) or found.code < 0
            return alone if fine else replace(found, fault=f"{found.fault}, only behind other cases")
        self._keep_folder(alone)
        return alone

    def _fork(self, cases: list[Named], keep: bool = False) -> _Worker:
        self._forks += 1
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            run_cases(cases, self._base, self._scratch, self._seed, writing, keep, self._forks % 10 == 0)
        os.close(writing)
        return _Worker(child, reading, cases, self._scratch)

    def _keep_folder(self, found: Verdict) -> None:
        folder = self._scratch / f"{found.kind}-{found.number}"
        if self._keep is not None and folder.exists():
            place = self._keep / folder.name
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(folder / "work", place, symlinks=True, ignore=_no_pipes)
            (place / "verdict.json").write_text(json.dumps(asdict(found), indent=1))
            for name in ("stderr", "stack"):
                if (folder / name).exists():
                    shutil.copyfile(folder / name, place / f"{name}.txt")
        shutil.rmtree(folder, ignore_errors=True)


class _Worker:
    """A process that runs cases in turn, and tells of each when it begins and when it has ended.

    Attributes:
        over: Whether it has ended.
        left: The cases that it did not come to.
    """

    def __init__(self, child: int, reading: int, cases: list[Named], scratch: Path) -> None:
        self._child, self.reading, self.left, self._scratch = child, reading, list(cases), scratch
        self.over, self._last = False, cases[-1]
        self.since = time.monotonic()
        self._text = b""

    def verdicts(self) -> Iterator[Verdict]:
        """Of the cases that ended since the last call, and of the one that ended the process."""
        part = b"" if time.monotonic() - self.since > PATIENCE_S else os.read(self.reading, 1 << 16)
        *lines, self._text = (self._text + part).split(b"\n")
        for line in lines:
            self.since = time.monotonic()
            told = json.loads(line)
            yield Verdict(*self.left.pop(0), **{**told, "words": tuple(told["words"])})
        if not part:
            yield from self._end()

    def _end(self) -> Iterator[Verdict]:
        """The process is gone, or has been silent for too long."""
        self.over, seconds = True, time.monotonic() - self.since
        os.close(self.reading)
        late = seconds > PATIENCE_S
        if late:
            os.kill(self._child, signal.SIGKILL)
        _, status, used = os.wait4(self._child, 0)
        code = os.waitstatus_to_exitcode(status)
        behind = _end_group(self._child)
        if self.left:
            kind, number = self.left.pop(0)
            stack = self._scratch / f"{kind}-{number}" / "stack"
            fault = "no end within 60 s" if late else f"the process ended itself with {code}"
            fault = ended_by(fault, code, stack)
            yield Verdict(
                kind, number, (), "", code, seconds, used.ru_utime + used.ru_stime, used.ru_maxrss << 10, "", fault
            )
        elif behind:
            yield Verdict(*self._last, fault="this case, or one before it, left processes behind")


def _ready(workers: list[_Worker]) -> list[_Worker]:
    """Those that have something to tell, or are late."""
    until = min(w.since for w in workers) + PATIENCE_S
    ready, _, _ = select.select([w.reading for w in workers], [], [], max(0.0, until - time.monotonic()) + 0.01)
    return [w for w in workers if w.reading in ready or time.monotonic() - w.since > PATIENCE_S]


def _fault_of(found: Verdict) -> str:
    """What is wrong with a case; that a bomb which is to be run takes the memory it takes is not, if that is said."""
    runs_a_bomb = found.kind == "bombs" and found.words[:1] == ("evaluate",)
    if runs_a_bomb and (found.text.startswith("pfir: out of memory") or not found.fault):
        return _fault_of_time(found)
    if found.peak_bytes > MOST_BYTES:
        return found.fault or f"more than {MOST_BYTES >> 30} GB"
    return found.fault or _fault_of_time(found)


def _fault_of_time(found: Verdict) -> str:
    return f"longer than {MOST_SECONDS:g} s" if max(found.cpu_s, found.seconds) > MOST_SECONDS else ""


def _end_group(child: int) -> bool:
    """Whether processes that the child started still ran; they are ended."""
    try:
        os.killpg(child, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _no_pipes(folder: str, names: list[str]) -> list[str]:
    kinds = (Path.is_file, Path.is_dir, Path.is_symlink)
    return [n for n in names if not any(kind(Path(folder, n)) for kind in kinds)]
