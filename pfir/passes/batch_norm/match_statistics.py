"""Inputs whose activations have the statistics that BatchNormalization has seen, as a graph that can be trained."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.batch_norm import BatchNorm, batch_norm
from pfir.ir.edit import Names, opset, remove_dead, replace_uses
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.ir.training import TrainingGraph

ADDED = "pfir_added_input"
PREFIX, LOSS = "pfir_match", "pfir_loss"
FIRST_WITH_AXES = 18
"""From this opset on a ReduceMean takes its axes as an input."""
SMALLEST = 1e-6
"""Variances are taken to be this large at least."""


def matching_graph(model: Model, batch: int) -> TrainingGraph:
    """A graph over a copy of the model that learns what to add to a batch of its input.

    The loss is the mean over layers and channels of ((m - mean)^2 + (s - deviation)^2) / variance, where m and s are
    mean and deviation of what reaches a BatchNormalization in this batch, and the others those that it holds.

    Args:
        model: With one float input, every size behind the first fixed; not changed.
        batch: How many samples.

    Raises:
        UsageError: It has another number of inputs, or no BatchNormalization with known statistics.

    Source: Cai et al., "ZeroQ: A Novel Zero Shot Quantization Framework", CVPR 2020, arXiv:2001.00281, section 3.1;
    theirs begins with noise and sums up distances, ours begins with samples and measures them in deviations.
    """
    model = model.clone()
    infer_shapes(model)
    graph = model.graph
    norms = matched_norms(model)
    if len(graph.inputs) != 1 or graph.inputs[0].dtype != np.float32 or not norms:
        raise UsageError("inputs can be matched where one float32 input reaches a BatchNormalization with statistics")
    given = graph.inputs[0]
    shifted = gs.Variable(f"{PREFIX}_input", np.float32, given.shape)
    replace_uses(given, shifted)
    added = gs.Constant(ADDED, np.zeros((batch, *given.shape[1:]), np.float32))
    graph.nodes.insert(0, gs.Node("Add", f"{PREFIX}_add", {}, [given, added], [shifted]))
    loss = _Writer(graph).mean_distance(norms)
    loss.name = LOSS
    graph.outputs = [loss]
    remove_dead(graph)
    model.source = None
    return TrainingGraph(model, loss.name, (ADDED,), frozen_batch_norm=True)


def matched_norms(model: Model) -> list[BatchNorm]:
    """The layers whose statistics can be matched: fixed ones of what has channels, with values that are finite."""
    found = (batch_norm(node) for node in model.nodes())
    return [norm for norm in found if norm is not None and not norm.refusal and _is_known(norm)]


def _is_known(norm: BatchNorm) -> bool:
    mean, variance = norm.statistics
    known = mean is not None and variance is not None and norm.node.inputs[0].shape is not None
    return known and bool(np.isfinite(mean).all() and np.isfinite(variance).all() and (variance > 0).any())


class _Writer:
    """Appends nodes to a graph."""

    def __init__(self, graph: gs.Graph) -> None:
        self._graph, self._names = graph, Names(graph)

    def mean_distance(self, norms: list[BatchNorm]) -> gs.Tensor:
        """The mean over these layers, a scalar."""
        first, *others = (self._distance(norm) for norm in norms)
        total = first
        for term in others:
            total = self._node("Add", [total, term])
        return self._node("Mul", [total, self._constant(np.array(1 / len(norms)))])

    def _distance(self, norm: BatchNorm) -> gs.Tensor:
        """How far the statistics of the batch are from those of a layer, as a mean over its channels."""
        read = norm.node.inputs[0]
        shape, axes = (1, -1, *[1] * (len(read.shape) - 2)), [0, *range(2, len(read.shape))]
        mean, variance = (x.astype(np.float64).reshape(shape) for x in norm.statistics)
        deviation = np.sqrt(np.maximum(variance, SMALLEST))
        found = self._reduced(read, axes)
        gap = self._node("Sub", [read, found])
        square = self._node("Add", [self._reduced(self._squared(gap), axes), self._constant(np.array(SMALLEST))])
        of_mean = self._off(found, mean, deviation)
        of_deviation = self._off(self._node("Sqrt", [square]), deviation, deviation)
        return self._node("ReduceMean", [self._node("Add", [of_mean, of_deviation])], keepdims=0)

    def _off(self, value: gs.Tensor, held: np.ndarray, unit: np.ndarray) -> gs.Tensor:
        """The square of what a value is off by, in these units."""
        off = self._node("Sub", [value, self._constant(held)])
        return self._squared(self._node("Mul", [off, self._constant(1 / unit)]))

    def _squared(self, x: gs.Tensor) -> gs.Tensor:
        return self._node("Mul", [x, x])

    def _reduced(self, x: gs.Tensor, axes: list[int]) -> gs.Tensor:
        """The mean over some axes, which stay with the size 1."""
        if opset(self._graph) < FIRST_WITH_AXES:
            return self._node("ReduceMean", [x], axes=axes, keepdims=1)
        taken = gs.Constant(self._names.fresh(PREFIX), np.array(axes, np.int64))
        return self._node("ReduceMean", [x, taken], keepdims=1)

    def _constant(self, values: np.ndarray) -> gs.Constant:
        return gs.Constant(self._names.fresh(PREFIX), values.astype(np.float32))

    def _node(self, op: str, inputs: list[gs.Tensor], **attrs: object) -> gs.Tensor:
        output = gs.Variable(self._names.fresh(PREFIX), np.float32)
        self._graph.nodes.append(gs.Node(op, output.name, attrs, inputs, [output]))
        return output
