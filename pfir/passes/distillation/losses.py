"""Loss terms as nodes: each function appends to a graph and returns its scalar output.

Every term uses operators whose meaning is the same from opset 9 on, so no version conversion is needed first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

PREFIX = "pfir_loss"


def distillation(graph: gs.Graph, logits: gs.Tensor, teacher: gs.Tensor, temperature: float) -> gs.Tensor:
    """The distillation loss, T^2 KL(softmax(teacher / T) || softmax(logits / T)), averaged over the samples.

    Args:
        graph: Receives the nodes.
        logits: The student's `[N, K]`.
        teacher: The teacher's `[N, K]`.
        temperature: T > 0.

    Source: Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", arXiv:1503.02531, section 2.
    """
    inverse = _scalar(f"{PREFIX}_inverse_temperature", 1.0 / temperature)
    ours = _node(graph, "LogSoftmax", [_node(graph, "Mul", [logits, inverse])], axis=1)
    theirs = _node(graph, "LogSoftmax", [_node(graph, "Mul", [teacher, inverse])], axis=1)
    gap = _node(graph, "Sub", [theirs, ours])
    divergence = _node(graph, "Mul", [_node(graph, "Exp", [theirs]), gap])
    # Mean over everything times K: the sum over classes and the mean over samples, in any opset.
    return _scaled(graph, _mean(graph, divergence), temperature**2 * logits.shape[1], "distillation")


def cross_entropy(graph: gs.Graph, logits: gs.Tensor, labels: gs.Tensor, name: str = "cross_entropy") -> gs.Tensor:
    """The cross-entropy -log softmax(logits)[label], averaged over the samples; logits `[N, K]`, labels int64 `[N]`."""
    classes = int(logits.shape[1])
    depth = gs.Constant(f"{PREFIX}_{name}_classes", np.array(classes, np.int64))
    off_on = gs.Constant(f"{PREFIX}_{name}_off_on", np.array([0, 1], np.float32))
    chosen = _node(graph, "OneHot", [labels, depth, off_on], axis=-1)
    log = _node(graph, "LogSoftmax", [logits], axis=1)
    return _scaled(graph, _mean(graph, _node(graph, "Mul", [chosen, log])), -classes, name)


def relative_error(graph: gs.Graph, output: gs.Tensor, teacher: gs.Tensor, variance: gs.Tensor, name: str) -> gs.Tensor:
    """The mean squared error over the variance of the teacher: 1 is what a constant would reach.

    Args:
        graph: Receives the nodes.
        output: The student's tensor, any shape.
        teacher: The teacher's, same shape.
        variance: Scalar constant.
        name: Of the result.
    """
    gap = _node(graph, "Sub", [output, teacher])
    return _node(graph, "Div", [_mean(graph, _node(graph, "Mul", [gap, gap])), variance], name=f"{PREFIX}_{name}")


def total(graph: gs.Graph, terms: Sequence[tuple[gs.Tensor, float]]) -> gs.Tensor:
    """The weighted sum of scalar terms, named `pfir_loss`."""
    weighted = [_scaled(graph, term, weight, f"weighted{i}") for i, (term, weight) in enumerate(terms)]
    result = weighted[0]
    for term in weighted[1:]:
        result = _node(graph, "Add", [result, term])
    result.name = PREFIX
    return result


def _scaled(graph: gs.Graph, x: gs.Tensor, factor: float, name: str) -> gs.Tensor:
    return _node(graph, "Mul", [x, _scalar(f"{PREFIX}_{name}_factor", factor)], name=f"{PREFIX}_{name}")


def _mean(graph: gs.Graph, x: gs.Tensor) -> gs.Tensor:
    return _node(graph, "ReduceMean", [x], keepdims=0)


def _scalar(name: str, value: float) -> gs.Constant:
    return gs.Constant(name, np.array(value, np.float32))


def _node(graph: gs.Graph, op: str, inputs: list[gs.Tensor], name: str | None = None, **attrs: object) -> gs.Tensor:
    output = gs.Variable(name or f"{PREFIX}_{len(graph.nodes)}_{op}", np.float32)
    graph.nodes.append(gs.Node(op, f"{PREFIX}_node{len(graph.nodes)}", attrs, inputs, [output]))
    return output
