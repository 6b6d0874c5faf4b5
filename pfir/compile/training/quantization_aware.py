"""Training of a quantized model with the original as its teacher: its roundings stand in the graph that learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import Deadline
from pfir.compile.precision.layers import TRAINED
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
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.quantization.grids import LARGEST_BITS
from pfir.passes.quantization.qdq.fake_quantize import fake_quantized
from pfir.passes.quantization.qdq.integer_layers import integer_layers
from pfir.passes.quantization.rounding.chains import shorten_chains
from pfir.report.progress import Progress
from pfir.report.record import Epoch
from pfir.run.evaluate import evaluate
from pfir.system.memory import give_back
from pfir.train.trainer import fit

RATE_OF_EIGHT, RATE_OF_FEWER = 0.1, 0.3
"""Of the peak of fine-tuning, by the bits of weights: the paper takes a tenth for eight of what it takes for fewer, and
BatchNormalization is folded into what is quantized. On a net of three convolutions in three bits a rate of 0.03 or 0.1
taught nothing in six epochs, 0.3 most, and 1 less."""


def train_quantized(
    model: Model, weight_bits: int, teacher: Model, samples: Samples, how: FineTuning, progress: Progress
) -> FineTuned:
    """The quantized model after distillation; as it was, with a note, where that cannot be, or brought it no nearer.

    Integers of weights and biases and the scales of both weights and activations are learnt; the nodes stay.

    Args:
        model: Standard ONNX Q/DQ; not changed.
        weight_bits: 2 to 8.
        teacher: What it learns from.

    Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv:1902.08153, section 2, with the original
    as the teacher.
    """
    ends, settings = Deadline.within(how.budget_s), settings_for(teacher, samples, how)
    rate = RATE_OF_EIGHT if weight_bits == LARGEST_BITS else RATE_OF_FEWER
    settings = replace(settings, learning_rate=rate * settings.learning_rate)
    try:
        fake = fake_quantized(model, weight_bits)
        graph = without_slopes(fake.training(attach_teacher(fake.model, teacher, distillation_for(samples))))
        give_back()
        with how.answering(graph, samples, settings) as answers:
            timed = until(ends, settings)
            result = fit(graph, samples.train, timed, lambda p: tell(progress, p, timed), answers=answers)
    except (TrainingError, UsageError) as error:
        return FineTuned(model, notes=(f"not trained with integers in place: {error}",))
    give_back()  # the buffers of training, before two models are run on what judges them
    trained = fake.learnt(result.arrays)
    shorten_chains(trained, {layer.node for layer in integer_layers(trained)})
    trained.record(TRAINED)
    before, after = (evaluate(m, samples.judging, teacher, settings.threads) for m in (model, trained))
    if after.divergence >= before.divergence:
        note = "training with integers in place brought the model no nearer to the original and was dropped"
        return FineTuned(model, notes=(*result.notes, note))
    curve = curve_of(result)
    said = (
        f"trained with integers in place: fidelity {before.fidelity:.3f} -> {after.fidelity:.3f}, {len(curve)} epochs"
    )
    return FineTuned(trained, curve, (*result.notes, said), as_recipe(settings, result))


def joined_curves(before: Sequence[Epoch], after: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """One training curve of two, the epochs of the second counted on."""
    done = before[-1].epoch if before else 0
    return (*before, *(replace(entry, epoch=done + entry.epoch) for entry in after))
