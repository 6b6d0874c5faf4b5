"""Loss terms as nodes: each function appends to a graph and returns its scalar output.

Every term uses operators whose meaning is the same from opset 9 on, so no version conversion is needed first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

PREFIX = "pfir_loss"
L2, L1, HUBER, WING = "l2", "l1", "huber", "wing"
RELATIVE = (L2, L1, HUBER, WING)
"""Losses of outputs that are values."""
WING_WIDTH, WING_CURVATURE = 0.5, 0.1
"""w and c of the wing loss in units of the target's spread, in the proportion of the paper's 10 and 2 pixels."""


@dataclass(frozen=True)
class Labels:
    """The inputs of a training graph that take labels.

    Args:
        classes: int64 `[N]`.
        partners: int64 `[N]`, the classes of what the samples were mixed with; None where none are mixed.
        shares: float32 `[N]` in [0, 1], how much of each sample is itself; None with `partners`.
    """

    classes: gs.Tensor
    partners: gs.Tensor | None = None
    shares: gs.Tensor | None = None


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


def cross_entropy(
    graph: gs.Graph, logits: gs.Tensor, labels: Labels, name: str = "cross_entropy", smoothing: float = 0.0
) -> gs.Tensor:
    """The cross-entropy of the labels with softmax(logits), averaged over the samples.

    Args:
        graph: Receives the nodes.
        logits: `[N, K]`.
        labels: What each sample shows.
        name: Of the result.
        smoothing: The share of every label, in [0, 1), that all K classes have alike.

    Source: Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", arXiv:1512.00567, section 7
    (smoothing); Zhang et al., "mixup: Beyond Empirical Risk Minimization", arXiv:1710.09412, section 2 (two labels).
    """
    classes = int(logits.shape[1])
    depth = gs.Constant(f"{PREFIX}_{name}_classes", np.array(classes, np.int64))
    rest = smoothing / classes
    off_on = gs.Constant(f"{PREFIX}_{name}_off_on", np.array([rest, 1 - smoothing + rest], np.float32))
    chosen = _node(graph, "OneHot", [labels.classes, depth, off_on], axis=-1)
    if labels.partners is not None and labels.shares is not None:
        other = _node(graph, "OneHot", [labels.partners, depth, off_on], axis=-1)
        share = _node(graph, "Reshape", [labels.shares, gs.Constant(f"{PREFIX}_{name}_column", np.array([-1, 1]))])
        difference = _node(graph, "Sub", [chosen, other])
        chosen = _node(graph, "Add", [other, _node(graph, "Mul", [share, difference])])
    log = _node(graph, "LogSoftmax", [logits], axis=1)
    return _scaled(graph, _mean(graph, _node(graph, "Mul", [chosen, log])), -classes, name)


def relative(
    graph: gs.Graph, output: gs.Tensor, target: gs.Tensor, variance: gs.Tensor, name: str, kind: str = L2
) -> gs.Tensor:
    """The mean loss of an output's error in units of the target's spread: by `l2`, 1 is what a constant would reach.

    With e = (output - target) / sqrt(variance): `l2` e^2, `l1` |e|, `huber` e^2 / 2 up to |e| = 1 and |e| - 1 / 2 from
    there, `wing` w ln(1 + |e| / c) up to |e| = w and |e| - w + w ln(1 + w / c) from there.

    Args:
        graph: Receives the nodes.
        output: The student's tensor, any shape.
        target: The teacher's or the data's, same shape.
        variance: Scalar constant.
        name: Of the result.
        kind: One of `RELATIVE`.

    Source: Huber, "Robust Estimation of a Location Parameter", 1964; Feng et al., "Wing Loss for Robust Facial Landmark
    Localisation with Convolutional Neural Networks", CVPR 2018, arXiv:1711.06753, section 4. Their w and c are pixels.
    """
    gap = _node(graph, "Sub", [output, target])
    if kind == L2:
        mean = _mean(graph, _node(graph, "Mul", [gap, gap]))
        return _node(graph, "Div", [mean, variance], name=f"{PREFIX}_{name}")
    error = _node(graph, "Div", [_node(graph, "Abs", [gap]), _node(graph, "Sqrt", [variance])])
    each = {L1: lambda: error, HUBER: lambda: _huber(graph, error, name), WING: lambda: _wing(graph, error, name)}
    return _node(graph, "ReduceMean", [each[kind]()], name=f"{PREFIX}_{name}", keepdims=0)


def total(graph: gs.Graph, terms: Sequence[tuple[gs.Tensor, float]]) -> gs.Tensor:
    """The weighted sum of scalar terms, named `pfir_loss`."""
    weighted = [_scaled(graph, term, weight, f"weighted{i}") for i, (term, weight) in enumerate(terms)]
    result = weighted[0]
    for term in weighted[1:]:
        result = _node(graph, "Add", [result, term])
    result.name = PREFIX
    return result


def _huber(graph: gs.Graph, error: gs.Tensor, name: str) -> gs.Tensor:
    """m (|e| - m / 2) with m = min(|e|, 1)."""
    near = _node(graph, "Min", [error, _scalar(f"{PREFIX}_{name}_bend", 1.0)])
    half = _node(graph, "Mul", [near, _scalar(f"{PREFIX}_{name}_half", 0.5)])
    return _node(graph, "Mul", [near, _node(graph, "Sub", [error, half])])


def _wing(graph: gs.Graph, error: gs.Tensor, name: str) -> gs.Tensor:
    """w ln(1 + m / c) + |e| - m with m = min(|e|, w)."""
    near = _node(graph, "Min", [error, _scalar(f"{PREFIX}_{name}_width", WING_WIDTH)])
    steep = _node(graph, "Mul", [near, _scalar(f"{PREFIX}_{name}_steepness", 1 / WING_CURVATURE)])
    log = _node(graph, "Log", [_node(graph, "Add", [steep, _scalar(f"{PREFIX}_{name}_one", 1.0)])])
    curved = _node(graph, "Mul", [log, _scalar(f"{PREFIX}_{name}_scale", WING_WIDTH)])
    return _node(graph, "Add", [curved, _node(graph, "Sub", [error, near])])


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
