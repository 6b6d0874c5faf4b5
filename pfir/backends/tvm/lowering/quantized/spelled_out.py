"""Operators that hold scales and zero points themselves, written as the operators on floats that they stand for.

QLinearConv(x, scale, zero_point, w, ..)    becomes    Quantize(Conv(Dequantize(x), Dequantize(w), Dequantize(b)))
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.form import EIGHT_BITS
from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE, QUANTIZE, type_of
from pfir.ir.edit import Names, array, operand
from pfir.ir.operators.records import MICROSOFT, Form, Integers, Operator
from pfir.ir.operators.table import operator_of

_FLOATS = {
    "QGemm": "Gemm",
    "QLinearAdd": "Add",
    "QLinearAveragePool": "AveragePool",
    "QLinearConcat": "Concat",
    "QLinearConv": "Conv",
    "QLinearGlobalAveragePool": "GlobalAveragePool",
    "QLinearLeakyRelu": "LeakyRelu",
    "QLinearMatMul": "MatMul",
    "QLinearMul": "Mul",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
}
_SOFTMAX = Operator(
    "QLinearSoftmax", Form.ELEMENTWISE, (MICROSOFT,), integers={0: Integers(1, 2)}, result=Integers(3, 4)
)
_BY_AXIS = 13  # the opset from which on a Softmax is one along an axis
_NOT_OF_FLOATS = ("channels_last", "opset")


def spell_out(graph: gs.Graph) -> None:
    """Write every such node of the main graph as nodes on floats between those that make and read integers; one whose
    scales are no constants, or whose channels come last, stays."""
    names, nodes = Names(graph), []
    for node in graph.nodes:
        nodes += _Spelling(node, names).nodes() if _is_covered(node) else [node]
    graph.nodes = nodes


def _is_covered(node: gs.Node) -> bool:
    operator = _operator(node)
    if operator is None or operator.name not in _FLOATS or node.attrs.get("channels_last", 0):
        return False
    if node.op == "QLinearSoftmax" and not _is_along_an_axis(node):
        return False
    read = _read(node, operator)
    said = [*read.values(), *([operator.result] if operand(node, operator.result.scale) else [])]
    constant = all(array(operand(node, place)) is not None for integers in said for place in _places(node, integers))
    return constant and all(type_of(node.inputs[place]) in EIGHT_BITS for place in read)


def _operator(node: gs.Node) -> Operator | None:
    return _SOFTMAX if node.op == _SOFTMAX.name and node.domain == MICROSOFT else operator_of(node)


def _is_along_an_axis(node: gs.Node) -> bool:
    """Whether a Softmax sums along one axis, not along all from there on."""
    rank = len(node.inputs[0].shape)
    return node.attrs.get("opset", 0) >= _BY_AXIS or node.attrs.get("axis", -1) % rank == rank - 1


def _places(node: gs.Node, integers: Integers) -> list[int]:
    """The inputs that say what integers stand for, those that are there."""
    return [place for place in (integers.scale, integers.zero_point) if operand(node, place) is not None]


def _read(node: gs.Node, operator: Operator) -> dict[int, Integers]:
    """The inputs of integers, with what says what they stand for."""
    if operator.form is Form.CONCAT:
        return {i: Integers(i + 1, i + 2) for i in range(operator.data, len(node.inputs), 3)}
    return dict(operator.integers)


class _Spelling:
    """The nodes that stand for one."""

    def __init__(self, node: gs.Node, names: Names) -> None:
        self.node, self.names, self.operator = node, names, _operator(node)
        self.read, self.before = _read(node, self.operator), []

    def nodes(self) -> list[gs.Node]:
        node, operator = self.node, self.operator
        inputs = [self._floats(place, integers) for place, integers in self.read.items()]
        bias = None if operator.bias is None else operand(node, operator.bias)
        inputs += [] if bias is None else [self._bias(bias)]
        result, said = node.outputs[0], [operand(node, place) for place in _pair(operator.result)]
        node.outputs.clear()
        node.inputs.clear()
        if said[0] is None:
            return [*self.before, self._made(_FLOATS[node.op], inputs, result, **self._attributes())]
        floats = self._variable(result)
        computed = self._made(_FLOATS[node.op], inputs, floats, **self._attributes())
        return [*self.before, computed, self._made(QUANTIZE, [floats, *_present(said)], result)]

    def _floats(self, place: int, integers: Integers) -> gs.Tensor:
        """What the integers of an input stand for."""
        given = [operand(self.node, i) for i in (place, *_pair(integers))]
        weight = self.operator.weight
        axis = {} if weight is None or weight.place != place else {"axis": self._output_axis(given[0])}
        return self._read_as(given[0], _present(given), **axis)

    def _output_axis(self, weight: gs.Tensor) -> int:
        """The axis of the weight's output channels."""
        found = self.operator.weight
        turned = found.turned_by and self.node.attrs.get(found.turned_by, 0)
        return (found.inputs if turned else found.outputs) % len(weight.shape)

    def _bias(self, bias: gs.Tensor) -> gs.Tensor:
        """The bias, whose steps are those of data times weights."""
        scales = [array(self.node.inputs[integers.scale]) for integers in self.read.values()]
        step = np.asarray(scales[0].reshape(()) * scales[1] * np.float32(self.node.attrs.get("alpha", 1.0)), np.float32)
        step = step.reshape(()) if step.size == 1 else step
        return self._read_as(bias, [bias, gs.Constant(self.names.fresh(f"{bias.name}_scale"), step)], axis=0)

    def _read_as(self, integers: gs.Tensor, inputs: list[gs.Tensor], **attributes: int) -> gs.Tensor:
        floats = self._variable(integers)
        self.before.append(self._made(DEQUANTIZE, inputs, floats, **attributes))
        return floats

    def _variable(self, like: gs.Tensor) -> gs.Variable:
        return gs.Variable(self.names.fresh(f"{like.name}_floats"), np.dtype(np.float32), list(like.shape))

    def _made(self, op: str, inputs: list[gs.Tensor], output: gs.Tensor, **attributes: object) -> gs.Node:
        name = self.names.fresh(f"{self.node.name or output.name}_{op}")
        return gs.Node(op, name, dict(attributes), inputs, [output])

    def _attributes(self) -> dict[str, object]:
        return {name: value for name, value in self.node.attrs.items() if name not in _NOT_OF_FLOATS}


def _pair(integers: Integers) -> tuple[int, int]:
    return integers.scale, integers.zero_point


def _present(tensors: list[gs.Tensor | None]) -> list[gs.Tensor]:
    return [tensor for tensor in tensors if tensor is not None]
