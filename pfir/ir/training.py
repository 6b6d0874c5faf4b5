"""A training graph as data: passes make it, the trainer fits it, nobody exports it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.edit import is_op
from pfir.ir.model import Model
from pfir.ir.operators.table import operator_of

# ONNX Runtime has no gradient of the first; the others pick single numbers, which are settings rather than embeddings.
_NOT_LEARNT = ("RNN", "GatherElements", "GatherND")


LEAST_ZEROS = 0.01
"""A weight with this share of exact zeros was made sparse; training alone hardly ever meets one."""


@dataclass(frozen=True)
class Growth:
    """How zeros spread while a graph is trained: along a cubic curve, the least weights first.

    Args:
        sparsity: Share of zeros at the end, in [0, 1), by name of the initializer.
        begin, end: Shares of the training between which they spread, 0 <= begin < end <= 1.
        updates: How often new zeros are chosen, >= 1.
        keep: Which of an initializer's values stay, bool in its shape, where a share of them becomes zero; None for
            those of the largest magnitude.

    Source: Zhu and Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", ICLR
    Workshops 2018, arXiv:1710.01878, section 3.
    """

    sparsity: Mapping[str, float]
    begin: float = 0.0
    end: float = 0.75
    updates: int = 20
    keep: Callable[[str, np.ndarray, float], np.ndarray] | None = None

    def __post_init__(self) -> None:
        for name, share in self.sparsity.items():
            if not 0 <= share < 1:
                raise UsageError(f"the sparsity of {name} is {share}; it must be in [0, 1)")
        if not 0 <= self.begin < self.end <= 1:
            raise UsageError(
                f"zeros spread from {self.begin} to {self.end} of the training; give 0 <= begin < end <= 1"
            )
        if self.updates < 1:
            raise UsageError(f"updates is {self.updates}; it must be at least 1")


@dataclass(frozen=True)
class TrainingGraph:
    """A student with a loss, beside the teacher that it learns from.

    The teacher is a model of its own, not a part of the student's graph: it needs no gradient, so the trainer runs it
    in an inference session (three times as fast as inside the training graph) and feeds its outputs to the loss.

    Args:
        model: Student and losses in one graph; the student's initializers keep their names, so what was learnt can be
            written back by name.
        loss: The scalar float output to minimise, a mean over the samples.
        trainable: Initializers to learn.
        metrics: Further scalar outputs worth showing (each term of the loss).
        labels: The int64 input `[N]` that takes the class indices; None if the loss needs none.
        label_partners: The int64 input `[N]` that takes the classes of what samples are mixed with; None for none.
        label_shares: The float32 input `[N]` that takes how much of each sample is itself; None with `label_partners`.
        targets: The float32 input `[N, ...]` that takes the values which the data gives for the output; None for none.
        target_variance: The scalar initializer that takes the variance of these over the data; None where none does.
        teacher: Run on the same inputs as the student; None if nothing is distilled.
        teacher_inputs: Output of the teacher to the input of `model` that takes it.
        variances: Output of the teacher to the scalar initializer of `model` that takes the variance of that output
            over the data; the trainer measures it before the first step.
        frozen_batch_norm: True where BatchNormalization keeps its running statistics and acts as in inference.
        masked: Trainable initializers whose zeros stay zero.
        growth: How further ones of them become zero; None where none do.
    """

    model: Model
    loss: str
    trainable: tuple[str, ...]
    metrics: tuple[str, ...] = ()
    labels: str | None = None
    label_partners: str | None = None
    label_shares: str | None = None
    targets: str | None = None
    target_variance: str | None = None
    teacher: Model | None = None
    teacher_inputs: Mapping[str, str] = field(default_factory=dict)
    variances: Mapping[str, str] = field(default_factory=dict)
    frozen_batch_norm: bool = False
    masked: tuple[str, ...] = ()
    growth: Growth | None = None


def sparse_initializers(model: Model, names: Sequence[str]) -> tuple[str, ...]:
    """Those of these initializers that are weights with some zeros, of which training should make none anew."""
    held = model.initializers()
    arrays = {name: held[name].values for name in names}
    return tuple(n for n, x in arrays.items() if x.ndim > 1 and np.mean(x == 0) >= LEAST_ZEROS)


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
    operator = operator_of(node) if is_op(node, node.op) and node.op not in _NOT_LEARNT else None
    places = () if operator is None else operator.parameters
    return [node.inputs[i] for i in places if i < len(node.inputs) and isinstance(node.inputs[i], gs.Constant)]
