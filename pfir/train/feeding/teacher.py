"""The teacher's outputs for batches, from an inference session per model, kept where the batches repeat."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import TrainingError
from pfir.ir.training import TrainingGraph
from pfir.run.session import Session

Arrays = dict[str, np.ndarray]

# Samples over which the variance of an output is measured.
VARIANCE_SAMPLES = 256
# Outputs are kept up to this size.
MOST_KEPT_BYTES = 512 * 2**20
# A run of this many samples; two and more go side by side on as many threads.
_CHUNK = 16


class Teacher:
    """Runs the teacher of a training graph.

    Args:
        graph: Has a teacher.
        jobs: Threads.
    """

    def __init__(self, graph: TrainingGraph, jobs: int) -> None:
        teacher = graph.teacher
        assert teacher is not None, "the graph has a teacher"
        self._names = dict(graph.teacher_inputs)
        self._variances = dict(graph.variances)
        self._session = Session(teacher, threads=1)
        self._pool = ThreadPoolExecutor(jobs) if jobs > 1 else None
        self._ready = False
        self._inputs = {t.name for t in teacher.graph.inputs}

    def outputs(self, arrays: Arrays) -> Arrays:
        """By name of the training graph's input, for inputs `[N, ...]`.

        Raises:
            TrainingError: An output has its samples along another axis than the first.
        """
        arrays = {n: x for n, x in arrays.items() if n in self._inputs}
        count = len(next(iter(arrays.values())))
        chunks = [{n: x[i : i + _CHUNK] for n, x in arrays.items()} for i in range(0, count, _CHUNK)]
        parts = list(self._map(self._session.predict, chunks))
        _check_first(parts, chunks)
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
        return {c: variance(outputs[self._names[name]]) for name, c in self._variances.items()}

    def close(self) -> None:
        if self._pool:
            self._pool.shutdown()


class Remembered:
    """The teacher's outputs by view and sample, each computed once.

    Args:
        count: Of samples.
    """

    def __init__(self, teacher: Teacher, count: int) -> None:
        self._teacher, self._count = teacher, count
        self._views: dict[int, _Kept] = {}
        self._left = MOST_KEPT_BYTES

    def outputs(self, indices: np.ndarray, view: int, arrays: Arrays) -> Arrays:
        """The outputs for these samples, whose inputs, seen this way, are `arrays`."""
        kept = self._views.get(view)
        if kept and kept.known[indices].all():
            return {n: x[indices] for n, x in kept.outputs.items()}
        fresh = self._teacher.outputs(arrays)
        kept = kept or self._room(view, fresh)
        if kept:
            kept.known[indices] = True
            for name, x in fresh.items():
                kept.outputs[name][indices] = x
        return fresh

    def _room(self, view: int, fresh: Arrays) -> _Kept | None:
        """A place for the outputs of all samples; None where that takes more than is left."""
        size = sum(x[0].nbytes for x in fresh.values()) * self._count
        if size > self._left:
            return None
        self._left -= size
        outputs = {n: np.zeros((self._count, *x.shape[1:]), x.dtype) for n, x in fresh.items()}
        self._views[view] = _Kept(outputs, np.zeros(self._count, bool))
        return self._views[view]


@dataclass(frozen=True)
class _Kept:
    """Outputs by name, [N, ...], and for which samples they are there, bool [N]."""

    outputs: Arrays
    known: np.ndarray


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
