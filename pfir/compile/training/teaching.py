"""A training by a teacher in the time there is; and of a pruned student, with BatchNormalization put back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.candidates import adopt
from pfir.compile.training.compiled_teacher import CompiledTeacher, answering
from pfir.compile.training.growing import Growing
from pfir.compile.training.held_back import HeldBack
from pfir.compile.training.losses import losses_for
from pfir.compile.training.options import NO_OPTIONS, TrainOptions
from pfir.compile.training.recipes import CURL, lesson
from pfir.compile.training.refined import Expanded, refined
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.base import Activations, Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.batch_norm.restore import RestoreBatchNorm
from pfir.passes.distillation.attach_teacher import DistillationSettings
from pfir.passes.pipeline import run
from pfir.report.progress import Progress
from pfir.system.memory import give_back
from pfir.train.distributed.launch import fit_in
from pfir.train.distributed.processes import ONE, Processes
from pfir.train.fitting.judges import Judges
from pfir.train.fitting.progress import Progress as Step
from pfir.train.settings import Settings
from pfir.train.trainer import Result

LEAST_S = 1.0

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Course:
    """A training by a teacher, whatever of a model it moves.

    Args:
        teacher: What is learnt from.
        samples: Whose `train` is learnt on.
        settings: Of the training; their seed is that of every random choice.
        ends: When training is over.
        progress: Is told of each step.
        processes: Those that train together.
        options: What a user says of the loss.
        compiled: Makes what answers for the teacher, faster than ONNX Runtime; None for ONNX Runtime.
        growing: Zeros that spread meanwhile; None where none come.
    """

    teacher: Model
    samples: Samples
    settings: Settings
    ends: Deadline
    progress: Progress
    processes: Processes = ONE
    options: TrainOptions = NO_OPTIONS
    compiled: CompiledTeacher | None = None
    growing: Growing | None = None

    def losses(self, student: Model) -> DistillationSettings:
        """What a student learns here."""
        return losses_for(self.samples, self.settings, self.options, student)

    def fit(self, graph: TrainingGraph, model_of: Callable[[Arrays], Model]) -> Result:
        """What a training of the graph, but for its slopes, tells of itself.

        Args:
            model_of: The model that has what was learnt, which is watched on samples held back.

        Raises:
            TrainingError: It cannot be trained.
        """
        graph, train = without_slopes(graph), self.samples.train
        give_back()
        with answering(self.compiled, graph, len(train), self.settings) as answers:
            timed = until(self.ends, self.settings)
            held_back = HeldBack(self.samples.judging, self.teacher, model_of, timed.threads)
            told = partial(tell, self.progress, settings=timed, held_back=held_back)
            result = fit_in(self.processes, graph, train, timed, told, Judges(watch=held_back), answers)
        give_back()  # the buffers of training, before models are run on what judges them
        return result


@dataclass(frozen=True)
class Teaching:
    """How pruned students learn.

    Args:
        course: The training.
        activations: Of any model, on the calibration data.
        recipe: What is learnt (`recipes.py`).
    """

    course: Course
    activations: Activations
    recipe: str

    def of(self, student: Model) -> tuple[Model, Result]:
        """The student after training, its nodes and their names as they were, and what the training tells of itself.

        BatchNormalization is put back before and folded again after it.

        Raises:
            TrainingError: It cannot be trained.
        """
        return self._with_refined_answers(student) if self.recipe == CURL else self._taught(student)

    def on(self, **changes: Any) -> Teaching:
        """The same with other fields of its course."""
        return replace(self, course=replace(self.course, **changes))

    def _with_refined_answers(self, student: Model) -> tuple[Model, Result]:
        """Half of the training by the teacher's answers, the other half by those that the first one refined."""
        course, settings = self.course, self.course.settings
        expanded = replace(course.samples, train=Expanded(course.samples.train, settings.seed))
        halves = replace(settings, epochs=-(-settings.epochs // 2), renew=True)
        teaching = self.on(samples=expanded, settings=halves)
        first = teaching.on(
            settings=replace(halves, checkpoint=_first(halves.checkpoint)),
            ends=course.ends if course.ends == NEVER else Deadline.within(course.ends.left_s() / 2),
        )
        taught, _ = first._taught(student)
        return teaching.on(teacher=refined(course.teacher, taught))._taught(taught)

    def _taught(self, student: Model) -> tuple[Model, Result]:
        course = self.course
        context = Context(activations=self.activations, seed=course.settings.seed)
        restored, _ = run((RestoreBatchNorm(),), student, context)
        wanted = course.losses(restored)
        learns = lesson(self.recipe, restored, course.teacher, course.samples, self.activations, wanted)
        growth = None if course.growing is None else course.growing.growth(restored)
        result = course.fit(replace(learns.graph, growth=growth), lambda x: with_arrays(restored, learns.learnt(x)))
        folded, _ = run((FoldBatchNorm(),), with_arrays(restored, learns.learnt(result.arrays)), Context())
        taught = student.clone()
        adopt(taught, folded)
        taught.record("fine-tune")
        return taught, result


def without_slopes(graph: TrainingGraph) -> TrainingGraph:
    """The graph with every slope of PRelu as it is.

    Behind a slope there may be a layer of any size, and no BatchNormalization between: in MediaPipe's face net the loss
    has a curvature of 35,000 along one of 24 slopes before an output, and of 1,900 along all else together. A rate that
    this slope could bear teaches the rest nothing.
    """
    slopes = {t.name for n in graph.model.nodes() if n.op == "PRelu" for t in n.inputs[1:]}
    return replace(graph, trainable=tuple(n for n in graph.trainable if n not in slopes))


def until(ends: Deadline, settings: Settings) -> Settings:
    """The settings with what is left of the time, where there is an end."""
    return settings if ends == NEVER else replace(settings, time_budget_s=max(ends.left_s(), LEAST_S))


def with_arrays(model: Model, arrays: Mapping[str, np.ndarray]) -> Model:
    """A copy with these values; what stands in the training graph alone, as adaptors of features do, is left out."""
    copy = model.clone()
    held = copy.initializers()
    copy.set_arrays({name: array for name, array in arrays.items() if name in held})
    copy.source = None
    return copy


def tell(progress: Progress, p: Step, settings: Settings, held_back: HeldBack) -> None:
    """Show how far a training is, and how it did last on samples held back."""
    if p.note:
        progress.note(p.note)
    share = p.step / max(p.steps, 1)
    if settings.time_budget_s and p.seconds_left is not None:
        share = max(share, 1 - p.seconds_left / settings.time_budget_s)
    progress.step(
        min(1.0, share),
        f"epoch {p.epoch}, loss {p.loss:.4f}{held_back.told}, rate {p.learning_rate:.2g}, "
        f"{p.samples_per_s:.0f} samples/s",
    )


def _first(checkpoint: Path | None) -> Path | None:
    """Where the first of two trainings keeps its state."""
    return checkpoint and checkpoint.with_name(f"first.{checkpoint.name}")
