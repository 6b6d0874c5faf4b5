"""Learning the original's features before its last pooling, behind which its own head follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.edit import remove_dead
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.ir.training import TrainingGraph, trainable_initializers
from pfir.passes.distillation.attach_teacher import Terms
from pfir.passes.distillation.head import Head, head_of

ADAPTOR = "pfir_adaptor"

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Mimicry:
    """A student that learns the features of a teacher.

    Args:
        graph: What is trained; where the student has fewer channels before its head, with a 1x1 convolution behind them
            that makes as many as the teacher has.
        student, teacher: Their heads.
    """

    graph: TrainingGraph
    student: Head
    teacher: Head

    def arrays(self, learnt: Arrays) -> dict[str, np.ndarray]:
        """What was learnt, by names of the student's initializers, and its head as the teacher's.

        A 1x1 convolution and a mean change places, so that the one learnt becomes a part of the head.
        """
        ours, theirs = self.student, self.teacher
        matrix, bias = theirs.matrix(), _bias(theirs)
        if ADAPTOR in learnt:
            bias = bias + matrix @ learnt[f"{ADAPTOR}_bias"].astype(np.float64)
            matrix = matrix @ learnt[ADAPTOR][:, :, 0, 0].astype(np.float64)
        found = {name: array for name, array in learnt.items() if not name.startswith(ADAPTOR)}
        found[ours.weight] = ours.laid_out(matrix)
        if ours.bias is not None:
            found[ours.bias] = bias.astype(np.float32).reshape(_constant(ours).shape)
        return found


def mimicry(
    student: Model, teacher: Model, start: np.ndarray | None = None, frozen_batch_norm: bool = False
) -> Mimicry:
    """A training graph over copies of both models, whose loss is the relative error of the features.

    The head learns nothing: it is replaced by the teacher's.

    Args:
        student: The model to train; not changed.
        teacher: The model to follow.
        start: Where the adaptor begins, float32 [C of the teacher, C of the student].
        frozen_batch_norm: As of `DistillationSettings`.

    Raises:
        UsageError: As of `heads`.

    Source: Wang et al., "Compressing Models with Few Samples: Mimicking then Replacing", ECCV 2022, arXiv:2201.02620,
    section 3; theirs keeps the width of the features, ours learns an adaptor that the head takes in.
    """
    ours, theirs = heads(student, teacher)
    student, teacher = student.clone(), teacher.clone()
    infer_shapes(student)
    features = student.graph.tensors()[ours.features]
    trainable = trainable_initializers(student)
    if ours.channels != theirs.channels:
        features, trainable = _adapted(student, features, ours, theirs, start), (*trainable, ADAPTOR, f"{ADAPTOR}_bias")
    terms = Terms(student.graph, teacher)
    terms.match([(features, theirs.features)], 1.0)
    graph = terms.finish(student, trainable, frozen_batch_norm)
    return Mimicry(_without_head(graph), ours, theirs)


def heads(student: Model, teacher: Model) -> tuple[Head, Head]:
    """The heads of both models.

    Raises:
        UsageError: One of them has no head behind a mean, or the student's adds no bias.
    """
    found = []
    for model in (student, teacher):
        copy = model.clone()
        infer_shapes(copy)
        found.append(head_of(copy))
    ours, theirs = found
    if ours is None or theirs is None:
        raise UsageError("there are no features to mimic: a mean and a linear layer must give the scores of classes")
    if ours.bias is None:
        raise UsageError(f"{ours.layer.node.name} adds no bias, so that its head cannot become that of the original")
    return ours, theirs


def _adapted(student: Model, features: gs.Tensor, ours: Head, theirs: Head, start: np.ndarray | None) -> gs.Tensor:
    """The student's features as many as the teacher's."""
    begins = np.eye(theirs.channels, ours.channels, dtype=np.float32) if start is None else start
    weight = gs.Constant(ADAPTOR, np.ascontiguousarray(begins[:, :, None, None]))
    bias = gs.Constant(f"{ADAPTOR}_bias", np.zeros(theirs.channels, np.float32))
    shape = [features.shape[0], theirs.channels, *features.shape[2:]]
    adapted = gs.Variable(f"{ADAPTOR}_features", np.float32, shape)
    attributes = {"kernel_shape": [1, 1]}
    student.graph.nodes.append(gs.Node("Conv", ADAPTOR, attributes, [features, weight, bias], [adapted]))
    return adapted


def _without_head(graph: TrainingGraph) -> TrainingGraph:
    """The graph without what no loss depends on, in place; what is trained is among what is left."""
    assert graph.teacher is not None, "features are a teacher's"
    remove_dead(graph.model.graph)
    teacher = graph.teacher.until(tuple(graph.teacher_inputs))
    left = graph.model.initializers()
    trainable = tuple(name for name in graph.trainable if name in left)
    return replace(graph, teacher=teacher, trainable=trainable)


def _bias(head: Head) -> np.ndarray:
    """float64 [K]."""
    return np.zeros(len(head.matrix())) if head.bias is None else _constant(head).astype(np.float64).ravel()


def _constant(head: Head) -> np.ndarray:
    """The constant that the head adds."""
    node = head.layer.node
    readers = (node, *node.outputs[0].outputs)
    return next(t.values for n in readers for t in n.inputs if t.name == head.bias)
