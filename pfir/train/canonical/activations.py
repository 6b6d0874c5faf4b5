"""Activations without a gradient in ONNX Runtime, in terms of those that have one."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from pfir.train.canonical.building import Builder


def hard_sigmoid(graph: gs.Graph, node: gs.Node) -> bool:
    """HardSigmoid -> Clip(alpha x + beta, 0, 1)."""
    b = Builder(graph, node)
    line = _line(b, node.inputs[0], node.attrs.get("alpha", 0.2), node.attrs.get("beta", 0.5))
    return b.result("Clip", line, b.constant(0), b.constant(1))


def hard_swish(graph: gs.Graph, node: gs.Node) -> bool:
    """HardSwish -> x Clip(x / 6 + 0.5, 0, 1)."""
    b = Builder(graph, node)
    gate = b.op("Clip", _line(b, node.inputs[0], 1 / 6, 0.5), b.constant(0), b.constant(1))
    return b.result("Mul", node.inputs[0], gate)


def prelu(graph: gs.Graph, node: gs.Node) -> bool:
    """PRelu -> Relu(x) - slope Relu(-x)."""
    b = Builder(graph, node)
    x, slope = node.inputs
    below = b.op("Relu", b.op("Neg", x))
    return b.result("Sub", b.op("Relu", x), b.op("Mul", below, slope))


def elu(graph: gs.Graph, node: gs.Node) -> bool:
    """Elu -> Relu(x) + alpha (exp(-Relu(-x)) - 1)."""
    return _exponential(graph, node, 1.0, node.attrs.get("alpha", 1.0), 1.0)


def selu(graph: gs.Graph, node: gs.Node) -> bool:
    """Selu -> gamma (Relu(x) + alpha (exp(-Relu(-x)) - 1))."""
    gamma = node.attrs.get("gamma", 1.0507009873554805)
    return _exponential(graph, node, gamma, gamma * node.attrs.get("alpha", 1.6732632423543772), 1.0)


def celu(graph: gs.Graph, node: gs.Node) -> bool:
    """Celu -> Relu(x) + alpha (exp(-Relu(-x) / alpha) - 1)."""
    alpha = node.attrs.get("alpha", 1.0)
    return _exponential(graph, node, 1.0, alpha, alpha)


def softplus(graph: gs.Graph, node: gs.Node) -> bool:
    """Softplus -> Relu(x) + log(1 + exp(-|x|)), which cannot overflow."""
    b = Builder(graph, node)
    return b.result("Add", *_softplus_terms(b, node.inputs[0]))


def mish(graph: gs.Graph, node: gs.Node) -> bool:
    """Mish -> x tanh(softplus(x))."""
    b = Builder(graph, node)
    return b.result("Mul", node.inputs[0], b.op("Tanh", b.op("Add", *_softplus_terms(b, node.inputs[0]))))


def softsign(graph: gs.Graph, node: gs.Node) -> bool:
    """Softsign -> x / (1 + |x|)."""
    b = Builder(graph, node)
    return b.result("Div", node.inputs[0], b.op("Add", b.op("Abs", node.inputs[0]), b.constant(1)))


def thresholded_relu(graph: gs.Graph, node: gs.Node) -> bool:
    """ThresholdedRelu -> Where(x > alpha, x, 0)."""
    b = Builder(graph, node)
    above = b.op("Greater", node.inputs[0], b.constant(node.attrs.get("alpha", 1.0)))
    return b.result("Where", above, node.inputs[0], b.constant(0))


def dropout(graph: gs.Graph, node: gs.Node) -> bool:
    """Dropout of an inference graph -> Identity; one whose mask is read stays."""
    if len(node.outputs) > 1 and node.outputs[1].outputs:
        return False
    return Builder(graph, node).result("Identity", node.inputs[0])


def clip(graph: gs.Graph, node: gs.Node) -> bool:
    """Clip with a missing bound -> Clip with the largest or smallest float32 there."""
    bounds = [t if t.name else None for t in node.inputs[1:]] + [None, None]
    if bounds[0] is not None and bounds[1] is not None:
        return False
    b = Builder(graph, node)
    limits = [t if t is not None else b.constant(limit) for t, limit in zip(bounds, (-3.4e38, 3.4e38), strict=False)]
    return b.result("Clip", node.inputs[0], *limits)


def _line(b: Builder, x: gs.Tensor, slope: float, offset: float) -> gs.Variable:
    return b.op("Add", b.op("Mul", x, b.constant(slope)), b.constant(offset))


def _exponential(graph: gs.Graph, node: gs.Node, above: float, below: float, width: float) -> bool:
    b = Builder(graph, node)
    x = node.inputs[0]
    negative = b.op("Mul", b.op("Relu", b.op("Neg", x)), b.constant(-1 / width))
    curve = b.op("Sub", b.op("Exp", negative), b.constant(1))
    return b.result("Add", b.op("Mul", b.op("Relu", x), b.constant(above)), b.op("Mul", curve, b.constant(below)))


def _softplus_terms(b: Builder, x: gs.Tensor) -> tuple[gs.Variable, gs.Variable]:
    tail = b.op("Exp", b.op("Neg", b.op("Abs", x)))
    return b.op("Relu", x), b.op("Log", b.op("Add", tail, b.constant(1)))


REWRITES = {
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "PRelu": prelu,
    "Elu": elu,
    "Selu": selu,
    "Celu": celu,
    "Softplus": softplus,
    "Mish": mish,
    "Softsign": softsign,
    "ThresholdedRelu": thresholded_relu,
    "Dropout": dropout,
    "Clip": clip,
}
