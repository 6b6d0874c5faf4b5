"""Fine-tuning of a pruned model with the original as its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import Deadline
from pfir.compile.training.compiled_teacher import CompiledTeacher
from pfir.compile.training.growing import Growing
from pfir.compile.training.held_back import ACCURACY, FIDELITY, HELD_BACK_LOSS
from pfir.compile.training.judging import Judge, augmentation
from pfir.compile.training.options import NO_OPTIONS, RATES, TrainOptions
from pfir.compile.training.recipes import AUTO, DISTIL
from pfir.compile.training.teaching import Course, Teaching
from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.distillation.attach_teacher import is_classifier
from pfir.passes.distillation.losses import PREFIX as LOSS
from pfir.report.progress import Progress
from pfir.report.record import Epoch
from pfir.system.host_cpu import usable_cores
from pfir.train.distributed.processes import ONE, Processes
from pfir.train.distributed.share import divisible
from pfir.train.engines.choice import AUTO_ENGINE, TORCH
from pfir.train.feeding.mixing import Mixing
from pfir.train.settings import Settings
from pfir.train.trainer import Result

MANY_SAMPLES = 10_000
LEARNING_RATE = {"many": 0.05, "few": 0.01, "values": 0.003}
"""Peaks with many samples and with few; `values` for what is no classifier, and has few: MediaPipe's face net, whose
loss has a curvature of 1,900 along its weights, learns at 0.003 from the first epoch on."""
FAR, LEAST_SHARE = 0.5, 0.2
"""A student that diverges from the original by the first, in nats, learns at the peak, a nearer one in proportion, and
none at less than this share of it. At 0.05 a near one loses in the first steps what it has, and five epochs do not
bring that back (ResNet-56, half of its channels gone: 0.05 nats on the images that the original learnt)."""
CLIP = 2.0
"""Without it the first steps at such a rate wreck a network whose loss is T^2 times a divergence."""
GIVEN = "given"
"""Where a recipe tells what a user said of training."""
COMPILED = "compiled"
"""Where a recipe tells whether steps were compiled."""
TIMED = "timed"
"""Where a recipe tells whether the clock decided rates or the end."""


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model with its curve; the untrained one where training did not help."""

    model: Model
    curve: tuple[Epoch, ...] = ()
    notes: tuple[str, ...] = ()
    settings: Mapping[str, object] | None = None


@dataclass(frozen=True)
class FineTuning:
    """How a model is fine-tuned.

    Args:
        epochs: Passes over the data, at least 1.
        budget_s: Seconds at most; None for no limit.
        seed: Of every random choice.
        jobs: Threads; None for one a core.
        checkpoint: Where the state is kept that a killed run goes on from; None for nowhere.
        engine: What differentiates (`--engine`).
        processes: Those that train together (`--nproc`).
        recipe: What the student learns (`recipes.py`).
        options: What a user says of it (`--train`).
        compiled: Makes what answers for the teacher, faster than ONNX Runtime; None for ONNX Runtime.
        growing: Zeros that spread meanwhile; None where none come.
    """

    epochs: int
    budget_s: float | None = None
    seed: int = 0
    jobs: int | None = None
    checkpoint: Path | None = None
    engine: str = AUTO_ENGINE
    processes: Processes = ONE
    recipe: str = AUTO
    options: TrainOptions = field(default_factory=TrainOptions)
    compiled: CompiledTeacher | None = None
    growing: Growing | None = None

    def course(
        self, teacher: Model, samples: Samples, settings: Settings, ends: Deadline, progress: Progress
    ) -> Course:
        """A training of this kind."""
        rest = (self.processes, self.options, self.compiled, self.growing)
        return Course(teacher, samples, settings, ends, progress, *rest)


def fine_tune(
    student: Model,
    teacher: Model,
    samples: Samples,
    activations: Activations,
    how: FineTuning,
    progress: Progress,
    judge: Judge | None = None,
) -> FineTuned:
    """The student after distillation; as it was, with a note, where it cannot be trained or training made it worse.

    Args:
        student: The compressed model; not changed. Where zeros are to grow it has them, and its dense self is trained.
        teacher: What it learns from.
        activations: Of any model, on the calibration data.
        judge: Tells whether training helped; made of the samples where none is given.
    """
    ends = Deadline.within(how.budget_s)
    judge = judge or judge_for(teacher, samples, how)
    settings = settings_for(teacher, samples, how, judge.augment)
    settings = careful(settings, judge.scores(student).divergence, how.options)
    course = how.course(teacher, samples, settings, ends, progress)
    try:
        tuned, result = _taught(Teaching(course, activations, how.recipe), student, how.growing)
    except TrainingError as error:
        return FineTuned(student, notes=(f"not fine-tuned: {error}",))
    curve = curve_of(result)
    if how.growing is not None and not how.growing.has_its_zeros(tuned):
        return FineTuned(student, curve, (*result.notes, "zeros that spread in training were too few; it was dropped"))
    if judge.is_worse(tuned, student):
        note = "fine-tuning made the model worse and was dropped; more data or epochs may help"
        return FineTuned(student, curve, (*result.notes, note))
    return FineTuned(tuned, curve, tuple(result.notes), as_recipe(how, settings, result))


