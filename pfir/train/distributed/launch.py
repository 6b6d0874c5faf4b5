"""Training in several processes, from the process that wants it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pfir import errors
from pfir.data.base import Dataset
from pfir.errors import PfirError, UsageError, WorkerError
from pfir.ir.training import TrainingGraph
from pfir.system.children import environment, run_module
from pfir.train.distributed.job import Job, Places
from pfir.train.distributed.messages import state_of
from pfir.train.distributed.processes import Processes
from pfir.train.distributed.telling import Listener
from pfir.train.distributed.worker import LOST
from pfir.train.feeding.teacher import Answers
from pfir.train.fitting.judges import NOBODY, Judges
from pfir.train.fitting.progress import Progress
from pfir.train.settings import Settings
from pfir.train.trainer import Result, fit

_POLL_S = 0.05
_GRACE_S = 10.0
_ALONE = ("--standalone", "--local-addr", "127.0.0.1")


def fit_in(
    processes: Processes,
    graph: TrainingGraph,
    data: Dataset,
    settings: Settings,
    on_progress: Callable[[Progress], None] = lambda _: None,
    judges: Judges = NOBODY,
    answers: Answers | None = None,
) -> Result:
    """`fit`, in as many processes as are asked for; in this one where that is one.

    Args:
        processes: How many, how they exchange gradients, and the folder of their job, which is removed at a good end.
            With several machines it lies where all of them can reach it.
        graph, data, settings, on_progress: As of `fit`; the batch is that of all processes together, and
            progress comes a few times a second.
        judges: As of `fit`; asked in this process.
        answers: As of `fit`, where this process trains.

    Raises:
        WorkerError: A process ended before its time: which one, how, what to do.
        UsageError: The folder holds something else than a job; or as `fit`.
        TrainingError, DataError: As `fit`.
    """
    if not processes.several:
        return fit(graph, data, settings, on_progress, judges, answers=answers)
    began, places = time.time(), _made_anew(processes.folder)
    each = replace(settings, jobs=max(1, settings.threads // processes.count))
    asked = (judges.evaluate is not None, judges.watch is not None)
    Job(graph, data, each, processes.compress, *asked, began).write(places.folder)
    listener = Listener(places, on_progress, judges)
    with _started(places, processes, each.threads) as launcher:
        while launcher.poll() is None:
            listener.listen()
            time.sleep(_POLL_S)
    listener.listen()
    if launcher.returncode:
        raise failure(places, processes, settings)
    result = _result(places)
    shutil.rmtree(places.folder)
    return result


def _made_anew(folder: Path | None) -> Places:
    """An empty folder for a job; what an earlier job left there goes."""
    if folder is None:
        return Places(Path(tempfile.mkdtemp(prefix="pfir-training-")))
    places = Places(folder.absolute())
    if places.job.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty, and holds no training job; name another folder for one")
    places.job.touch()
    return places


def _result(places: Places) -> Result:
    state = state_of(places.result.read_bytes())
    assert state is not None, "a training that ends well leaves a result"
    facts: dict[str, Any] = {**state.facts, "notes": tuple(state.facts["notes"])}
    return Result(state.arrays, **facts)


@contextmanager
def _started(places: Places, processes: Processes, threads: int) -> Iterator[subprocess.Popen[bytes]]:
    """torchrun; whatever happens here, neither it nor a worker is left behind."""
    worker = run_module("pfir.train.distributed.worker", str(places.folder))
    how = shlex.split(processes.torchrun) or _ALONE
    options = (*how, "--nproc-per-node", str(processes.count), "--no-python", *worker)
    command = run_module("pfir.train.distributed.launcher", str(places.folder), str(os.getpid()), *options)
    given = {"OMP_NUM_THREADS": str(threads)}
    if not processes.torchrun and sys.platform == "linux":
        given["GLOO_SOCKET_IFNAME"] = "lo"
    with places.log.open("wb") as log:
        launcher = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment(**given), start_new_session=True
        )
    try:
        yield launcher
    finally:
        _end(launcher)


def _end(launcher: subprocess.Popen[bytes]) -> None:
    """torchrun ends its workers when asked to, and the system does when it is killed."""
    if launcher.poll() is None:
        launcher.terminate()
        try:
            launcher.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            launcher.kill()
            launcher.wait()


def failure(places: Places, processes: Processes, settings: Settings) -> PfirError:
    """What to raise for a training that ended before its time."""
    if not places.failure.exists():
        return WorkerError(f"torchrun ended before the training did: {_last_line(places.log)}")
    told = json.loads(places.failure.read_text())
    rank, code = told["rank"], told["code"]
    if places.error(rank).exists():
        error = json.loads(places.error(rank).read_text())
        return getattr(errors, error["type"])(error["text"])
    which = f"training process {rank}" + ("" if processes.torchrun else f" of {processes.count}")
    kept = settings.checkpoint is not None and settings.checkpoint.exists()
    go_on = "go on from the last checkpoint with --resume, with any --nproc that divides the batch"
    do = go_on if kept else "there is no checkpoint yet"
    return WorkerError(f"{which} {_end_of(code, places.log)}; {do}")


def _end_of(code: int, log: Path) -> str:
    """How a process with this exit code ended, as the system counts them: below zero by a signal."""
    if code == LOST:
        return "ended because one on another machine did"
    return f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code} ({_last_line(log)})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
