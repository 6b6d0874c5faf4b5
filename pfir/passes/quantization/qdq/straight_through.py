"""Quantization as floats with a gradient: what training graphs have in place of integers."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names


class StraightThrough:
    """Writes nodes into a graph, before another node; the trainer hands gradients through Round unchanged.

    Args:
        graph: Receives them.
        names: All names of the graph.
    """

    def __init__(self, graph: gs.Graph, names: Names) -> None:
        self._graph, self._names = graph, names

    def rounded(self, x: gs.Tensor, scale: gs.Tensor, least: float, most: float, where: gs.Node) -> gs.Variable:
        """scale * clip(round(x / scale), least, most), whose gradient by x is one within the bounds and zero beyond.

        By the scale it is round(x / scale) - x / scale within, and the bound beyond.

        Args:
            x: Any shape.
            scale: Above 0, broadcasts to x.
            least: A whole number of steps; so is `most`.
            where: The nodes come in front of this one.

        Source: Esser, McKinstry, Bablani, Appuswamy, Modha, "Learned Step Size Quantization", ICLR 2020,
        arXiv:1902.08153, section 2, equations 1 to 3.
        """
        steps = self.op("Round", self.op("Div", x, scale, where=where), where=where)
        bounds = [self.constant(f"{x.name}_{end}", value) for end, value in (("least", least), ("most", most))]
        return self.op("Mul", self.op("Clip", steps, *bounds, where=where), scale, where=where)

    def op(self, op: str, *inputs: gs.Tensor, where: gs.Node) -> gs.Variable:
        """The output of a new node in front of that one."""
        result = gs.Variable(self._names.fresh(f"{inputs[0].name}_{op.lower()}"), np.dtype(np.float32))
        node = gs.Node(op, self._names.fresh(f"{inputs[0].name}_{op}"), {}, list(inputs), [result])
        self._graph.nodes.insert(next(i for i, n in enumerate(self._graph.nodes) if n is where), node)
        return result

    def shaped(self, x: gs.Tensor, shape: list[int], where: gs.Node) -> gs.Variable:
        """The same numbers in this shape."""
        sizes = gs.Constant(self._names.fresh(f"{x.name}_shape"), np.array(shape, np.int64))
        return self.op("Reshape", x, sizes, where=where)

    def constant(self, name: str, values: object) -> gs.Constant:
        """A new float32 initializer."""
        return gs.Constant(self._names.fresh(name), np.asarray(values, np.float32))
