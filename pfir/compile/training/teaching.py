"""A student taught by a teacher: by one of the recipes, in the time there is, with BatchNormalization put back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.candidates import adopt
from pfir.compile.training.compiled_teacher import CompiledTeacher, answering
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


@dataclass(frozen=True)
class Teaching:
    """How students learn.

    Args:
        teacher: What they learn from.
        samples: Whose `train` they learn on.
        activations: Of any model, on the calibration data.
        settings: Of the training; their seed is that of every random choice.
        recipe: What is learnt (`recipes.py`).
        ends: When training is over.
        progress: Is told of each step.
        processes: Those that train together.
        options: What a user says of the loss.
        compiled: Makes what answers for the teacher, faster than ONNX Runtime; None for ONNX Runtime.
    """

    teacher: Model
    samples: Samples
    activations: Activations
    settings: Settings
    recipe: str
    ends: Deadline
    progress: Progress
    processes: Processes = ONE
    options: TrainOptions = NO_OPTIONS
    compiled: CompiledTeacher | None = None

    def of(self, student: Model) -> tuple[Model, Result]:
        """The student after training, its nodes and their names as they were, and what the training tells of itself.

        BatchNormalization is put back before and folded again after it.

        Raises:
            TrainingError: It cannot be trained.
        """
        return self._with_refined_answers(student) if self.recipe == CURL else self._taught(student)

    def _with_refined_answers(self, student: Model) -> tuple[Model, Result]:
        """Half of the training by the teacher's answers, the other half by those that the first one refined."""
        expanded = replace(self.samples, train=Expanded(self.samples.train, self.settings.seed))
        halves = replace(self.settings, epochs=-(-self.settings.epochs // 2), renew=True)
        teaching = replace(self, samples=expanded, settings=halves)
        first = replace(
            teaching,
            settings=replace(halves, checkpoint=_first(halves.checkpoint)),
            ends=self.ends if self.ends == NEVER else Deadline.within(self.ends.left_s() / 2),
        )
        taught, _ = first._taught(student)
        return replace(teaching, teacher=refined(self.teacher, taught))._taught(taught)

    def _taught(self, student: Model) -> tuple[Model, Result]:
        context = Context(activations=self.activations, seed=self.settings.seed)
        restored, _ = run((RestoreBatchNorm(),), student, context)
        distillation = losses_for(self.samples, self.settings, self.options, restored)
        learns = lesson(self.recipe, restored, self.teacher, self.samples, self.activations, distillation)
        graph = without_slopes(learns.graph)
        give_back()
        train = self.samples.train
        with answering(self.compiled, graph, len(train), self.settings) as answers:
            timed = until(self.ends, self.settings)
            held_back = HeldBack(
                self.samples.judging, self.teacher, lambda x: with_arrays(restored, learns.learnt(x)), timed.threads
            )
            told = partial(tell, self.progress, settings=timed, held_back=held_back)
            result = fit_in(self.processes, graph, train, timed, told, Judges(watch=held_back), answers)
        give_back()  # the buffers of training, before two models are run on what judges them
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
