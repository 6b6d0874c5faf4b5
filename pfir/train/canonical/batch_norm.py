"""BatchNormalization in training: as an affine map where it is frozen, with its training outputs where it learns."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx_graphsurgeon as gs

from pfir.train.canonical.building import Builder


def freeze(graph: gs.Graph) -> dict[str, str]:
    """Every BatchNormalization becomes Mul and Add with its running statistics; nothing is left to update."""
    for node in [n for n in graph.nodes if n.op == "BatchNormalization"]:
        _freeze(graph, node)
    return {}


def train(graph: gs.Graph) -> dict[str, str]:
    """Every BatchNormalization normalises by its batch; running statistic to the tensor with its new value.

    ONNX Runtime's running variance is the biased one. Layers that share their statistics are frozen: each would
    overwrite the other's.
    """
    moving, updates = set(running_statistics(graph)), {}
    for node in [n for n in graph.nodes if n.op == "BatchNormalization"]:
        if node.inputs[3].name not in moving:
            _freeze(graph, node)
            continue
        node.attrs["training_mode"] = 1
        node.outputs = [node.outputs[0]]
        for tensor in node.inputs[3:5]:
            updates[tensor.name] = f"{tensor.name}_updated"
            node.outputs.append(gs.Variable(updates[tensor.name], np.float32, list(tensor.shape)))
    return updates


def running_statistics(graph: gs.Graph) -> list[str]:
    """Mean and variance of every BatchNormalization that has a pair of constants of its own."""
    nodes = [n for n in graph.nodes if n.op == "BatchNormalization"]
    uses = Counter(t.name for n in nodes for t in n.inputs[3:5])
    pairs = [n.inputs[3:5] for n in nodes]
    own = [p for p in pairs if all(isinstance(t, gs.Constant) and uses[t.name] == 1 for t in p)]
    return [t.name for pair in own for t in pair]


def _freeze(graph: gs.Graph, node: gs.Node) -> None:
    b = Builder(graph, node)
    x, gamma, beta, mean, variance = node.inputs
    rank = len(x.shape) if x.shape is not None else 4
    deviation = b.op("Sqrt", b.op("Add", variance, b.constant(node.attrs.get("epsilon", 1e-5))))
    scale = b.op("Div", gamma, deviation)
    shift = b.op("Sub", beta, b.op("Mul", mean, scale))
    column = b.constant([-1] + [1] * (rank - 2), np.int64)
    scaled = b.op("Mul", x, b.op("Reshape", scale, column))
    b.result("Add", scaled, b.op("Reshape", shift, column))
