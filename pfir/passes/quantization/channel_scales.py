"""Which channels of a model may be scaled together, by any positive factor, without another function."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, held, is_op, operand
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model

HOMOGENEOUS = (*("AveragePool", "Clip", "GlobalAveragePool", "GlobalMaxPool", "LeakyRelu", "MaxPool", "PRelu", "Relu"),)
"""Operators that give s y, channel by channel, for s x where s is positive; a Clip only below its bound."""


class ChannelScales:
    """A label for every channel of every tensor [N, C, ..]; channels of one label have one factor.

    Channels are tied by sums, concatenations and operators that work channel by channel. Layers give their outputs new
    labels. What must stay as it is, since it comes from outside, leaves the graph or is read by something that the
    analysis does not know, is fixed.

    Attributes `labels`, `reads` and `makes` are those of tensors, and of what each layer reads and makes, by name;
    `free` [labels] says which are not fixed.

    Args:
        layers: Those whose weights may be scaled, by name of their node.
    """

    def __init__(self, model: Model, layers: Mapping[str, EditableLayer]) -> None:
        self._layers = layers
        self._parents: list[int] = []
        self._fixed: set[int] = set()
        self._tensors: dict[str, np.ndarray] = {}
        self._scaled: list[str] = []
        for tensor in model.graph.inputs:
            self._fix(tensor)
        for node in model.graph.nodes:
            self._follow(node)
        tensors = model.graph.tensors()
        for name in held(model.graph) & tensors.keys():
            self._fix(tensors[name])
        roots = np.array([self._root(i) for i in range(len(self._parents))], np.int64)
        self.labels = {name: roots[found] for name, found in self._tensors.items()}
        self.reads = {name: self.labels[layers[name].layer.data.name] for name in self._scaled}
        self.makes = {name: self.labels[layers[name].node.outputs[0].name] for name in self._scaled}
        self.free = np.ones(len(roots), bool)
        self.free[[roots[i] for i in self._fixed]] = False

    def _new(self, count: int) -> np.ndarray:
        first = len(self._parents)
        self._parents += range(first, first + count)
        return np.arange(first, first + count)

    def _root(self, label: int) -> int:
        while self._parents[label] != label:
            self._parents[label] = label = self._parents[self._parents[label]]
        return label

    def _of(self, tensor: gs.Tensor) -> np.ndarray | None:
        """The labels of a tensor's channels; None where it has no known number of them."""
        if tensor.name not in self._tensors:
            size = tensor.shape[1] if tensor.shape is not None and len(tensor.shape) > 1 else None
            if not isinstance(size, int | np.integer):
                return None
            self._tensors[tensor.name] = self._new(int(size))
        return self._tensors[tensor.name]

    def _fix(self, tensor: gs.Tensor) -> None:
        labels = self._of(tensor)
        self._fixed.update(() if labels is None else (int(i) for i in labels))

    def _tie(self, one: np.ndarray, other: np.ndarray) -> None:
        for a, b in zip(one, other, strict=True):
            self._parents[self._root(int(b))] = self._root(int(a))

    def _follow(self, node: gs.Node) -> None:
        """Give the results of a node labels, and fix what it reads unless it passes factors on."""
        passed = self._passed(node)
        if passed is not None:
            self._tensors[node.outputs[0].name] = passed
        elif not self._takes_factors(node):
            for tensor in (*node.inputs, *node.outputs):
                if isinstance(tensor, gs.Variable) and not tensor.is_empty():
                    self._fix(tensor)

    def _takes_factors(self, node: gs.Node) -> bool:
        """Whether the node is a layer both sides of which may be scaled."""
        layer = self._layers.get(node.name)
        if layer is None or not _is_scalable(layer):
            return False
        read, made = self._of(layer.layer.data), self._of(node.outputs[0])
        if read is None or made is None or len(read) != layer.layer.layout.inputs(layer.weight.shape):
            return False
        self._scaled.append(node.name)
        return True

    def _passed(self, node: gs.Node) -> np.ndarray | None:
        """The labels that the only result of a node has from what it reads; None of other nodes."""
        given = [self._of(t) if isinstance(t, gs.Variable) else None for t in node.inputs[:1]]
        first = given[0] if given else None
        if first is None or len(node.outputs) > 1:
            return None
        if is_op(node, *HOMOGENEOUS):
            return first if not is_op(node, "Clip") or not np.isnan(clip_bound(node)) else None
        if is_op(node, "Add", "Concat"):
            return self._joined(node)
        if is_op(node, "Pad"):
            return self._padded(node, first)
        return _flattened(node, first) if is_op(node, "Flatten", "Reshape") else None

    def _joined(self, node: gs.Node) -> np.ndarray | None:
        parts = [self._of(t) if isinstance(t, gs.Variable) else None for t in node.inputs]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        if node.op == "Concat":
            return np.concatenate(known) if node.attrs.get("axis") == 1 else None
        if len({len(part) for part in known}) > 1 or len({len(t.shape) for t in node.inputs}) > 1:
            return None  # One is broadcast over the other.
        self._tie(*known)
        return known[0]

    def _padded(self, node: gs.Node, labels: np.ndarray) -> np.ndarray | None:
        pads, filled = array(operand(node, 1)), array(operand(node, 2))
        is_zero = operand(node, 2) is None or (filled is not None and not filled.any())
        if pads is None or not is_zero or node.attrs.get("mode", "constant") != "constant" or operand(node, 3):
            return None
        before, behind = int(pads[1]), int(pads[pads.size // 2 + 1])
        if min(before, behind) < 0:
            return None
        return np.concatenate([self._new(before), labels, self._new(behind)])


def clip_bound(node: gs.Node) -> float:
    """The upper bound of a Clip from 0 upwards; NaN of any other."""
    low, high = (operand(node, i) for i in (1, 2))
    least = node.attrs.get("min") if low is None else array(low)
    most = node.attrs.get("max", np.inf) if high is None else array(high)
    if least is None or most is None or np.ravel(least)[0] != 0:
        return np.nan
    return float(np.ravel(most)[0])


def _is_scalable(layer: EditableLayer) -> bool:
    """Whether a layer has its channels on axis 1 of both sides, and takes factors there."""
    plain = layer.layer
    return (
        layer.axis == 1
        and not plain.is_transposed
        and not plain.turns_data
        and (plain.is_convolution or layer.rank == 2)
    )


def _flattened(node: gs.Node, labels: np.ndarray) -> np.ndarray | None:
    """Labels of [N, C * H * W]; None where the result is another one."""
    before, behind = node.inputs[0].shape, node.outputs[0].shape
    if behind is None or len(behind) != 2 or not all(isinstance(n, int | np.integer) for n in before[1:]):
        return None
    places = math.prod(before[2:])
    return np.repeat(labels, places) if behind[1] == len(labels) * places else None
