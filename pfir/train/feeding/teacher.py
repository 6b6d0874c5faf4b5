"""The teacher's outputs for batches, from an inference session or from what the caller has of faster kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import PfirError, TrainingError
from pfir.ir.training import TrainingGraph
from pfir.run.session import Session

Arrays = dict[str, np.ndarray]
Answers = Callable[[Arrays], Arrays]
"""The teacher's outputs `[N, ...]` by its own names, for its inputs `[N, ...]`."""

# Samples over which the variance of an output is measured.
VARIANCE_SAMPLES = 256
# How far answers from elsewhere may be from ONNX Runtime's, as a share of an output's largest value.
TOLERANCE = 1e-4
# A run of this many samples; two and more go side by side on as many threads.
_CHUNK = 16


class Teacher:
    """Runs the teacher of a training graph.

    Args:
        graph: Has a teacher.
        jobs: Threads.
        answers: Computes what the teacher does, faster. The first batch is compared with ONNX Runtime, which takes over
            where the two differ, or where answering fails.

    Attributes:
        notes: What a user should know.
    """

    def __init__(self, graph: TrainingGraph, jobs: int, answers: Answers | None = None) -> None:
        teacher = graph.teacher
        assert teacher is not None, "the graph has a teacher"
        self._names = dict(graph.teacher_inputs)
        self._variances = dict(graph.variances)
        self._session = Session(teacher, threads=1)
        self._pool = ThreadPoolExecutor(jobs) if jobs > 1 else None
        self._ready = False
        self._inputs = {t.name for t in teacher.graph.inputs}
        self._answers, self._compared = answers, False
        self.notes: tuple[str, ...] = ()

    def outputs(self, arrays: Arrays) -> Arrays:
        """By name of the training graph's input, for inputs `[N, ...]`.

        Raises:
            TrainingError: An output has its samples along another axis than the first.
        """
        arrays = {n: x for n, x in arrays.items() if n in self._inputs}
        found = self._answered(arrays) or self._predicted(arrays)
        return {ours: found[name] for name, ours in self._names.items()}

    def _answered(self, arrays: Arrays) -> Arrays | None:
        """The outputs by the faster way; None where there is none, or no longer."""
        if self._answers is None:
            return None
        try:
            found = self._answers(arrays)
            reason = None if self._compared else _difference(found, self._predicted(arrays))
        except PfirError as error:
            reason = str(error)
        if reason is None:
            self._compared = True
            return found
        self._answers, self.notes = None, (f"the teacher runs in ONNX Runtime, which is slower: {reason}",)
        return None

    def _predicted(self, arrays: Arrays) -> Arrays:
        count = len(next(iter(arrays.values())))
        chunks = [{n: x[i : i + _CHUNK] for n, x in arrays.items()} for i in range(0, count, _CHUNK)]
        parts = list(self._map(self._session.predict, chunks))
        _check_first(parts, chunks)
        return {name: np.concatenate([p[name] for p in parts]) for name in self._names}

    def _map(self, predict: Callable[[Arrays], Arrays], chunks: list[Arrays]) -> Iterable[Arrays]:
        if not self._pool or not self._ready:
            # The first run alone: the session learns on it whether its batch can be changed.
            self._ready = True
            return map(predict, chunks)
        return self._pool.map(predict, chunks)

    def variances(self, data: Dataset) -> Arrays:
        """By name of the constant: the mean over positions of the variance over samples."""
        if not self._variances:
            return {}
        taken = np.linspace(0, len(data) - 1, min(len(data), VARIANCE_SAMPLES)).astype(np.int64)
        outputs = self.outputs(data.batch(taken))
        return {c: variance(outputs[self._names[name]]) for name, c in self._variances.items()}

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


def _difference(found: Arrays, wanted: Arrays) -> str | None:
    """What is wrong with what was found; None if nothing."""
    for name, right in wanted.items():
        if name not in found or found[name].shape != right.shape:
            return f"its kernels give no {name} of shape {list(right.shape)}"
        largest = float(np.abs(right).max(initial=1e-12))
        error = float(np.abs(found[name] - right).max(initial=0.0)) / largest
        if not error <= TOLERANCE:
            return f"its kernels differ by {error:.1g} of the largest value of {name}"
    return None


def _check_first(parts: list[Arrays], chunks: list[Arrays]) -> None:
    for part, chunk in zip(parts, chunks, strict=True):
        count = len(next(iter(chunk.values())))
        for name, y in part.items():
            if not y.ndim or len(y) != count:
                raise TrainingError(f"output {name} has no axis of samples in front, which training needs")


def variance(x: np.ndarray) -> np.ndarray:
    """The mean over positions of the variance over samples [N, ...], as a scalar.

    It is at least a billionth of the mean square, so that an output which never moves divides by no zero.
    """
    spread = float(np.var(x, axis=0, dtype=np.float64).mean())
    floor = 1e-9 * float(np.mean(np.square(x, dtype=np.float64))) + 1e-12
    return np.array(max(spread, floor), np.float32)
