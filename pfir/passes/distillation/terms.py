"""The terms of a loss as they are collected, with every input that they need and what of the teacher feeds it."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph, sparse_initializers
from pfir.passes.distillation import losses
from pfir.passes.distillation.losses import L2, PREFIX, Labels


class Terms:
    """Collects the terms of a loss, and which output of the teacher each of them reads.

    Args:
        graph: The student's, which receives the nodes.
        teacher: The model to follow; None where there is none.
        mixed: Whether samples are mixed by twos, so that each has two labels.
    """

    def __init__(self, graph: gs.Graph, teacher: Model | None, mixed: bool = False) -> None:
        self.graph, self.teacher, self._mixed = graph, teacher, mixed
        self.labels: Labels | None = None
        self.targets: gs.Variable | None = None
        self._terms: list[tuple[gs.Tensor, float]] = []
        self._inputs: dict[str, str] = {}
        self._variances: dict[str, str] = {}
        self._target_variance: str | None = None
        self._learnt: list[str] = []

    def add(self, term: gs.Tensor, weight: float) -> None:
        """Add a scalar."""
        self._terms.append((term, weight))

    def learn(self, array: gs.Constant) -> None:
        """Train this initializer as well, which the loss alone reads."""
        self._learnt.append(array.name)

    def classify(self, logits: gs.Tensor, weight: float, name: str = "cross_entropy", smoothing: float = 0.0) -> None:
        """Add the cross-entropy of the labels with these scores `[N, K]`."""
        labels = self.class_labels(logits.shape[0])
        self.add(losses.cross_entropy(self.graph, logits, labels, name, smoothing), weight)

    def class_labels(self, batch: object) -> Labels:
        """The inputs that take labels, made where there are none yet.

        Args:
            batch: The size of their only axis.
        """
        if self.labels is None:
            classes = self._input("labels", np.int64, [batch])
            other = self._input("label_partners", np.int64, [batch]) if self._mixed else None
            shares = self._input("label_shares", np.float32, [batch]) if self._mixed else None
            self.labels = Labels(classes, other, shares)
        return self.labels

    def approach(self, output: gs.Tensor, weight: float, kind: str = L2) -> None:
        """Add the error of an output against the values of the data, relative to their variance."""
        variance = gs.Constant(f"{PREFIX}_target_variance", np.array(1, np.float32))
        self._target_variance = variance.name
        target = self.target_values(output)
        self.add(losses.relative(self.graph, output, target, variance, f"target_{output.name}", kind), weight)

    def target_values(self, output: gs.Tensor) -> gs.Variable:
        """The input that takes the values which the data gives for this output, made where there is none yet."""
        if self.targets is None:
            self.targets = self._input("targets", np.float32, output.shape and list(output.shape))
        return self.targets

    def teacher_input(self, tensor: gs.Tensor) -> gs.Variable:
        """An input of the training graph that takes this tensor of the teacher."""
        taken = self._input(f"teacher_{tensor.name}", np.float32, tensor.shape and list(tensor.shape))
        self._inputs[tensor.name] = taken.name
        return taken

    def match(self, pairs: list[tuple[gs.Tensor, str]], weight: float, kind: str = L2) -> None:
        """Add a relative error per pair of (student's tensor, teacher's name for it); the weights sum to `weight`."""
        if not pairs or not weight:
            return
        assert self.teacher is not None, "pairs name tensors of a teacher"
        graph = self.teacher.graph
        for ours, name in pairs:
            theirs = graph.tensors()[name]
            if theirs not in graph.outputs:
                graph.outputs.append(theirs)
            variance = gs.Constant(f"{PREFIX}_variance_{name}", np.array(1, np.float32))
            self._variances[name] = variance.name
            taken = self.teacher_input(theirs)
            term = losses.relative(self.graph, ours, taken, variance, f"error_{name}", kind)
            self.add(term, weight / len(pairs))

    def finish(self, student: Model, trainable: tuple[str, ...], frozen_batch_norm: bool) -> TrainingGraph:
        """The training graph of all terms; the student's outputs are the loss and its terms from now on.

        Raises:
            UsageError: There are no terms.
        """
        if not self._terms:
            raise UsageError("nothing to learn from: every weight of the loss is 0 or lacks its teacher or labels")
        loss = losses.total(self.graph, self._terms)
        metrics = [t for t, _ in self._terms]
        self.graph.outputs = [loss, *metrics]
        student.source = None
        labels = self.labels
        return TrainingGraph(
            student,
            loss.name,
            (*trainable, *self._learnt),
            tuple(t.name for t in metrics),
            labels=labels.classes.name if labels else None,
            label_partners=labels.partners.name if labels and labels.partners is not None else None,
            label_shares=labels.shares.name if labels and labels.shares is not None else None,
            targets=self.targets.name if self.targets is not None else None,
            target_variance=self._target_variance,
            teacher=self.teacher if self._inputs else None,
            teacher_inputs=self._inputs,
            variances=self._variances,
            frozen_batch_norm=frozen_batch_norm,
            masked=sparse_initializers(student, trainable),
        )

    def _input(self, name: str, dtype: type, shape: list | None) -> gs.Variable:
        made = gs.Variable(f"{PREFIX}_{name}", dtype, shape)
        self.graph.inputs.append(made)
        return made
