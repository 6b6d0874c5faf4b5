"""Training of a model with codebooks with the original as its teacher: the values move, the places stay."""

from __future__ import annotations

from dataclasses import replace

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import Deadline
from pfir.compile.training.fine_tuning import FineTuned, FineTuning, as_recipe, judge_for, settings_for, where_nearer
from pfir.compile.training.judging import Judge
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.passes.codebook.learning import learnable
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.report.progress import Progress

TRAINED = "train-codebooks"
"""What stands in the provenance of a model whose codebooks were trained."""
RATE = 0.3
"""Of the peak of fine-tuning, as for integers of few bits: BatchNormalization is folded into what is learnt."""


def train_codebooks(
    model: Model,
    teacher: Model,
    samples: Samples,
    how: FineTuning,
    progress: Progress,
    judge: Judge | None = None,
) -> FineTuned:
    """The model with codebooks after distillation; as it was, with a note, where that brought it no nearer.

    The values of codebooks and what else is float are learnt; the nodes and the places stay.

    Args:
        model: With weights out of codebooks; not changed.
        teacher: What it learns from.
        judge: Tells whether training helped; made of the samples where none is given.
    """
    ends, judge = Deadline.within(how.budget_s), judge or judge_for(teacher, samples, how)
    settings = settings_for(teacher, samples, how, judge.augment)
    settings = replace(settings, learning_rate=RATE * settings.learning_rate, weight_decay=0.0)
    course = how.course(teacher, samples, settings, ends, progress)
    try:
        learning = learnable(model)
        graph = learning.training(attach_teacher(learning.model, teacher, course.losses(learning.model)))
        result = course.fit(graph, learning.learnt)
    except (TrainingError, UsageError) as error:
        return FineTuned(model, notes=(f"codebooks not trained: {error}",))
    trained = learning.learnt(result.arrays)
    trained.record(TRAINED)
    return where_nearer(model, trained, result, judge, "training of codebooks", as_recipe(how, settings, result))
