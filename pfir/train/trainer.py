"""Fitting a training graph to data: epochs, learning rate, divergence, checkpoints, the best epoch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import TrainingError
from pfir.ir.training import TrainingGraph
from pfir.train import checkpoint
from pfir.train.checkpoint import State
from pfir.train.distributed.share import Share
from pfir.train.distributed.workers import ALONE, Workers
from pfir.train.engines.choice import ORT
from pfir.train.feeding.source import Source
from pfir.train.optimizing.schedule import Schedule
from pfir.train.optimizing.sgd import NesterovSgd
from pfir.train.session import TrainSession
from pfir.train.settings import Settings

Arrays = dict[str, np.ndarray]

# A training that diverged goes on from its last good epoch with the rate times this.
RETREAT = 0.1
# A first epoch whose mean loss is so many times that of the first steps has lost what the model knew.
WRECKED = 2.0
FIRST_STEPS = 2


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Args:
        epoch: The one that runs, from 1.
        epochs: All of them.
        step: Steps done, over all epochs.
        steps: All of them.
        loss: Mean over the epoch so far.
        learning_rate: Of the last step.
        samples_per_s: Of this call, since its start.
        seconds_left: As far as can be told; None before the first step.
        note: Something that a user should read, or None.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    learning_rate: float
    samples_per_s: float
    seconds_left: float | None
    note: str | None = None


@dataclass(frozen=True)
class Result:
    """What a training learnt.

    Args:
        arrays: Initializer name to its new value, BatchNormalization's running statistics included.
        curve: One entry per epoch: step, epoch, loss, learning_rate, seconds, the metrics by name, and score where
            epochs were evaluated.
        notes: What a user should know.
        best_epoch: The epoch that `arrays` come from, from 1.
        engine: What differentiated: `ort` or `torch`.
    """

    arrays: Arrays
    curve: list[dict]
    notes: tuple[str, ...] = ()
    best_epoch: int = 0
    engine: str = ORT


def fit(
    graph: TrainingGraph,
    data: Dataset,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    evaluate: Callable[[Arrays], float] | None = None,
    workers: Workers = ALONE,
) -> Result:
    """Train; the same seed, data, settings, engine and versions give the same bits.

    With ONNX Runtime they do for any number of threads, with PyTorch for the same number.

    Args:
        graph: Student, loss and teacher; not changed.
        data: Feeds the inputs of the graph; its labels are read where the loss has them.
        settings: See Settings.
        on_progress: Told after every step.
        evaluate: A score, higher is better, of arrays by initializer name; asked after each epoch, and the best
            epoch's arrays are returned. Without it the last epoch's are.
        workers: The processes that share every batch, each of which calls this with the same arguments; their number
            divides the batch.

    Raises:
        TrainingError: The graph cannot be trained, or the loss is not finite even after a retreat.
        UsageError: The engine is not installed.
        DataError: The data is empty, lacks labels, or the checkpoint is damaged.
    """
    settings, began = settings or Settings(), time.monotonic()
    source = Source(graph, data, settings, Share(workers.rank, workers.count))
    session = None
    try:
        graph = _with_variances(graph, source)
        batch = settings.batch // workers.count
        session = TrainSession(graph, source.shapes(), batch, settings.threads, settings.engine, halves=True)
        key = _key(graph, data, settings, session)
        return _Run(session, source, settings, key, on_progress or (lambda _: None), evaluate, workers).run(began)
    finally:
        source.close()
        if session:
            session.close()


def _with_variances(graph: TrainingGraph, source: Source) -> TrainingGraph:
    if not graph.variances:
        return graph
    model = graph.model.clone()
    model.set_arrays(source.variances())
    return replace(graph, model=model)


def _key(graph: TrainingGraph, data: Dataset, settings: Settings, session: TrainSession) -> str:
    parts = hashlib.sha256()
    names = (*session.scalars, *session.parameters.views)
    for text in (session.engine, data.fingerprint(), settings.identity(), graph.loss, *names):
        parts.update(text.encode() + b"\0")
    parts.update(session.parameters.flat.tobytes())
    return parts.hexdigest()


@dataclass
class _Totals:
    """What has happened so far; JSON can hold it."""

    step: int = 0
    seconds: float = 0.0
    scale: float = 1.0
    retreats: int = 0
    sums: list[float] = field(default_factory=list)
    summed: int = 0
    curve: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    best_score: float | None = None
    best_epoch: int = 0
    good_step: int = 0
    start: float = np.inf


class _Run:
    def __init__(
        self,
        session: TrainSession,
        source: Source,
        settings: Settings,
        key: str,
        on_progress: Callable[[Progress], None],
        evaluate: Callable[[Arrays], float] | None,
        workers: Workers,
    ) -> None:
        self._session, self._source, self._settings, self._key = session, source, settings, key
        self._on_progress, self._evaluate, self._workers = on_progress, evaluate, workers
        self._steps = settings.epochs * source.steps_per_epoch
        self._schedule = Schedule(settings.learning_rate, settings.warmup_share)
        decay = session.parameters.mask({n: x.ndim >= 2 for n, x in session.parameters.views.items()})
        decay *= np.float32(settings.weight_decay)
        self._optimizer = NesterovSgd(decay.size, decay, settings.momentum, settings.clip)
        self._totals = _Totals()
        self._best: Arrays = {}
        self._good = self._moment()
        self._rate = 0.0

    def run(self, began: float) -> Result:
        """Train; what came since `began`, on the monotonic clock, counts towards the time budget."""
        self._resume()
        self._began, self._saved = began, self._totals.seconds
        self._before, self._first = self._totals.seconds, self._totals.step
        while not self._finished():
            self._epoch()
        totals = self._totals
        arrays = self._best if self._evaluate else self._session.arrays()
        best = totals.best_epoch if self._evaluate else len(totals.curve)
        return Result(arrays, totals.curve, tuple(totals.notes), best, self._session.engine)

    def _epoch(self) -> None:
        totals, per_epoch = self._totals, self._source.steps_per_epoch
        last = (totals.step // per_epoch + 1) * per_epoch
        feeds = self._source.feeds(totals.step, last)
        try:
            for arrays in feeds:
                self._step(arrays)
                if not np.isfinite(totals.sums[0]):
                    return self._retreat()
                self._tell()
                self._save_now_and_then()
                if self._finished():
                    break
        finally:
            feeds.close()
        if not np.isfinite(self._session.parameters.flat).all() or self._wrecked():
            return self._retreat()
        return self._end_epoch()

    def _wrecked(self) -> bool:
        """Whether the rate was too high for this start; asked once, since a second retreat gives up."""
        totals = self._totals
        first = not totals.curve and not totals.retreats
        return first and totals.sums[0] / totals.summed > WRECKED * totals.start

    def _step(self, feeds: Mapping[str, np.ndarray]) -> None:
        totals = self._totals
        self._rate = self._schedule.rate(self._progress()) * totals.scale
        scalars = self._session.step(feeds).scalars
        seconds = self._before + time.monotonic() - self._began
        scalars, totals.seconds = self._workers.exchange(self._session, scalars, seconds)
        self._optimizer.step(self._session.parameters.flat, self._session.gradients.flat, self._rate)
        totals.sums = [a + float(b) for a, b in zip(totals.sums or [0.0] * len(scalars), scalars, strict=True)]
        totals.summed += 1
        totals.step += 1
        if totals.step == FIRST_STEPS:
            totals.start = totals.sums[0] / totals.summed

    def _end_epoch(self) -> None:
        totals = self._totals
        means = [s / totals.summed for s in totals.sums]
        epoch = len(totals.curve) + 1
        entry = {
            "step": totals.step,
            "epoch": epoch,
            "loss": means[0],
            "learning_rate": self._rate,
            "seconds": totals.seconds,
            **dict(zip(self._session.scalars[1:], means[1:], strict=True)),
        }
        if self._evaluate:
            entry["score"] = self._score(self._evaluate, epoch)
        totals.curve.append(entry)
        totals.sums, totals.summed, totals.good_step = [], 0, totals.step
        self._good = self._moment()
        self._save()

    def _score(self, evaluate: Callable[[Arrays], float], epoch: int) -> float:
        arrays, totals = self._session.arrays(), self._totals
        score = self._workers.number(lambda: float(evaluate(arrays)))
        if totals.best_score is None or score > totals.best_score:
            totals.best_score, totals.best_epoch, self._best = score, epoch, arrays
        return score

    def _retreat(self) -> None:
        """Back to the last good epoch with a tenth of the rate."""
        totals, rate = self._totals, self._rate
        if totals.retreats:
            raise TrainingError(
                f"training diverged twice (loss not finite at step {totals.step}, rate {rate:.2g}); "
                "give a smaller learning rate"
            )
        totals.retreats, totals.scale = 1, RETREAT
        note = (
            f"training diverged at step {totals.step} with rate {rate:.2g}; it goes on from step "
            f"{totals.good_step} with a tenth of that"
        )
        totals.notes.append(note)
        totals.step, totals.sums, totals.summed = totals.good_step, [], 0
        self._restore(self._good)
        self._workers.forget()
        self._tell(note)

    def _progress(self) -> float:
        """The share of the training that is done: of its steps or of its time, whichever is further."""
        budget = self._settings.time_budget_s
        by_time = self._totals.seconds / budget if budget else 0.0
        return max(self._totals.step / self._steps, by_time)

    def _finished(self) -> bool:
        return self._totals.step >= self._steps or (self._totals.step > 0 and self._progress() >= 1)

    def _tell(self, note: str | None = None) -> None:
        totals, settings = self._totals, self._settings
        done, spent = totals.step - self._first, max(totals.seconds - self._before, 1e-9)
        left = (self._steps - totals.step) * spent / done if done > 0 else None
        if left is not None and settings.time_budget_s:
            left = max(0.0, min(left, settings.time_budget_s - totals.seconds))
        epoch = min(settings.epochs, max(0, totals.step - 1) // self._source.steps_per_epoch + 1)
        loss = totals.sums[0] / totals.summed if totals.summed else float("nan")
        self._on_progress(
            Progress(
                epoch,
                settings.epochs,
                totals.step,
                self._steps,
                loss,
                self._rate,
                max(0, done) * settings.batch / spent,
                left,
                note,
            )
        )

    def _moment(self) -> Arrays:
        session = self._session
        return {
            "parameters": session.parameters.flat.copy(),
            "statistics": session.statistics.flat.copy(),
            "velocity": self._optimizer.velocity.copy(),
        }

    def _restore(self, moment: Arrays) -> None:
        self._session.parameters.flat[:] = moment["parameters"]
        self._session.set_statistics(moment["statistics"])
        self._optimizer.velocity[:] = moment["velocity"]

    def _save_now_and_then(self) -> None:
        if self._totals.seconds - self._saved > self._settings.checkpoint_every_s:
            self._save()

    def _save(self) -> None:
        self._saved = self._totals.seconds
        if self._settings.checkpoint is None or self._workers.rank:
            return
        arrays = {f"now/{n}": x for n, x in self._moment().items()} | {f"good/{n}": x for n, x in self._good.items()}
        arrays |= {f"best/{n}": x for n, x in self._best.items()}
        checkpoint.save(self._settings.checkpoint, State(arrays, {"key": self._key, **vars(self._totals)}))

    def _resume(self) -> None:
        state = self._workers.state(self._load)
        if state is None:
            return
        facts = {n: x for n, x in state.facts.items() if n != "key"}
        self._totals = _Totals(**facts)
        self._restore(_part(state, "now/"))
        self._good, self._best = _part(state, "good/"), _part(state, "best/")

    def _load(self) -> State | None:
        path = self._settings.checkpoint
        return checkpoint.load(path, self._key) if path else None


def _part(state: State, prefix: str) -> Arrays:
    return {n[len(prefix) :]: x for n, x in state.arrays.items() if n.startswith(prefix)}
