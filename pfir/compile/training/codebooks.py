"""Training of a model with codebooks with the original as its teacher: the values move, the places stay."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import Deadline
from pfir.compile.training.fine_tuning import (
    FineTuned,
    FineTuning,
    as_recipe,
    curve_of,
    distillation_for,
    settings_for,
    tell,
    until,
    without_slopes,
)
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.passes.codebook.learning import learnable
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.report.progress import Progress
from pfir.run.evaluate import evaluate
from pfir.system.memory import give_back
from pfir.train.trainer import fit

TRAINED = "train-codebooks"
"""What stands in the provenance of a model whose codebooks were trained."""
RATE = 0.3
"""Of the peak of fine-tuning, as for integers of few bits: BatchNormalization is folded into what is learnt."""


def train_codebooks(model: Model, teacher: Model, samples: Samples, how: FineTuning, progress: Progress) -> FineTuned:
    """The model with codebooks after distillation; as it was, with a note, where that brought it no nearer.

    The values of codebooks and what else is float are learnt; the nodes and the places stay.

    Args:
        model: With weights out of codebooks; not changed.
        teacher: What it learns from.
    """
    ends, settings = Deadline.within(how.budget_s), settings_for(teacher, samples, how)
    settings = replace(settings, learning_rate=RATE * settings.learning_rate, weight_decay=0.0)
    try:
        learning = learnable(model)
        graph = learning.training(attach_teacher(learning.model, teacher, distillation_for(samples)))
        give_back()
        timed = until(ends, settings)
        result = fit(without_slopes(graph), samples.train, timed, lambda p: tell(progress, p, timed))
    except (TrainingError, UsageError) as error:
        return FineTuned(model, notes=(f"codebooks not trained: {error}",))
    give_back()  # the buffers of training, before two models are run on what judges them
    trained = learning.learnt(result.arrays)
    trained.record(TRAINED)
    before, after = (evaluate(m, samples.judging, teacher, settings.threads) for m in (model, trained))
    if after.divergence >= before.divergence:
        note = "training codebooks brought the model no nearer to the original and was dropped"
        return FineTuned(model, notes=(*result.notes, note))
    curve = curve_of(result)
    said = f"codebooks trained: fidelity {before.fidelity:.3f} -> {after.fidelity:.3f}, {len(curve)} epochs"
    return FineTuned(trained, curve, (*result.notes, said), as_recipe(settings, result))
