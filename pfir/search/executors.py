"""Candidates scored one after another here, or several at a time in processes."""

from __future__ import annotations

import pickle
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from pfir.errors import CompileError, DeviceError, Infeasible, TrainingError
from pfir.search.problem import Parameters, Score
from pfir.system.children import run_module

# Verdicts on one candidate. Anything else that a score raises is a fault and ends the search.
_VERDICTS = (Infeasible, CompileError, DeviceError, TrainingError)


@dataclass(frozen=True)
class Outcome:
    """What scoring a candidate gave: a score (None if it failed), details, and the seconds it took."""

    score: float | None
    details: Mapping[str, object] = field(default_factory=dict)
    seconds: float = 0.0


class Executor(ABC):
    """Takes candidates by number and gives their outcomes, in any order."""

    @abstractmethod
    def free(self) -> bool:
        """Whether another candidate can be taken now."""

    @abstractmethod
    def submit(self, number: int, parameters: Parameters) -> None: ...

    @abstractmethod
    def finished(self) -> list[tuple[int, Outcome]]:
        """At least one outcome, waited for; nothing if no candidate is in work."""

    @abstractmethod
    def close(self) -> None:
        """Gives up what is in work."""


def executor(score: Score, jobs: int) -> Executor:
    """One that scores this many candidates at a time."""
    return Serial(score) if jobs == 1 else Processes(score, jobs)


class Serial(Executor):
    """Scores in this process."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._next: tuple[int, Parameters] | None = None

    def free(self) -> bool:
        return self._next is None

    def submit(self, number: int, parameters: Parameters) -> None:
        self._next = (number, parameters)

    def finished(self) -> list[tuple[int, Outcome]]:
        if self._next is None:
            return []
        (number, parameters), self._next = self._next, None
        return [(number, outcome_of(self._score, parameters))]

    def close(self) -> None:
        self._next = None


class Processes(Executor):
    """Scores in processes that start afresh; one that dies fails its own trial only and is replaced."""

    def __init__(self, score: Score, jobs: int) -> None:
        self._score = pickle.dumps(score)
        self._jobs = jobs
        self._idle: list[_Worker] = []
        self._busy: dict[int, _Worker] = {}

    def free(self) -> bool:
        return len(self._busy) < self._jobs

    def submit(self, number: int, parameters: Parameters) -> None:
        worker = self._idle.pop() if self._idle else _Worker(self._score)
        self._busy[number] = worker
        worker.start(parameters)

    def finished(self) -> list[tuple[int, Outcome]]:
        if not self._busy:
            return []
        ready = wait([worker.connection for worker in self._busy.values()])
        numbers = [number for number, worker in self._busy.items() if worker.connection in ready]
        return [(number, self._collected(number)) for number in numbers]

    def close(self) -> None:
        for worker in (*self._busy.values(), *self._idle):
            worker.stop()
        self._busy, self._idle = {}, []

    def _collected(self, number: int) -> Outcome:
        worker = self._busy.pop(number)
        result = worker.result()
        if isinstance(result, BaseException):
            raise result
        if worker.alive():
            self._idle.append(worker)
        return result


class _Worker:
    """A process that scores candidates until it is stopped."""

    def __init__(self, score: bytes) -> None:
        here, there = socket.socketpair()
        with there:  # closed on this side, so that the worker's death ends the pipe
            # Not forked: ONNX Runtime's threads do not survive a fork.
            command = run_module("pfir.search.worker_main", str(there.fileno()))
            self._process = subprocess.Popen(command, pass_fds=[there.fileno()], stdin=subprocess.DEVNULL)
        self.connection = Connection(here.detach())
        self._send(lambda: self.connection.send_bytes(score))

    def start(self, parameters: Parameters) -> None:
        self._send(lambda: self.connection.send(parameters))

    def result(self) -> Outcome | BaseException:
        try:
            answer: Outcome | BaseException = self.connection.recv()
            return answer
        except (EOFError, OSError):
            return Outcome(None, {"failed": f"its process died with exit code {self._process.wait()}"})

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait()
        self.connection.close()

    def _send(self, send: Callable[[], None]) -> None:
        try:
            send()
        except OSError:
            # It died; waiting on its pipe reports that at once.
            self._process.wait()


def outcome_of(score: Score, parameters: Parameters) -> Outcome:
    """The outcome of one candidate: a verdict against it is a failed trial, any other error goes on up."""
    start = time.perf_counter()
    try:
        value = score(dict(parameters))
    except _VERDICTS as error:
        return Outcome(None, {"failed": str(error)}, time.perf_counter() - start)
    number, details = value if isinstance(value, tuple) else (value, {})
    seconds = time.perf_counter() - start
    if not float("-inf") < float(number) < float("inf"):
        return Outcome(None, dict(details) | {"failed": f"its score is {number}"}, seconds)
    return Outcome(float(number), dict(details), seconds)
