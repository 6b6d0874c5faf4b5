"""Maxima and sums without a gradient in ONNX Runtime, in terms of those that have one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.train.canonical.building import Builder, known_shape
from pfir.train.canonical.padding import explicit_pads


def global_max_pool(graph: gs.Graph, node: gs.Node) -> bool:
    """GlobalMaxPool -> MaxPool over all positions."""
    shape = known_shape(node.inputs[0])
    if shape is None:
        return False
    return Builder(graph, node).result("MaxPool", node.inputs[0], kernel_shape=list(shape[2:]))


def reduce_max(graph: gs.Graph, node: gs.Node) -> bool:
    """ReduceMax -> TopK(1) along each axis."""
    axes = _axes(node)
    if axes is None:
        return False
    b = Builder(graph, node)
    return _squeezed(b, node, _largest(b, node.inputs[0], axes), axes)


def reduce_min(graph: gs.Graph, node: gs.Node) -> bool:
    """ReduceMin(x) -> -ReduceMax(-x)."""
    axes = _axes(node)
    if axes is None:
        return False
    b = Builder(graph, node)
    return _squeezed(b, node, b.op("Neg", _largest(b, b.op("Neg", node.inputs[0]), axes)), axes)


def reduce_l1(graph: gs.Graph, node: gs.Node) -> bool:
    """ReduceL1 -> ReduceSum(|x|)."""
    return _sum_of(graph, node, lambda b, x: b.op("Abs", x))


def reduce_sum_square(graph: gs.Graph, node: gs.Node) -> bool:
    """ReduceSumSquare -> ReduceSum(x x)."""
    return _sum_of(graph, node, lambda b, x: b.op("Mul", x, x))


def total(graph: gs.Graph, node: gs.Node) -> bool:
    """Sum -> a chain of Add."""
    return _added(graph, node, 1.0)


def mean(graph: gs.Graph, node: gs.Node) -> bool:
    """Mean -> a chain of Add, divided by the number of inputs."""
    return _added(graph, node, 1.0 / len(node.inputs))


def pool(graph: gs.Graph, node: gs.Node) -> bool:  # noqa: ARG001
    """Pooling with auto_pad -> with explicit pads."""
    shape = known_shape(node.inputs[0])
    if shape is not None and "kernel_shape" in node.attrs:
        explicit_pads(node, shape[2:], node.attrs["kernel_shape"])
    return False


def _axes(node: gs.Node) -> list[int] | None:
    """The reduced axes, not negative; None where they or the rank are unknown."""
    shape = known_shape(node.inputs[0])
    if shape is None:
        return None
    given = node.attrs.get("axes")
    if len(node.inputs) > 1 and node.inputs[1].name:
        given = node.inputs[1].values.tolist() if isinstance(node.inputs[1], gs.Constant) else "unknown"
    if given == "unknown":
        return None
    if not given:
        return [] if node.attrs.get("noop_with_empty_axes", 0) else list(range(len(shape)))
    return sorted(a % len(shape) for a in given)


def _largest(b: Builder, x: gs.Tensor, axes: list[int]) -> gs.Tensor:
    one = b.constant([1], np.int64)
    for axis in axes:
        x = b.op("TopK", x, one, axis=axis)
        x.inputs[0].outputs.append(gs.Variable(f"{x.name}_index", np.int64))
    return x


def _squeezed(b: Builder, node: gs.Node, x: gs.Tensor, axes: list[int]) -> bool:
    if node.attrs.get("keepdims", 1) or not axes:
        return b.result("Identity", x)
    return b.result("Squeeze", x, b.constant(axes, np.int64))


def _sum_of(graph: gs.Graph, node: gs.Node, change: Callable[[Builder, gs.Tensor], gs.Tensor]) -> bool:
    axes = _axes(node)
    if axes is None:
        return False
    b = Builder(graph, node)
    kept = {"keepdims": node.attrs.get("keepdims", 1), "noop_with_empty_axes": 1}
    return b.result("ReduceSum", change(b, node.inputs[0]), b.constant(axes, np.int64), **kept)


def _added(graph: gs.Graph, node: gs.Node, factor: float) -> bool:
    b = Builder(graph, node)
    x = node.inputs[0]
    for other in node.inputs[1:]:
        x = b.op("Add", x, other)
    return b.result("Mul", x, b.constant(factor)) if factor != 1 else b.result("Identity", x)


REWRITES = {
    "GlobalMaxPool": global_max_pool,
    "ReduceMax": reduce_max,
    "ReduceMin": reduce_min,
    "ReduceL1": reduce_l1,
    "ReduceSumSquare": reduce_sum_square,
    "Sum": total,
    "Mean": mean,
    "MaxPool": pool,
    "AveragePool": pool,
}
