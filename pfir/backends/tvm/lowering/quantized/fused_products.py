"""Products of ONNX Runtime that round their data or scale their sums themselves, written as the operators they join.

DynamicQuantizeMatMul(x, w, s, z, b)
    becomes
y, scale, zero = DynamicQuantizeLinear(x);  Cast(MatMulInteger(y, w, zero, z)) * (scale * s) + b
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, array, operand
from pfir.ir.operators.records import MICROSOFT
from pfir.target import SINGLE

_ROUNDS, _SCALES = "DynamicQuantizeMatMul", "MatMulIntegerToFloat"


def spell_out_products(graph: gs.Graph) -> None:
    """Write every such node of the main graph whose weights, with what they stand for, are constant."""
    names, nodes = Names(graph), []
    for node in graph.nodes:
        nodes += _Product(node, names).nodes() if _is_covered(node) else [node]
    graph.nodes = nodes


def _is_covered(node: gs.Node) -> bool:
    if node.domain != MICROSOFT or node.op not in (_ROUNDS, _SCALES):
        return False
    constants = [operand(node, place) for place in ((1, 2, 3) if node.op == _ROUNDS else (1, 3, 5))]
    return all(tensor is None or array(tensor) is not None for tensor in constants) and bool(node.inputs[0].shape)


class _Product:
    """The nodes that stand for one."""

    def __init__(self, node: gs.Node, names: Names) -> None:
        self.node, self.names, self.made = node, names, list[gs.Node]()

    def nodes(self) -> list[gs.Node]:
        node, result = self.node, self.node.outputs[0]
        weight, bias = node.inputs[1], operand(node, 4 if node.op == _ROUNDS else 6)
        data, step, zero = self._rounded()
        scale, point = (operand(node, place) for place in ((2, 3) if node.op == _ROUNDS else (3, 5)))
        node.inputs.clear()
        node.outputs.clear()
        given = [data, weight, *(gs.Variable.empty() if tensor is None else tensor for tensor in (zero, point))]
        sums = self._node("MatMulInteger", given, result.shape, np.int32)
        floats = self._node("Cast", [sums], result.shape, to=1)
        scales = self._node("Mul", [step, scale], np.broadcast_shapes(step.shape, scale.shape))
        scaled = self._node("Mul", [floats, scales], result.shape, into=None if bias is not None else result)
        if bias is not None:
            self._node("Add", [scaled, bias], result.shape, into=result)
        return self.made

    def _rounded(self) -> tuple[gs.Tensor, gs.Tensor, gs.Tensor | None]:
        """The integers of the data, their scale and zero point."""
        node = self.node
        if node.op == _SCALES:
            return node.inputs[0], node.inputs[2], operand(node, 4)
        shapes, types = (list(node.inputs[0].shape), [], []), (np.uint8, np.float32, np.uint8)
        outputs = [self._variable(shape, dtype) for shape, dtype in zip(shapes, types, strict=True)]
        name = self.names.fresh(f"{node.name}_DynamicQuantizeLinear")
        self.made.append(gs.Node("DynamicQuantizeLinear", name, {}, [node.inputs[0]], outputs))
        return outputs[0], outputs[1], outputs[2]

    def _node(
        self,
        op: str,
        inputs: list[gs.Tensor],
        shape: list[int],
        dtype: type | str = SINGLE,
        into: gs.Tensor | None = None,
        **attributes: int,
    ) -> gs.Tensor:
        """The result of a new node, `into` if it is given."""
        result = self._variable(list(shape), dtype) if into is None else into
        name = self.names.fresh(f"{self.node.name}_{op}")
        self.made.append(gs.Node(op, name, dict(attributes), inputs, [result]))
        return result

    def _variable(self, shape: list[int], dtype: type | str) -> gs.Variable:
        return gs.Variable(self.names.fresh(f"{self.node.name}_part"), np.dtype(dtype), shape)
