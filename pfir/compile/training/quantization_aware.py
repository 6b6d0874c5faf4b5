"""Training of a quantized model with the original as its teacher: its roundings stand in the graph that learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pfir.compile.calibration.samples import Samples
from pfir.compile.deadline import Deadline
from pfir.compile.precision.layers import TRAINED
from pfir.compile.training.fine_tuning import FineTuned, FineTuning, as_recipe, judge_for, settings_for, where_nearer
from pfir.compile.training.judging import Judge
from pfir.errors import TrainingError, UsageError
from pfir.ir.model import Model
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.quantization.grids import LARGEST_BITS
from pfir.passes.quantization.qdq.fake_quantize import fake_quantized
from pfir.passes.quantization.qdq.integer_layers import Bits, integer_layers
from pfir.passes.quantization.rounding.chains import shorten_chains
from pfir.report.progress import Progress
from pfir.report.record import Epoch

RATE_OF_EIGHT, RATE_OF_FEWER = 0.1, 0.3
"""Of the peak of fine-tuning, by the bits of weights: the paper takes a tenth for eight of what it takes for fewer, and
BatchNormalization is folded into what is quantized. On a net of three convolutions in three bits a rate of 0.03 or 0.1
taught nothing in six epochs, 0.3 most, and 1 less."""


def train_quantized(
    model: Model,
    weight_bits: Bits,
    teacher: Model,
    samples: Samples,
    how: FineTuning,
    progress: Progress,
    judge: Judge | None = None,
) -> FineTuned:
    """The quantized model after distillation; as it was, with a note, where that cannot be, or brought it no nearer.

    Integers of weights and biases and the scales of both weights and activations are learnt; the nodes stay.

    Args:
        model: Standard ONNX Q/DQ; not changed.
        weight_bits: 2 to 8, of all layers or by name of the node.
        teacher: What it learns from.
        judge: Tells whether training helped; made of the samples where none is given.

    Source: Esser et al., "Learned Step Size Quantization", ICLR 2020, arXiv:1902.08153, section 2, with the original
    as the teacher.
    """
    ends, judge = Deadline.within(how.budget_s), judge or judge_for(teacher, samples, how)
    settings = settings_for(teacher, samples, how, judge.augment)
    least = weight_bits if isinstance(weight_bits, int) else min(weight_bits.values(), default=LARGEST_BITS)
    rate = RATE_OF_EIGHT if least == LARGEST_BITS else RATE_OF_FEWER
    settings = replace(settings, learning_rate=rate * settings.learning_rate)
    course = how.course(teacher, samples, settings, ends, progress)
    try:
        fake = fake_quantized(model, weight_bits)
        graph = fake.training(attach_teacher(fake.model, teacher, course.losses(fake.model)))
        result = course.fit(graph, fake.learnt)
    except (TrainingError, UsageError) as error:
        return FineTuned(model, notes=(f"not trained with integers in place: {error}",))
    trained = fake.learnt(result.arrays)
    shorten_chains(trained, {layer.node for layer in integer_layers(trained)})
    trained.record(TRAINED)
    recipe = as_recipe(how, settings, result)
    return where_nearer(model, trained, result, judge, "training with integers in place", recipe)


def joined_curves(before: Sequence[Epoch], after: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """One training curve of two, the epochs of the second counted on."""
    done = before[-1].epoch if before else 0
    return (*before, *(replace(entry, epoch=done + entry.epoch) for entry in after))
