"""Writing the nodes that stand for another node."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs


class Builder:
    """Appends nodes named after the node that they replace; the last one takes over its output."""

    def __init__(self, graph: gs.Graph, node: gs.Node) -> None:
        self._graph, self._node, self._count = graph, node, 0

    def constant(self, value: object, dtype: type = np.float32) -> gs.Constant:
        """A new constant tensor."""
        return gs.Constant(self._next("constant"), np.asarray(value, dtype))

    def op(self, op: str, *inputs: gs.Tensor, **attrs: object) -> gs.Variable:
        """The output of a new node."""
        name = self._next(op)
        output = gs.Variable(name)
        self._graph.nodes.append(gs.Node(op, name, attrs, list(inputs), [output]))
        return output

    def mean(self, x: gs.Tensor, axes: list[int]) -> gs.Variable:
        """The mean over these axes, which stay as size 1; axes became an input in opset 18."""
        if self._graph.opset >= 18:
            return self.op("ReduceMean", x, self.constant(axes, np.int64), keepdims=1)
        return self.op("ReduceMean", x, axes=axes, keepdims=1)

    def result(self, op: str, *inputs: gs.Tensor, **attrs: object) -> bool:
        """A new node that produces the output of the old one; True, as a rewrite that happened returns."""
        output = self._node.outputs[0]
        self._node.outputs.clear()
        self._graph.nodes.append(gs.Node(op, self._next(op), attrs, list(inputs), [output]))
        return True

    def _next(self, what: str) -> str:
        self._count += 1
        return f"{self._node.name}_{what}{self._count}"


def known_shape(tensor: gs.Tensor) -> tuple[int, ...] | None:
    """The shape where every size is known; None otherwise."""
    shape = tensor.shape
    if shape is None or any(not isinstance(s, int | np.integer) or s < 0 for s in shape):
        return None
    return tuple(int(s) for s in shape)
