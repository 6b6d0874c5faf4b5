"""A training graph as data: passes make it, the trainer fits it, nobody exports it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.model import Model

# Input positions that hold what an operator learns; Add is judged by what it follows (see _weights_of).
_WEIGHTS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (0, 1, 2),
    "MatMul": (0, 1),
    "BatchNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2),
    "PRelu": (1,),
    "LSTM": (1, 2, 3),
    "GRU": (1, 2, 3),
    "Gather": (0,),
}


@dataclass(frozen=True)
class TrainingGraph:
    """A student with a loss, beside the teacher that it learns from.

    The teacher is a model of its own, not a part of the student's graph: it needs no gradient, so the trainer runs it
    in an inference session (three times as fast as inside the training graph) and feeds its outputs to the loss.

    Args:
        model: Student and losses in one graph; the student's initializers keep their names, so what was learnt can be
            written back by name.
        loss: The scalar float output to minimise.
        trainable: Initializers to learn.
        metrics: Further scalar outputs worth showing (each term of the loss).
        labels: The int64 input `[N]` that takes the class indices; None if the loss needs none.
        teacher: Run on the same inputs as the student; None if nothing is distilled.
        teacher_inputs: Output of the teacher to the input of `model` that takes it.
        variances: Output of the teacher to the scalar initializer of `model` that takes the variance of that output
            over the data; the trainer measures it before the first step.
        frozen_batch_norm: True where BatchNormalization keeps its running statistics and acts as in inference.
    """

    model: Model
    loss: str
    trainable: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    labels: str | None = None
    teacher: Model | None = None
    teacher_inputs: Mapping[str, str] = field(default_factory=dict)
    variances: Mapping[str, str] = field(default_factory=dict)
    frozen_batch_norm: bool = False


def trainable_initializers(model: Model) -> tuple[str, ...]:
    """The float32 initializers that layers learn: weights, biases, scales and slopes, in the order of use."""
    found: dict[str, None] = {}
    for node in model.graph.nodes:
        found.update((t.name, None) for t in _weights_of(node) if t.values.dtype == np.float32 and t.values.size)
    return tuple(found)


def _weights_of(node: gs.Node) -> list[gs.Constant]:
    if node.op == "Add":
        # A bias beside a MatMul; an Add of anything else is arithmetic that the model's author wrote.
        produced = [t.inputs[0].op for t in node.inputs if t.inputs]
        return [t for t in node.inputs if isinstance(t, gs.Constant)] if produced == ["MatMul"] else []
    inputs = [node.inputs[i] for i in _WEIGHTS.get(node.op, ()) if i < len(node.inputs)]
    return [t for t in inputs if isinstance(t, gs.Constant)]
