"""The teacher's outputs for batches, from an inference session per model, kept where the batches repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from pfir.data.base import Dataset
from pfir.ir.training import TrainingGraph
from pfir.run.session import Session

Arrays = dict[str, np.ndarray]

# Samples over which the variance of an output is measured.
VARIANCE_SAMPLES = 256
# Outputs of all samples are kept up to this size.
MOST_KEPT_BYTES = 512 * 2**20
# A run of this many samples; two and more go side by side on as many threads.
_CHUNK = 32


class Teacher:
    """Runs the teacher of a training graph.

    Args:
        graph: Has a teacher.
        jobs: Threads.
    """

    def __init__(self, graph: TrainingGraph, jobs: int) -> None:
        self._names = dict(graph.teacher_inputs)
        self._variances = dict(graph.variances)
        self._session = Session(graph.teacher, threads=1)
        self._pool = ThreadPoolExecutor(jobs) if jobs > 1 else None
        self._ready = False
        self._inputs = {t.name for t in graph.teacher.graph.inputs}

    def outputs(self, arrays: Arrays) -> Arrays:
        """By name of the training graph's input, for inputs `[N, ...]`."""
        arrays = {n: x for n, x in arrays.items() if n in self._inputs}
        count = len(next(iter(arrays.values())))
        chunks = [{n: x[i : i + _CHUNK] for n, x in arrays.items()} for i in range(0, count, _CHUNK)]
        parts = list(self._map(self._session.predict, chunks))
        return {ours: np.concatenate([p[name] for p in parts]) for name, ours in self._names.items()}

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
        return {c: _variance(outputs[self._names[name]]) for name, c in self._variances.items()}

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


class Remembered:
    """The teacher's outputs by sample, each computed once; for data that is not augmented."""

    def __init__(self, teacher: Teacher, count: int) -> None:
        self._teacher, self._count = teacher, count
        self._kept: Arrays = {}
        self._known = np.zeros(count, bool)
        self._too_large = False

    def outputs(self, indices: np.ndarray, arrays: Arrays) -> Arrays:
        """The outputs for these samples, whose inputs are `arrays`."""
        if self._too_large:
            return self._teacher.outputs(arrays)
        if self._kept and self._known[indices].all():
            return {n: x[indices] for n, x in self._kept.items()}
        fresh = self._teacher.outputs(arrays)
        self._keep(indices, fresh)
        return fresh

    def _keep(self, indices: np.ndarray, fresh: Arrays) -> None:
        if not self._kept:
            self._too_large = sum(x[0].nbytes for x in fresh.values()) * self._count > MOST_KEPT_BYTES
            if self._too_large:
                return
            self._kept = {n: np.zeros((self._count, *x.shape[1:]), x.dtype) for n, x in fresh.items()}
        for name, x in fresh.items():
            self._kept[name][indices] = x
        self._known[indices] = True


def _variance(x: np.ndarray) -> np.ndarray:
    """At least a billionth of the mean square, so that an output which never moves divides by no zero."""
    spread = float(np.var(x, axis=0, dtype=np.float64).mean())
    floor = 1e-9 * float(np.mean(np.square(x, dtype=np.float64))) + 1e-12
    return np.array(max(spread, floor), np.float32)
