"""Fitting a training graph to data: epochs, learning rate, retreats, the best epoch."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from pfir.data.base import Dataset
from pfir.errors import TrainingError
from pfir.ir.onnx_io.tensors import fill_small
from pfir.ir.training import TrainingGraph
from pfir.train.distributed.share import Share
from pfir.train.distributed.workers import ALONE, Workers
from pfir.train.engines.choice import ORT
from pfir.train.feeding.source import Source
from pfir.train.feeding.teacher import Answers
from pfir.train.fitting.batches import mean_step
from pfir.train.fitting.compiling import Plan, prepare
from pfir.train.fitting.divergence import diverges, epoch_is_lost, follow, is_steady
from pfir.train.fitting.judges import NOBODY, Evaluate, Judges
from pfir.train.fitting.moments import Arrays, Moments
from pfir.train.fitting.progress import Listener, Teller
from pfir.train.fitting.saving import Checkpoints
from pfir.train.fitting.totals import Totals
from pfir.train.flat import FlatBuffer
from pfir.train.masks import Masks
from pfir.train.optimizing.choice import average_of, optimizer_of, schedule_of
from pfir.train.session import TrainSession, is_one_shard
from pfir.train.settings import Settings

# A training that diverged goes on from its last good moment with the rate times this, so many times.
RETREAT = 0.1
MOST_RETREATS = 2
# What is left of a time budget at least, however long it took to prepare the steps.
LEAST_S = 1.0
# Within a longer epoch there is a good moment every so many steps.
STRETCH = 200


@dataclass(frozen=True)
class Result:
    """What a training learnt.

    Args:
        arrays: Initializer name to its new value, BatchNormalization's running statistics included.
        curve: One entry per epoch: step, epoch, loss, learning_rate, seconds, the metrics by name, and, where epochs
            were evaluated, score, and average_score where an average of weights was kept; and what was watched.
        notes: What a user should know.
        best_epoch: The epoch that `arrays` come from, from 1.
        engine: What differentiated: `ort` or `torch`.
        averaged: Whether `arrays` are the average of weights.
        processes: How many shared each batch.
        compiled: Whether steps were compiled.
        timed: Whether the clock decided rates or the end, so that the same training gives other bits next time.
    """

    arrays: Arrays
    curve: list[dict]
    notes: tuple[str, ...] = ()
    best_epoch: int = 0
    engine: str = ORT
    averaged: bool = False
    processes: int = 1
    compiled: bool = False
    timed: bool = False


def fit(
    graph: TrainingGraph,
    data: Dataset,
    settings: Settings | None = None,
    on_progress: Listener | None = None,
    judges: Judges = NOBODY,
    workers: Workers = ALONE,
    answers: Answers | None = None,
) -> Result:
    """Train; the same seed, data, settings, engine and versions give the same bits.

    With ONNX Runtime they do for any number of threads, with PyTorch for the same number, and where steps are compiled
    both times or neither (`Result.compiled`).

    Args:
        graph: Student, loss and teacher; not changed.
        data: Feeds the inputs of the graph; its labels are read where the loss has them.
        settings: See Settings.
        on_progress: Told after every step.
        judges: Asked after each epoch, of the average of weights, too, where one is kept; the best arrays are returned.
            Without a score the last epoch's are, or their average.
        workers: The processes that share every batch, each of which calls this with the same arguments; their number
            divides the batch.
        answers: Computes what the teacher does, faster than ONNX Runtime.

    Raises:
        TrainingError: The graph cannot be trained, or diverges even after two retreats.
        UsageError: The engine is not installed.
        DataError: The data is empty or lacks labels.
    """
    settings, began = settings or Settings(), time.monotonic()
    share, batch = Share(workers.rank, workers.count), settings.batch // workers.count
    source = Source(graph, data, replace(settings, batch=settings.samples_per_step), share, answers)
    session = None
    try:
        measured = _with_variances(graph, source)
        by, halves = (settings.threads, settings.engine), is_one_shard(settings.batch)
        session = TrainSession(measured, source.shapes(), batch, *by, halves, settings.autocast)
        masks = Masks(graph, session.parameters)
        checkpoints = Checkpoints(
            settings.checkpoint, _key(graph, data, settings, session, masks), settings.checkpoint_every_s, workers
        )
        moments = Moments(
            session,
            optimizer_of(settings, graph.model, session.parameters),
            average_of(settings, session.parameters, session.statistics),
            masks,
        )
        nodes = len(graph.model.graph.nodes)
        run = _Run(moments, source, settings, checkpoints, judges, workers, nodes)
        return run.run(began, on_progress or (lambda _: None))
    finally:
        source.close()
        if session:
            session.close()


def _with_variances(graph: TrainingGraph, source: Source) -> TrainingGraph:
    if not graph.variances and not graph.target_variance:
        return graph
    model = graph.model.clone()
    model.set_arrays(source.variances())
    return replace(graph, model=model)


def _key(graph: TrainingGraph, data: Dataset, settings: Settings, session: TrainSession, masks: Masks) -> str:
    parts = hashlib.sha256()
    names = (*session.scalars, *session.parameters.views, *(f.name for f in fields(Totals)))
    for text in (session.engine, data.fingerprint(), settings.identity(), graph.loss, masks.identity, *names):
        parts.update(text.encode() + b"\0")
    parts.update(graph.model.to_proto(fill_small).SerializeToString())  # the kind of the loss and its constants
    parts.update(session.parameters.flat.tobytes())
    return parts.hexdigest()


class _Run:
    def __init__(
        self,
        moments: Moments,
        source: Source,
        settings: Settings,
        checkpoints: Checkpoints,
        judges: Judges,
        workers: Workers,
        nodes: int,
    ) -> None:
        self._moments, self._source, self._settings = moments, source, settings
        self._checkpoints, self._judges, self._workers = checkpoints, judges, workers
        self._session, self._optimizer, self._average = moments.session, moments.optimizer, moments.average
        self._steps = settings.epochs * source.steps_per_epoch
        self._schedule = schedule_of(settings)
        self._totals, self._good, self._rate = Totals(), moments.now(), 0.0
        self._best: Arrays = {}
        self._nodes, self._is_prepared = nodes, False

    def run(self, began: float, listener: Listener) -> Result:
        """Train; what came since `began`, on the monotonic clock, counts towards the time budget."""
        note = self._resume()
        self._began, self._before_s = began, self._totals.seconds
        rest = (self._source.steps_per_epoch, self._totals.step, self._before_s)
        self._teller = Teller(listener, self._settings, *rest)
        self._note(note)
        while not self._finished():
            self._epoch()
        return self._result()

    def _epoch(self) -> None:
        totals, per_epoch = self._totals, self._source.steps_per_epoch
        feeds = self._source.feeds(totals.step, (totals.step // per_epoch + 1) * per_epoch)
        try:
            for arrays in feeds:
                if not self._step(arrays) or self._diverges():
                    return self._retreat()
                self._teller.tell(totals, self._rate)
                if self._finished():
                    break
                self._keep()
        finally:
            feeds.close()
        lost = epoch_is_lost(totals) and not self._moments.gains_zeros
        if lost or not _is_finite(self._session.parameters):
            return self._retreat()
        return self._end_epoch()

    def _prepare(self, feeds: Mapping[str, np.ndarray]) -> None:
        """Compile the steps where that is decided; the time that it takes is no part of the schedule's."""
        began, settings = time.monotonic(), self._settings
        batches = (self._steps - self._totals.step) * settings.accumulate
        budget_s = settings.time_budget_s and max(settings.time_budget_s - (began - self._began), 0.0)
        plan = Plan(settings.compile, self._nodes, batches, budget_s, self._workers.count > 1)
        batch = {name: x[: self._session.batch] for name, x in feeds.items()}
        self._totals.compiled, note = prepare(self._session, plan, batch, self._totals.compiled)
        self._is_prepared = True
        self._spend(time.monotonic() - began)
        self._note(note)

    def _spend(self, seconds: float) -> None:
        """Take time from what there is, as if the training had begun later and were to end when it was."""
        self._began += seconds
        if self._settings.time_budget_s:
            left_s = max(self._settings.time_budget_s - seconds, LEAST_S)
            self._settings = replace(self._settings, time_budget_s=left_s)
            self._teller = replace(self._teller, settings=self._settings)

    def _step(self, feeds: Mapping[str, np.ndarray]) -> bool:
        """Count and take one step; False, without taking it, where its gradient is not finite."""
        if not self._is_prepared:
            self._prepare(feeds)
        totals, session = self._totals, self._session
        self._rate = self._schedule.rate(self._progress()) * totals.scale
        totals.timed |= self._by_time() > self._by_steps()
        scalars = mean_step(session, feeds, self._settings.accumulate)
        seconds = self._before_s + time.monotonic() - self._began
        scalars, totals.seconds = self._workers.exchange(session, scalars, seconds)
        totals.add(scalars)
        follow(totals)
        if not _is_finite(session.gradients):
            return False
        self._optimizer.step(session.parameters.flat, session.gradients.flat, self._rate)
        if self._average:
            self._average.update(session.parameters.flat, session.statistics.flat)
        self._moments.mask(self._progress())
        return True

    def _diverges(self) -> bool:
        """Whether the last step is no number, or, where no zeros raise it, its loss is too high."""
        loss = self._totals.recent[-1]
        return not np.isfinite(loss) if self._moments.gains_zeros else diverges(self._totals)

    def _keep(self) -> None:
        """Within an epoch: a moment to go back to every so many steps, a checkpoint every so many seconds."""
        totals = self._totals
        if totals.step % self._source.steps_per_epoch == 0:
            return  # A checkpoint of now would miss what ends the epoch.
        if totals.steps_since_good % STRETCH == 0 and is_steady(totals) and _is_finite(self._session.parameters):
            self._settle()
        if self._checkpoints.is_due(totals):
            self._save()

    def _end_epoch(self) -> None:
        totals = self._totals
        entry = {
            "step": totals.step,
            "epoch": len(totals.curve) + 1,
            "loss": totals.loss,
            "learning_rate": self._rate,
            "seconds": totals.seconds,
            **dict(zip(self._session.scalars[1:], totals.means[1:], strict=True)),
        }
        totals.curve.append(entry | self._scores())
        totals.begin_epoch()
        self._settle()
        self._save()

    def _scores(self) -> dict[str, float]:
        """Of the weights and of their average, the best so far of which are kept; and what is watched."""
        arrays = self._session.arrays()
        watched = self._judges.watched(arrays)
        if not self._judges.evaluate:
            return watched
        scores = {"score": self._score(self._judges.evaluate, arrays, averaged=False)}
        if self._average:
            scores["average_score"] = self._score(self._judges.evaluate, self._moments.averaged(), averaged=True)
        return scores | watched

    def _score(self, evaluate: Evaluate, arrays: Arrays, averaged: bool) -> float:
        score, totals = self._workers.number(lambda: float(evaluate(arrays))), self._totals
        better = totals.best_score is None or score > totals.best_score
        if better and self._moments.has_its_zeros(self._progress()):
            totals.best_score, totals.best_epoch, self._best = score, len(totals.curve) + 1, arrays
            totals.best_averaged = averaged
        return score

    def _retreat(self) -> None:
        """Back to the last good moment with a tenth of the rate."""
        totals = self._totals
        what = f"at step {totals.step} (loss {totals.recent[-1]:.3g}, rate {self._rate:.2g})"
        if totals.retreats == MOST_RETREATS:
            raise TrainingError(
                f"training diverged {what} even after {MOST_RETREATS} retreats; give a smaller learning rate"
            )
        totals.retreats, totals.scale = totals.retreats + 1, totals.scale * RETREAT
        totals.go_back()
        self._moments.go_back(self._good)
        self._workers.forget()
        self._note(f"training diverged {what}; it goes on from step {totals.step} with a tenth of that rate")

    def _result(self) -> Result:
        totals = self._totals
        told = (totals.curve, (*totals.notes, *self._source.notes))
        timed = totals.timed or totals.step < self._steps
        how: dict[str, Any] = {"engine": self._session.engine, "processes": self._workers.count, "timed": timed}
        how["compiled"] = bool(totals.compiled)
        if self._judges.evaluate:
            return Result(self._best, *told, totals.best_epoch, averaged=totals.best_averaged, **how)
        arrays = self._moments.averaged() if self._average else self._session.arrays()
        return Result(arrays, *told, len(totals.curve), averaged=self._average is not None, **how)

    def _progress(self) -> float:
        """The share of the training that is done: of its steps or of its time, whichever is further."""
        return max(self._by_steps(), self._by_time())

    def _by_steps(self) -> float:
        return self._totals.step / self._steps

    def _by_time(self) -> float:
        budget = self._settings.time_budget_s
        return self._totals.seconds / budget if budget else 0.0

    def _finished(self) -> bool:
        return self._totals.step >= self._steps or (self._totals.step > 0 and self._progress() >= 1)

    def _note(self, note: str | None) -> None:
        if note is not None:
            self._totals.notes.append(note)
            self._teller.tell(self._totals, self._rate, note)

    def _settle(self) -> None:
        self._totals.settle()
        self._good = self._moments.now()

    def _save(self) -> None:
        if self._checkpoints.are_kept:
            groups = {"now": self._moments.now(), "good": self._good, "best": self._best}
            self._note(self._checkpoints.save(self._totals, groups))

    def _resume(self) -> str | None:
        """Go on where a checkpoint tells; a note on those that were passed over."""
        self._totals, groups, note = self._checkpoints.load()
        if groups:
            self._moments.go_back(groups["now"])
            self._good, self._best = groups["good"], groups.get("best", {})
        return note


def _is_finite(buffer: FlatBuffer) -> bool:
    return bool(np.isfinite(buffer.flat).all())
