"""Which nodes share a kernel: a producer with the element-wise nodes behind it, or such a chain alone."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.expressions import ELEMENTWISE
from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE, QUANTIZE, quantization_of

NO_OPS = ("Identity", "Dropout")

_LONGEST_DETOUR = 6
# TVM's simplifier walks bound values anew at each use, so that a chain costs the product of its operators' uses.
_MOST_USES = 5_000
_FUNCTIONS = ("Sigmoid", "Tanh", "Exp", "Erf", "Gelu", "Elu", "Selu")
_FEWEST_LOOKUPS = 512  # twice the entries of a table
_USES = {
    **dict.fromkeys(_FUNCTIONS, 16),
    **dict.fromkeys(("HardSwish", "PRelu", "LeakyRelu", "Abs", "Softsign", "ThresholdedRelu"), 2),
}


@dataclass(frozen=True)
class Group:
    """Nodes computed together, in topological order; all but the first are element-wise and of its output's shape."""

    nodes: tuple[gs.Node, ...]

    @property
    def head(self) -> gs.Node:
        return self.nodes[0]

    @property
    def output(self) -> gs.Tensor:
        return self.nodes[-1].outputs[0]


def groups(nodes: list[gs.Node], kept: set[str], anchors: set[str]) -> list[Group]:
    """Every node in exactly one group; groups ordered by their last node.

    Args:
        nodes: In topological order.
        kept: Names of tensors that must exist afterwards: the graph's outputs.
        anchors: Operators, beside the element-wise ones, whose kernels take a tail.
    """
    position = {id(node): i for i, node in enumerate(nodes)}
    taken: set[int] = set()
    found = []
    for node in nodes:
        if id(node) in taken:
            continue
        heads = node.op != DEQUANTIZE and (node.op in anchors or elementwise(node))
        members = _grow(node, position, taken, kept) if heads else [node]
        taken.update(id(member) for member in members)
        found.append(Group(tuple(members)))
    return sorted(found, key=lambda group: position[id(group.nodes[-1])])


def elementwise(node: gs.Node) -> bool:
    """Whether this node is a function of single float32 elements with known shapes, or makes integers of eight bits of
    them, or them of those."""
    if node.op in (QUANTIZE, DEQUANTIZE):
        return bool(node.outputs[0].shape) and quantization_of(node) is not None
    if node.op not in ELEMENTWISE or node.domain not in (None, "", "ai.onnx") or len(node.outputs) != 1:
        return False
    if not node.outputs[0].shape or not all(is_float(t) for t in (node.inputs[0], *node.outputs)):
        return False
    if any(isinstance(t, gs.Variable) and not t.is_empty() and not t.shape for t in node.inputs):
        return False  # data without any axis: no kernel of ours has loops for that
    if node.op == "Clip":
        return all(isinstance(t, gs.Constant) or t.is_empty() for t in node.inputs[1:])
    if node.op == "Dropout":
        return True
    return all(is_float(t) for t in node.inputs)


def is_float(tensor: gs.Tensor) -> bool:
    """Whether the model has it as float32."""
    return tensor.dtype is not None and str(getattr(tensor.dtype, "name", tensor.dtype)).endswith("float32")


def _grow(node: gs.Node, position: dict[int, int], taken: set[int], kept: set[str]) -> list[gs.Node]:
    members, detour = [node], [node]
    while len(detour) - len(members) < _LONGEST_DETOUR:
        escaping = _escaping(detour, kept)
        if len(escaping) == 1 and escaping[0] is detour[-1].outputs[0] and not _is_reading(detour, kept):
            members = list(detour)
        follower = _next(detour, position, taken, node.outputs[0].shape)
        if follower is None or _uses([*detour[1:], follower]) > _MOST_USES or _is_for_table(detour[-1], follower):
            break
        detour.append(follower)
    return members


def _is_for_table(last: gs.Node, follower: gs.Node) -> bool:
    """Whether a function that takes many instructions follows on integers, of which a table of it takes few."""
    if last.op != QUANTIZE or follower.op != DEQUANTIZE or prod(follower.outputs[0].shape) < _FEWEST_LOOKUPS:
        return False
    return any(user.op in _FUNCTIONS for user in follower.outputs[0].outputs)


def _is_reading(members: list[gs.Node], kept: set[str]) -> bool:
    """Whether these nodes end in floats that stand for integers which they made, to be read by others: those read the
    integers instead."""
    last = next((node for node in reversed(members) if node.op not in NO_OPS), members[0])
    result = members[-1].outputs[0]
    return last.op == DEQUANTIZE and (result.name not in kept or bool(result.outputs))


def _escaping(members: list[gs.Node], kept: set[str]) -> list[gs.Tensor]:
    """The outputs of these nodes that something else needs."""
    inside = {id(member) for member in members}
    return [
        tensor
        for member in members
        for tensor in member.outputs
        if tensor.name in kept or not tensor.outputs or any(id(user) not in inside for user in tensor.outputs)
    ]


def _uses(members: list[gs.Node]) -> int:
    """How often the first value of these element-wise nodes is written in the last one's expression."""
    # Expressions are trees: a value that reaches a node by two operands is written out, and computed, twice.
    uses: dict[str, int] = {}
    for member in members:
        total = sum(uses.get(tensor.name, 1) for tensor in member.inputs)
        uses[member.outputs[0].name] = total * _USES.get(member.op, 1)
    return max(uses.values(), default=0)


def _next(members: list[gs.Node], position: dict[int, int], taken: set[int], shape: list[int]) -> gs.Node | None:
    """The first element-wise user of these nodes' outputs that keeps the shape, if it is free and in the same graph."""
    inside = {id(member) for member in members}
    users = {id(user): user for member in members for tensor in member.outputs for user in tensor.outputs}
    free = [
        user
        for key, user in users.items()
        if key in position and key not in inside | taken and elementwise(user)
        if list(user.outputs[0].shape) == list(shape)
    ]
    return min(free, key=lambda user: position[id(user)], default=None)
