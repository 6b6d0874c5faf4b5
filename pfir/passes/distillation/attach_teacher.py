"""The distillation rewrite: a student and its teacher become a graph with a loss, a copy that is never exported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph, trainable_initializers
from pfir.passes.distillation import losses
from pfir.passes.distillation.features import features_of, match_features
from pfir.passes.distillation.own_loss import add_own_loss
from pfir.passes.distillation.terms import Terms

AUTO = "auto"
LOSSES = (AUTO, *losses.RELATIVE)


@dataclass(frozen=True)
class DistillationSettings:
    """How a student learns.

    Args:
        temperature: T > 0 of the softened class distributions.
        teacher_weight: Weight >= 0 of the term that follows the teacher.
        label_weight: Weight >= 0 of the cross-entropy with the labels; 0 where there are no labels.
        label_smoothing: The share of every label that all classes have alike, in [0, 1).
        mixed: Whether samples are mixed by twos, so that each has two labels and a share of the first.
        target_weight: Weight >= 0 of the error against the values that the data gives for the only output of what is
            no classifier; 0 where it gives none.
        loss: How outputs are held against the teacher's and the data's: `auto` by their classes where the model has
            the shape of a classifier and the data gives no values, else `l2`; or, whatever shape they have, as values
            by `l2`, `l1`, `huber` or `wing` (`losses.relative`).
        own: A loss to be made small in place of all these, as `own_loss.add_own_loss` takes it; None for none.
        features: Tensors that student and teacher both have, to be matched as well, or `features.AUTO_FEATURES`.
        feature_weight: Weight >= 0 of the mean over these.
        frozen_batch_norm: Keep the running statistics of BatchNormalization as they are.
    """

    temperature: float = 4.0
    teacher_weight: float = 0.9
    label_weight: float = 0.0
    label_smoothing: float = 0.0
    mixed: bool = False
    target_weight: float = 0.0
    loss: str = AUTO
    own: Model | None = None
    features: tuple[str, ...] = ()
    feature_weight: float = 0.1
    frozen_batch_norm: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UsageError(f"temperature is {self.temperature}; it must be above 0")
        for name in ("teacher_weight", "label_weight", "target_weight", "feature_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 0")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(f"label_smoothing is {self.label_smoothing}; it must be in [0, 1)")
        if self.loss not in LOSSES:
            raise UsageError(f"loss is {self.loss}; it must be one of {', '.join(LOSSES)}, or an .onnx file")

    @property
    def values(self) -> bool:
        """Whether outputs are values, even those that have the shape of class scores."""
        return self.loss != AUTO or self.target_weight > 0

    @property
    def kind(self) -> str:
        """How values are held against others."""
        return losses.L2 if self.loss == AUTO else self.loss


def attach_teacher(
    student: Model, teacher: Model | None, settings: DistillationSettings | None = None
) -> TrainingGraph:
    """A training graph over copies of both models, in which the zeros of sparse weights stay.

    A classifier (one float output `[N, K]`, K >= 2, unless the settings take it for values; a Softmax at its end is
    looked through) learns
    `teacher_weight * T^2 KL + label_weight * cross-entropy`; anything else learns the mean over its outputs of the
    error relative to the teacher's variance, and to that of the data's values where these are given. Features come on
    top of either, and of a loss of the user's own.

    Args:
        student: The model to train; not changed.
        teacher: The model to follow, with outputs of the same names; None to learn from the data alone.
        settings: Weights, temperature and kinds of losses.

    Raises:
        UsageError: The teacher's outputs, the features or a loss of the user's do not match, or nothing is left to
            learn from.
    """
    settings = settings or DistillationSettings()
    student, teacher = student.clone(), teacher.clone() if teacher else None
    trainable = trainable_initializers(student)
    outputs = {t.name: t for t in student.graph.outputs}
    features = features_of(student, teacher, settings.features)
    wiring = _same_outputs(outputs, teacher)
    terms = Terms(student.graph, teacher, settings.mixed and settings.own is None)
    if settings.own is not None:
        add_own_loss(terms, outputs, settings.own)
    elif not settings.values and (logits := logits_of(student)) is not None:
        _classifier_terms(terms, logits, teacher, settings)
    else:
        _value_terms(terms, outputs, wiring, settings)
    match_features(terms, features, settings.feature_weight)
    return terms.finish(student, trainable, settings.frozen_batch_norm)


def is_classifier(model: Model) -> bool:
    """Whether the model has one float output `[N, K]` with K >= 2, the shape of class scores."""
    return logits_of(model.clone()) is not None


def logits_of(model: Model) -> gs.Tensor | None:
    """The class scores `[N, K]` of a classifier, before a Softmax at its end, which the model loses; else None."""
    if len(model.graph.outputs) != 1:
        return None
    output = model.graph.outputs[0]
    shape = output.shape
    if output.dtype not in (None, np.dtype(np.float32)) or shape is None or len(shape) != 2:
        return None
    if not isinstance(shape[1], int | np.integer) or shape[1] < 2:
        return None
    last = output.inputs[0] if output.inputs else None
    if last is None or last.op != "Softmax" or last.attrs.get("axis", -1) not in (-1, 1):
        return output
    logits = last.inputs[0]
    logits.shape, logits.dtype = list(shape), np.dtype(np.float32)
    model.graph.outputs = [logits]
    return logits


def _same_outputs(outputs: dict[str, gs.Tensor], teacher: Model | None) -> dict[str, gs.Tensor]:
    if teacher is None:
        return {}
    names = [t.name for t in teacher.graph.outputs]
    if names != list(outputs):
        raise UsageError(f"the teacher's outputs are {', '.join(names)}; the student's are {', '.join(outputs)}")
    return {n: t for n, t in outputs.items() if t.dtype in (None, np.dtype(np.float32))}


def _value_terms(
    terms: Terms, outputs: Mapping[str, gs.Tensor], wiring: Mapping[str, gs.Tensor], settings: DistillationSettings
) -> None:
    """Add the errors against the teacher's outputs, and against the data's values where they count.

    Args:
        wiring: The outputs that the teacher has too.
    """
    if terms.teacher is None and not settings.target_weight:
        raise UsageError(
            f"the outputs {', '.join(outputs)} are not class scores [N, K]; without a teacher or values in the data "
            "there is nothing to learn from"
        )
    terms.match(list(zip(wiring.values(), wiring, strict=True)), settings.teacher_weight, settings.kind)
    if settings.target_weight:
        if len(outputs) > 1:
            raise UsageError(
                f"the data's values are for one output; the model has {len(outputs)}: {', '.join(outputs)}"
            )
        terms.approach(next(iter(outputs.values())), settings.target_weight, settings.kind)


def _classifier_terms(terms: Terms, logits: gs.Tensor, teacher: Model | None, settings: DistillationSettings) -> None:
    if teacher is not None and settings.teacher_weight:
        theirs = logits_of(teacher)
        if theirs is None:
            name = teacher.graph.outputs[0].name
            raise UsageError(f"the teacher's output {name} has no known number of classes, which the student's has")
        taken = terms.teacher_input(theirs)
        terms.add(losses.distillation(terms.graph, logits, taken, settings.temperature), settings.teacher_weight)
    if settings.label_weight:
        terms.classify(logits, settings.label_weight, smoothing=settings.label_smoothing)
