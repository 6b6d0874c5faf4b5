"""Fine-tuning of a pruned model with the original as its teacher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.candidates import adopt
from pfir.data.base import Dataset
from pfir.errors import TrainingError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.base import Activations, Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.batch_norm.restore import RestoreBatchNorm
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher, is_classifier
from pfir.passes.distillation.losses import PREFIX as LOSS
from pfir.passes.pipeline import run
from pfir.report.progress import Progress
from pfir.report.record import Epoch
from pfir.run.evaluate import Scores, evaluate
from pfir.system.memory import give_back
from pfir.train.distributed.launch import fit_in
from pfir.train.distributed.processes import ONE, Processes
from pfir.train.engines.choice import AUTO_ENGINE
from pfir.train.settings import Settings
from pfir.train.trainer import Progress as Step
from pfir.train.trainer import Result

MANY_SAMPLES = 10_000
FEW_SAMPLES = 800
LEARNING_RATE = {"many": 0.05, "few": 0.01, "values": 0.003}
"""Peaks with many samples and with few; `values` for what is no classifier, and has few: MediaPipe's face net, whose
loss has a curvature of 1,900 along its weights, learns at 0.003 from the first epoch on."""
NEAR, NEAR_RATE = 0.1, 0.01
"""Many samples teach a student that diverges from the original by less than the first, in nats, at no more than the
second: at 0.05 it loses in the first steps what it has, and five epochs do not bring that back (ResNet-56, half of its
channels gone, diverged by 0.05)."""
CLIP = 2.0
"""Without it the first steps at such a rate wreck a network whose loss is T^2 times a divergence."""
LABEL_WEIGHT = 0.3
LEAST_S = 1.0
SAME_WHEN_FLIPPED = 0.85
"""Images whose mirror image the original puts into the same class this often may be mirrored in training."""


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
        folder: For the files that they read and write; None for a temporary one.
    """

    epochs: int
    budget_s: float | None = None
    seed: int = 0
    jobs: int | None = None
    checkpoint: Path | None = None
    engine: str = AUTO_ENGINE
    processes: Processes = ONE
    folder: Path | None = None


def fine_tune(
    student: Model, teacher: Model, samples: Samples, activations: Activations, how: FineTuning, progress: Progress
) -> FineTuned:
    """The student after distillation; as it was, with a note, where it cannot be trained or training made it worse.

    Args:
        student: The compressed model; not changed.
        teacher: What it learns from.
        activations: Of any model, on the calibration data.
    """
    ends = Deadline.within(how.budget_s)
    settings = settings_for(teacher, samples, how)
    before = evaluate(student, samples.judging, teacher, settings.threads)
    settings = careful(settings, before.divergence)
    try:
        restored, _ = run((RestoreBatchNorm(),), student, Context(activations=activations, seed=how.seed))
        graph = without_slopes(attach_teacher(restored, teacher, distillation_for(samples)))
        give_back()
        timed = until(ends, settings)
        result = fit_in(how.processes, how.folder, graph, samples.train, timed, lambda p: tell(progress, p, timed))
    except TrainingError as error:
        return FineTuned(student, notes=(f"not fine-tuned: {error}",))
    give_back()  # the buffers of training, before two models are run on what judges them
    restored.set_arrays(result.arrays)
    folded, _ = run((FoldBatchNorm(),), restored, Context())
    tuned = student.clone()
    adopt(tuned, folded)
    tuned.record("fine-tune")
    curve = curve_of(result)
    after = evaluate(tuned, samples.judging, teacher, settings.threads)
    if _worse(before, after):
        note = "fine-tuning made the model worse and was dropped; more data or epochs may help"
        return FineTuned(student, curve, (*result.notes, note))
    return FineTuned(tuned, curve, tuple(result.notes), as_recipe(settings, result))


def careful(settings: Settings, divergence: float) -> Settings:
    """The settings with a rate that a student as near to its teacher as this bears."""
    rate = settings.learning_rate
    return replace(settings, learning_rate=min(rate, NEAR_RATE)) if divergence < NEAR else settings