def _taught(teaching: Teaching, student: Model, growing: Growing | None) -> tuple[Model, Result]:
    """The student after training; where zeros grow, by the teacher's answers, since features bring its weights back."""
    if growing is None:
        return teaching.of(student)
    return replace(teaching, recipe=DISTIL).of(growing.dense)


def where_nearer(
    model: Model, trained: Model, result: Result, judge: Judge, what: str, recipe: Mapping[str, object]
) -> FineTuned:
    """What a training made of a model where that is nearer to the original, else the model; either way with a note.

    Args:
        result: What the training told of itself.
        what: Names the training.
        recipe: What a recipe tells of it.
    """
    before, after = judge.scores(model), judge.scores(trained)
    if after.divergence >= before.divergence:
        return FineTuned(
            model, notes=(*result.notes, f"{what} brought the model no nearer to the original and was dropped")
        )
    curve = curve_of(result)
    said = f"{what}: fidelity {before.fidelity:.3f} -> {after.fidelity:.3f}, {len(curve)} epochs"
    return FineTuned(trained, curve, (*result.notes, said), recipe)


def judge_for(teacher: Model, samples: Samples, how: FineTuning) -> Judge:
    """What models of this training are judged by."""
    return Judge(teacher, samples, how.jobs or usable_cores(), how.seed)


def careful(settings: Settings, divergence: float, options: TrainOptions = NO_OPTIONS) -> Settings:
    """The settings with a rate that a student as near to its teacher as this bears, unless a user gives one.

    Few samples have a small rate already, which stays.
    """
    if options.says("lr"):
        return settings
    share = float(np.clip(divergence / FAR, LEAST_SHARE, 1.0))
    most = share * LEARNING_RATE["many"] * RATES[settings.optimizer]
    return replace(settings, learning_rate=min(settings.learning_rate, most))


def settings_for(teacher: Model, samples: Samples, how: FineTuning, augment: str | None = None) -> Settings:
    """How a student of this teacher learns from these samples: as a user says, the rest chosen.

    Args:
        augment: How samples are augmented, where that is known already.
    """
    if augment is None:
        augment = augmentation(teacher, samples.train) if samples.kind == "given" else "none"
    many, values = len(samples.train) >= MANY_SAMPLES, samples.train.targets is not None
    scores = is_classifier(teacher) and not values
    chosen = Settings(
        epochs=how.epochs,
        batch=128 if many else min(32, len(samples.train)),
        learning_rate=LEARNING_RATE["many" if many else "few" if scores else "values"],
        weight_decay=1e-4,
        clip=CLIP,
        seed=how.seed,
        jobs=how.jobs,
        augment=augment,
        mixing=how.options.over(Mixing()),
        renew=samples.kind == "generated",
        time_budget_s=how.budget_s,
        checkpoint=how.checkpoint,
        engine=how.engine,
    )
    settings = how.options.over(chosen)
    rate = settings.learning_rate * (1.0 if how.options.says("lr") else RATES[settings.optimizer])
    return replace(settings, learning_rate=rate)


def as_recipe(how: FineTuning, settings: Settings, result: Result) -> dict[str, object]:
    """What a recipe tells of a training: all that decides its result, and what a user had said.

    Threads do with PyTorch alone.
    """
    given = {GIVEN: how.options.text()} if how.options.values else {}
    used = {name: getattr(settings, name) for name in _TOLD}
    used["batch"] = divisible(settings.batch, result.processes)
    by = {"engine": result.engine, "processes": result.processes, "compression": how.processes.exchanged}
    if result.engine == TORCH:
        by["threads"] = max(1, settings.threads // how.processes.count)
        by[COMPILED] = result.compiled
    told = {"epochs": len(result.curve), **used, **by, "averaged": result.averaged, TIMED: result.timed}
    return told | given


_TOLD = (
    *("batch", "accumulate", "optimizer", "learning_rate", "schedule", "warmup_share", "momentum", "weight_decay"),
    *("clip", "ema", "autocast", "augment", "renew", "seed"),
)


def curve_of(result: Result) -> tuple[Epoch, ...]:
    """The training curve, as the report shows it."""
    return tuple(_epoch(entry) for entry in result.curve)


def _epoch(entry: dict) -> Epoch:
    apart = (HELD_BACK_LOSS, ACCURACY, FIDELITY)
    known = ("step", "epoch", "loss", "learning_rate", "seconds", *apart)
    return Epoch(
        entry["epoch"],
        entry["loss"],
        {k.removeprefix(f"{LOSS}_").replace("_", " "): v for k, v in entry.items() if k not in known},
        **{name: entry.get(name) for name in apart},
    )
