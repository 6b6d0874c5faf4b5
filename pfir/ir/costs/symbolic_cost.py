"""Quantities of a graph as formulas over its sizes, so that they can be had for other channel counts too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, operand

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
    """Multiply-accumulates of one run of a node, zero of what is no contraction, or has unknown sizes or too few.

    Of an If those of the branch that is the dearest at these sizes; of a Loop or a Scan those of its body, as often as
    it is known to run.
    """
    bodies = [graph for graph in node.attrs.values() if isinstance(graph, gs.Graph)]
    if bodies:
        return max((_repeated(node, body) for body in bodies), key=lambda terms: _full(node, terms))
    rule = _RULES.get(node.op)
    if rule is None or not _rule_applies(node):
        return ()
    terms, sizes = tuple(rule(node)), sizes_around((node,))
    exist = all(0 <= axis < len(sizes.get(tensor, ())) for term in terms for tensor, axis in term.dims)
    return terms if exist else ()  # a domain that onnx does not check may feed a recurrent layer a vector


def weight_of(node: gs.Node) -> gs.Tensor | None:
    """The second factor of a contraction."""
    return operand(node, 3 if node.op in ("QLinearConv", "QLinearMatMul", "QGemm") else 1)


def _rule_applies(node: gs.Node) -> bool:
    known_domain = node.domain == "com.microsoft" or (is_op(node, node.op) and node.op != "Attention")
    tensors = [operand(node, 0), weight_of(node), node.outputs[0] if node.outputs else None]
    if node.op == "Einsum":
        tensors = [*node.inputs, node.outputs[0]]
    if node.op in _RECURRENT:
        tensors = [operand(node, i) for i in range(3)]
    if node.op == "MatMulNBits":
        tensors = [node.outputs[0]]
    return known_domain and all(is_sized(t) for t in tensors)


def _repeated(node: gs.Node, body: gs.Graph) -> tuple[Term, ...]:
    times = _RUNS[node.op](node) if node.op in _RUNS else Term(1, ())
    terms = (term for inner in body.nodes for term in mac_terms(inner))
    return tuple(Term(times.scale * t.scale, (*times.dims, *t.dims)) for t in terms)


def _full(node: gs.Node, terms: tuple[Term, ...]) -> int:
    """What terms of a node with bodies amount to at the sizes that its tensors have."""
    if not terms:
        return 0
    inner = (n for graph in node.attrs.values() if isinstance(graph, gs.Graph) for n in graph.nodes)
    return sum(t.value(sizes_around((node, *inner))) for t in terms)


def sizes_around(nodes: Iterable[gs.Node]) -> dict[str, tuple[int, ...]]:
    """The sizes of all tensors that these nodes, and those in their bodies, read and write, where they are known."""
    sizes, waiting = {}, list(nodes)
    for node in waiting:
        sizes |= {t.name: tuple(t.shape) for t in (*node.inputs, *node.outputs) if is_sized(t)}
        waiting += [n for graph in node.attrs.values() if isinstance(graph, gs.Graph) for n in graph.nodes]
    return sizes


def _runs_of_loop(node: gs.Node) -> Term:
    """As often as its first input says; once where nobody knows, or where only its condition ends it."""
    count = array(operand(node, 0))
    return Term(int(count.ravel()[0]) if count is not None and count.size and count.ravel()[0] < _ENDLESS else 1, ())


def _runs_of_scan(node: gs.Node) -> Term:
    count = node.attrs["num_scan_inputs"]
    scanned = node.inputs[-count]
    axis = (node.attrs.get("scan_input_axes") or [0])[0]
    if not is_sized(scanned):
        return Term(1, ())
    return Term(1, ((scanned.name, axis % len(scanned.shape)),))


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


def _nbits(node: gs.Node) -> Iterable[Term]:
    yield Term(int(node.attrs["K"]), axes(node.outputs[0]))


def _attention(node: gs.Node) -> Iterable[Term]:
    """x [N, S, D] times [D, 3 H] for queries, keys and values; then scores, and values by them: N S S H each."""
    x, out = node.inputs[0], node.outputs[0]
    yield Term(1, (*axes(x), (node.inputs[1].name, 1)))
    yield Term(2, ((x.name, 0), (x.name, 1), (x.name, 1), (out.name, len(out.shape) - 1)))


_ENDLESS = 1 << 31  # above it a count of runs stands for "until the condition says so"
_RUNS = {"Loop": _runs_of_loop, "Scan": _runs_of_scan}
_RECURRENT = ("LSTM", "GRU", "RNN", "DynamicQuantizeLSTM")
_RULES = {
    "Attention": _attention,
    "Conv": _conv,
    "DynamicQuantizeLSTM": _recurrent,
    "DynamicQuantizeMatMul": _matmul,
    "FusedConv": _conv,
    "ConvInteger": _conv,
    "QLinearConv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "FusedGemm": _gemm,
    "MatMul": _matmul,
    "FusedMatMul": _matmul,
    "MatMulInteger": _matmul,
    "MatMulIntegerToFloat": _matmul,
    "MatMulNBits": _nbits,
    "QAttention": _attention,
    "QGemm": _gemm,
    "QLinearMatMul": _matmul,
    "Einsum": _einsum,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}
CONTRACTIONS = frozenset(_RULES)
