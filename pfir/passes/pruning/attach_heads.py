"""The discrimination rewrite: a classifier with heads at inner tensors becomes a graph with a loss, never exported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph, trainable_initializers
from pfir.passes.distillation import losses
from pfir.passes.distillation.attach_teacher import logits_of
from pfir.passes.distillation.terms import Terms


@dataclass(frozen=True)
class Head:
    """A head FC(avgpool(ReLU(BN(x)))) at an inner tensor x [N, C, *k]: scores [N, K] of the model's classes.

    Args:
        point: The tensor's name.
        mean: The mean of each channel, [C].
        deviation: The deviation of each channel, [C], above 0; BN is (x - mean) / deviation, its scale 1 and shift 0 to
            start from.
        weight: [C, K].
        bias: [K].
    """

    point: str
    mean: np.ndarray
    deviation: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def attach_heads(
    student: Model,
    heads: Sequence[Head],
    own: bool,
    teacher: Model | None = None,
    matched: Sequence[str] = (),
) -> TrainingGraph:
    """A training graph over a copy of the student, which computes only what its loss depends on.

    The loss is the sum of the cross-entropies of the heads' scores with the labels, of the model's own scores if asked
    for, and of the mean squared error of each matched tensor relative to its variance in the teacher.

    Args:
        student: The classifier; it is not changed, nor is any output of it: heads only read.
        heads: Their arrays are trainable, after the student's own.
        own: Whether the model's own classification counts.
        teacher: The model that gives the matched tensors; not changed.
        matched: The names of tensors that both have, with equal shapes.

    Raises:
        UsageError: The student is asked for its own classification and is no classifier.

    Source: Zhuang et al., "Discrimination-aware Channel Pruning for Deep Neural Networks", NeurIPS 2018,
    arXiv:1810.11809, section 3.2 (losses) and 3.3 (joint loss). Ours divides reconstruction errors by the variance of
    what is reconstructed, so that layers of any scale count alike.
    """
    student = student.clone()
    teacher = _only(teacher, matched) if teacher is not None else None
    trainable = list(trainable_initializers(student))
    terms, tensors = Terms(student.graph, teacher), student.graph.tensors()
    for number, head in enumerate(heads):
        arrays = _arrays(head, number, len(tensors[head.point].shape) - 2)
        trainable += [a.name for a in arrays]
        terms.classify(_scores(student.graph, tensors[head.point], arrays, number), 1.0, f"head{number}")
    if own:
        terms.classify(_own_scores(student), 1.0)
    # The weight is shared out among the tensors: each counts as much as a head.
    terms.match([(tensors[name], name) for name in matched], float(len(matched)))
    return terms.finish(student, tuple(trainable), frozen_batch_norm=True)


def _only(teacher: Model, names: Sequence[str]) -> Model:
    """The teacher without what comes after these tensors."""
    copy = teacher.until(names)
    for tensor in copy.graph.outputs:
        tensor.dtype = np.dtype(tensor.dtype or np.float32)
    return copy


def _own_scores(student: Model) -> gs.Tensor:
    outputs = ", ".join(t.name for t in student.graph.outputs)
    logits = logits_of(student)
    if logits is None:
        raise UsageError(f"the outputs {outputs} are not class scores [N, K]; there is nothing to discriminate")
    return logits


def _arrays(head: Head, number: int, rank: int) -> tuple[gs.Constant, ...]:
    """The arrays of a head: BN as a scale and a shift, and FC."""
    shape = (1, -1) + (1,) * rank
    found = {
        "scale": (1 / head.deviation).reshape(shape),
        "shift": (-head.mean / head.deviation).reshape(shape),
        "weight": head.weight,
        "bias": head.bias,
    }
    return tuple(
        gs.Constant(f"{losses.PREFIX}_head{number}_{name}", np.ascontiguousarray(x, np.float32))
        for name, x in found.items()
    )


def _scores(graph: gs.Graph, point: gs.Tensor, arrays: tuple[gs.Constant, ...], number: int) -> gs.Variable:
    scale, shift, weight, bias = arrays
    x = point
    steps = [
        ("Mul", [scale]),
        ("Add", [shift]),
        ("Relu", []),
        ("GlobalAveragePool", []),
        ("Flatten", []),
        ("MatMul", [weight]),
        ("Add", [bias]),
    ]
    for at, (op, more) in enumerate(steps):
        name = f"{losses.PREFIX}_head{number}_{at}{op}"
        y = gs.Variable(name, np.float32)
        graph.nodes.append(gs.Node(op, f"{name}_node", {}, [x, *more], [y]))
        x = y
    x.shape = [point.shape[0], weight.shape[1]]
    return x