def without_slopes(graph: TrainingGraph) -> TrainingGraph:
    """The graph with every slope of PRelu as it is.

    Behind a slope there may be a layer of any size, and no BatchNormalization between: in MediaPipe's face net the loss
    has a curvature of 35,000 along one of 24 slopes before an output, and of 1,900 along all else together. A rate that
    this slope could bear teaches the rest nothing.
    """
    slopes = {t.name for n in graph.model.nodes() if n.op == "PRelu" for t in n.inputs[1:]}
    return replace(graph, trainable=tuple(n for n in graph.trainable if n not in slopes))


def augmentation(teacher: Model, data: Dataset) -> str:
    """`flip-crop` for images that the original classifies alike when mirrored, else `none`."""
    probe = data.batch(np.arange(min(len(data), 256)))
    if len(probe) != 1 or next(iter(probe.values())).ndim != 4 or not is_classifier(teacher):
        return "none"
    name, images = next(iter(probe.items()))
    mirrored = np.ascontiguousarray(np.flip(images, 2 if images.shape[3] < images.shape[1] else 3))
    from pfir.run.session import Session

    session = Session(teacher)
    answers = [next(iter(session.predict({name: x}).values())).argmax(1) for x in (images, mirrored)]
    return "flip-crop" if np.mean(answers[0] == answers[1]) >= SAME_WHEN_FLIPPED else "none"


def settings_for(teacher: Model, samples: Samples, how: FineTuning) -> Settings:
    """How a student of this teacher learns from these samples."""
    many = len(samples.train) >= MANY_SAMPLES
    return Settings(
        epochs=how.epochs,
        batch=128 if many else min(32, len(samples.train)),
        learning_rate=LEARNING_RATE["many" if many else "few" if is_classifier(teacher) else "values"],
        weight_decay=1e-4,
        clip=CLIP,
        seed=how.seed,
        jobs=how.jobs,
        augment=augmentation(teacher, samples.train) if samples.kind == "given" else "none",
        renew=samples.kind == "generated",
        time_budget_s=how.budget_s,
        checkpoint=how.checkpoint,
        engine=how.engine,
    )


def distillation_for(samples: Samples) -> DistillationSettings:
    """What a student learns from them: the teacher's answers, and labels where there are some."""
    labelled = samples.labelled
    # A few hundred samples tell less about the statistics of a layer than the calibration data did.
    frozen = len(samples.train) < FEW_SAMPLES
    return DistillationSettings(
        teacher_weight=1.0, label_weight=LABEL_WEIGHT if labelled else 0.0, frozen_batch_norm=frozen
    )


def until(ends: Deadline, settings: Settings) -> Settings:
    """The settings with what is left of the time, where there is an end."""
    return settings if ends == NEVER else replace(settings, time_budget_s=max(ends.left_s(), LEAST_S))


def as_recipe(settings: Settings, result: Result) -> dict[str, object]:
    """What a recipe tells of a training."""
    told = ("batch", "learning_rate", "weight_decay", "augment", "renew", "seed")
    return {
        "epochs": len(result.curve),
        **{name: getattr(settings, name) for name in told},
        "engine": result.engine,
    }


def curve_of(result: Result) -> tuple[Epoch, ...]:
    """The training curve, as the report shows it."""
    return tuple(_epoch(entry) for entry in result.curve)


def tell(progress: Progress, p: Step, settings: Settings) -> None:
    """Show how far a training is."""
    if p.note:
        progress.note(p.note)
    share = p.step / max(p.steps, 1)
    if settings.time_budget_s and p.seconds_left is not None:
        share = max(share, 1 - p.seconds_left / settings.time_budget_s)
    progress.step(
        min(1.0, share),
        f"epoch {p.epoch}, loss {p.loss:.4f}, rate {p.learning_rate:.2g}, {p.samples_per_s:.0f} samples/s",
    )


def _worse(before: Scores, after: Scores) -> bool:
    return after.divergence > before.divergence and after.fidelity < before.fidelity


def _epoch(entry: dict) -> Epoch:
    known = ("step", "epoch", "loss", "learning_rate", "seconds")
    return Epoch(
        entry["epoch"],
        entry["loss"],
        {k.removeprefix(f"{LOSS}_").replace("_", " "): v for k, v in entry.items() if k not in known},
    )
