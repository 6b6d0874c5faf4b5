"""The distillation rewrite: a student and its teacher become a graph with a loss, a copy that is never exported."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph, sparse_initializers, trainable_initializers
from pfir.passes.distillation import losses


@dataclass(frozen=True)
class DistillationSettings:
    """How a student learns.

    Args:
        temperature: T > 0 of the softened class distributions.
        teacher_weight: Weight >= 0 of the term that follows the teacher.
        label_weight: Weight >= 0 of the cross-entropy with the labels; 0 where there are no labels.
        features: Tensors that student and teacher both have, with equal shapes, to be matched as well.
        feature_weight: Weight >= 0 of the mean over these.
        frozen_batch_norm: Keep the running statistics of BatchNormalization as they are.
    """

    temperature: float = 4.0
    teacher_weight: float = 0.9
    label_weight: float = 0.0
    features: tuple[str, ...] = ()
    feature_weight: float = 0.1
    frozen_batch_norm: bool = False

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise UsageError(f"temperature is {self.temperature}; it must be above 0")
        for name in ("teacher_weight", "label_weight", "feature_weight"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 0")


def attach_teacher(
    student: Model, teacher: Model | None, settings: DistillationSettings | None = None
) -> TrainingGraph:
    """A training graph over copies of both models, in which the zeros of sparse weights stay.

    A classifier (one float output `[N, K]`, K >= 2; a Softmax at its end is looked through) learns
    `teacher_weight * T^2 KL + label_weight * cross-entropy`; anything else learns the mean over its outputs of the
    squared error relative to the teacher's variance.

    Args:
        student: The model to train; not changed.
        teacher: The model to follow, with outputs of the same names; None to learn from labels alone.
        settings: Weights and temperature.

    Raises:
        UsageError: The teacher's outputs or the features do not match, or nothing is left to learn from.
    """
    settings = settings or DistillationSettings()
    student, teacher = student.clone(), teacher.clone() if teacher else None
    trainable = trainable_initializers(student)
    outputs = {t.name: t for t in student.graph.outputs}
    _check_features(student, teacher, settings)
    logits = logits_of(student)
    terms, wiring = Terms(student.graph, teacher), _same_outputs(outputs, teacher)
    if logits is not None:
        _classifier_terms(terms, logits, teacher, settings)
    elif wiring:
        terms.match(list(zip(wiring.values(), wiring, strict=True)), settings.teacher_weight)
    elif teacher is None:
        raise UsageError(
            f"the outputs {', '.join(outputs)} are not class scores [N, K]; without a teacher there is "
            "nothing to learn from"
        )
    terms.match([(student.graph.tensors()[n], n) for n in settings.features], settings.feature_weight)
    return terms.finish(student, trainable, settings)


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


def _check_features(student: Model, teacher: Model | None, settings: DistillationSettings) -> None:
    if settings.features and teacher is None:
        raise UsageError("features are given but no teacher; a feature is matched with the teacher's")
    for name in settings.features:
        if teacher and (name not in student.graph.tensors() or name not in teacher.graph.tensors()):
            raise UsageError(f"feature {name} is not a tensor of both student and teacher")


def _classifier_terms(terms: Terms, logits: gs.Tensor, teacher: Model | None, settings: DistillationSettings) -> None:
    if teacher is not None and settings.teacher_weight:
        theirs = logits_of(teacher)
        if theirs is None:
            name = teacher.graph.outputs[0].name
            raise UsageError(f"the teacher's output {name} has no known number of classes, which the student's has")
        taken = terms.teacher_input(theirs)
        terms.add(losses.distillation(terms.graph, logits, taken, settings.temperature), settings.teacher_weight)
    if settings.label_weight:
        terms.classify(logits, settings.label_weight)


class Terms:
    """Collects the terms of a loss, and which output of the teacher each of them reads."""

    def __init__(self, graph: gs.Graph, teacher: Model | None) -> None:
        self.graph, self.teacher = graph, teacher
        self.labels: gs.Variable | None = None
        self._terms: list[tuple[gs.Tensor, float]] = []
        self._inputs: dict[str, str] = {}
        self._variances: dict[str, str] = {}

    def add(self, term: gs.Tensor, weight: float) -> None:
        self._terms.append((term, weight))

    def classify(self, logits: gs.Tensor, weight: float, name: str = "cross_entropy") -> None:
        """Add the cross-entropy of the labels with these scores `[N, K]`."""
        if self.labels is None:
            self.labels = gs.Variable(f"{losses.PREFIX}_labels", np.int64, [logits.shape[0]])
            self.graph.inputs.append(self.labels)
        self.add(losses.cross_entropy(self.graph, logits, self.labels, name), weight)

    def teacher_input(self, tensor: gs.Tensor) -> gs.Variable:
        """An input of the training graph that takes this tensor of the teacher."""
        taken = gs.Variable(f"{losses.PREFIX}_teacher_{tensor.name}", np.float32, tensor.shape and list(tensor.shape))
        self.graph.inputs.append(taken)
        self._inputs[tensor.name] = taken.name
        return taken

    def match(self, pairs: list[tuple[gs.Tensor, str]], weight: float) -> None:
        """Add a relative error per pair of (student's tensor, teacher's name for it); the weights sum to `weight`."""
        if not pairs or not weight:
            return
        assert self.teacher is not None, "pairs name tensors of a teacher"
        graph = self.teacher.graph
        for ours, name in pairs:
            theirs = graph.tensors()[name]
            if theirs not in graph.outputs:
                graph.outputs.append(theirs)
            variance = gs.Constant(f"{losses.PREFIX}_variance_{name}", np.array(1, np.float32))
            self._variances[name] = variance.name
            taken = self.teacher_input(theirs)
            self.add(losses.relative_error(self.graph, ours, taken, variance, f"error_{name}"), weight / len(pairs))

    def finish(self, student: Model, trainable: tuple[str, ...], settings: DistillationSettings) -> TrainingGraph:
        if not self._terms:
            raise UsageError("nothing to learn from: every weight of the loss is 0 or lacks its teacher or labels")
        loss = losses.total(self.graph, self._terms)
        metrics = [t for t, _ in self._terms]
        self.graph.outputs = [loss, *metrics]
        student.source = None
        return TrainingGraph(
            student,
            loss.name,
            trainable,
            tuple(t.name for t in metrics),
            self.labels.name if self.labels else None,
            self.teacher if self._inputs else None,
            self._inputs,
            self._variances,
            settings.frozen_batch_norm,
            sparse_initializers(student, trainable),
        )
