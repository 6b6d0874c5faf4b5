"""Quantities of a graph as formulas over its sizes, so that they can be had for other channel counts too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pfir.ir.edit import is_op, operand

Dim = tuple[str, int]


@dataclass(frozen=True)
class Term:
    """A product: `scale` times the sizes of these (tensor, axis)."""

    scale: int
    dims: tuple[Dim, ...]

    def value(self, sizes: dict[str, tuple[int, ...]]) -> int:
        result = self.scale
        for tensor, axis in self.dims:
            result *= sizes[tensor][axis]
        return result


def axes(tensor: gs.Tensor, first: int = 0) -> tuple[Dim, ...]:
    """All axes of a tensor from `first` on."""
    return tuple((tensor.name, i) for i in range(first, len(tensor.shape)))


def is_sized(tensor: gs.Tensor | None) -> bool:
    """Whether every size of a tensor is a number."""
    return tensor is not None and tensor.shape is not None and all(isinstance(d, int) for d in tensor.shape)


def mac_terms(node: gs.Node) -> tuple[Term, ...]:
    """Multiply-accumulates of one run of a node, zero of what is no contraction or has unknown sizes."""
    rule = _RULES.get(node.op)
    if rule is None or not _rule_applies(node):
        return ()
    return tuple(rule(node))


def weight_of(node: gs.Node) -> gs.Tensor | None:
    """The second factor of a contraction."""
    return operand(node, 3 if node.op in ("QLinearConv", "QLinearMatMul") else 1)


def _rule_applies(node: gs.Node) -> bool:
    known_domain = is_op(node, node.op) or node.domain == "com.microsoft"
    tensors = [operand(node, 0), weight_of(node), node.outputs[0] if node.outputs else None]
    if node.op == "Einsum":
        tensors = [*node.inputs, node.outputs[0]]
    if node.op in _RECURRENT:
        tensors = [operand(node, i) for i in range(3)]
    return known_domain and all(is_sized(t) for t in tensors)


def _conv(node: gs.Node) -> Iterable[Term]:
    yield Term(1, (*axes(node.outputs[0]), *axes(weight_of(node), 1)))


def _conv_transpose(node: gs.Node) -> Iterable[Term]:
    yield Term(1, (*axes(node.inputs[0]), *axes(node.inputs[1], 1)))


def _gemm(node: gs.Node) -> Iterable[Term]:
    contracted = (node.inputs[0].name, 0 if node.attrs.get("transA", 0) else 1)
    yield Term(1, (*axes(node.outputs[0]), contracted))


def _matmul(node: gs.Node) -> Iterable[Term]:
    left = node.inputs[0]
    yield Term(1, (*axes(node.outputs[0]), (left.name, len(left.shape) - 1)))


def _einsum(node: gs.Node) -> Iterable[Term]:
    left = node.attrs["equation"].replace(" ", "").split("->")[0].split(",")
    if len(left) < 2 or any("." in labels for labels in left):
        return
    dims = {label: (t.name, i) for t, labels in zip(node.inputs, left, strict=True) for i, label in enumerate(labels)}
    yield Term(1, tuple(dims.values()))


def _recurrent(node: gs.Node) -> Iterable[Term]:
    x, weight, state = node.inputs[:3]
    for factor in (weight, state):
        yield Term(1, ((x.name, 0), (x.name, 1), *axes(factor)))


_RECURRENT = ("LSTM", "GRU", "RNN")
_RULES = {
    "Conv": _conv,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
CONTRACTIONS = frozenset(_RULES)
