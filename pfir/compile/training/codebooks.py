"""Training of a model with codebooks with the original as its teacher: the values move, the places stay."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import Deadline
from pfir.compile.training.compiled_teacher import answering
from pfir.compile.training.fine_tuning import FineTuned, FineTuning, as_recipe, curve_of, judge_for, settings_for
from pfir.compile.training.held_back import HeldBack
from pfir.compile.training.judging import Judge
from pfir.compile.training.losses import losses_for
from pfir.compile.training.teaching import tell, until, without_slopes
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.passes.codebook.learning import learnable
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.report.progress import Progress
from pfir.system.memory import give_back
from pfir.train.distributed.launch import fit_in
from pfir.train.fitting.judges import Judges

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
    try:
        learning = learnable(model)
        distillation = losses_for(samples, settings, how.options, learning.model)
        graph = without_slopes(learning.training(attach_teacher(learning.model, teacher, distillation)))
        give_back()
        with answering(how.compiled, graph, len(samples.train), settings) as answers:
            held_back = HeldBack(samples.judging, teacher, learning.learnt, settings.threads)
            timed = until(ends, settings)
            told = partial(tell, progress, settings=timed, held_back=held_back)
            result = fit_in(how.processes, graph, samples.train, timed, told, Judges(watch=held_back), answers)
    except (TrainingError, UsageError) as error:
        return FineTuned(model, notes=(f"codebooks not trained: {error}",))
    give_back()  # the buffers of training, before two models are run on what judges them
    trained = learning.learnt(result.arrays)
    trained.record(TRAINED)
    before, after = judge.scores(model), judge.scores(trained)
    if after.divergence >= before.divergence:
        note = "training codebooks brought the model no nearer to the original and was dropped"
        return FineTuned(model, notes=(*result.notes, note))
    curve = curve_of(result)
    said = f"codebooks trained: fidelity {before.fidelity:.3f} -> {after.fidelity:.3f}, {len(curve)} epochs"
    return FineTuned(trained, curve, (*result.notes, said), as_recipe(how, settings, result))
