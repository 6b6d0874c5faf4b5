"""Small edits of a graph that keep it valid: bypass a node, replace a tensor, drop what is dead, find new names."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

STANDARD_DOMAINS = (None, "", "ai.onnx")


def is_op(node: gs.Node, *ops: str) -> bool:
    """Whether the node is one of these standard operators."""
    return node.op in ops and node.domain in STANDARD_DOMAINS


def array(tensor: gs.Tensor | None) -> np.ndarray | None:
    """The value of a constant tensor, None of any other."""
    return tensor.values if isinstance(tensor, gs.Constant) else None


def operand(node: gs.Node, index: int) -> gs.Tensor | None:
    """An input of a node, None where it is omitted."""
    if index >= len(node.inputs) or node.inputs[index].is_empty():
        return None
    return node.inputs[index]


def opset(graph: gs.Graph) -> int:
    """The version of the standard operators."""
    return int(graph.opset or 13)


def producer(tensor: gs.Tensor) -> gs.Node | None:
    """The node that writes a tensor; None for constants and graph inputs."""
    return tensor.inputs[0] if tensor.inputs else None


def held(graph: gs.Graph) -> set[str]:
    """The names that must keep their tensor: graph outputs, and what subgraphs take from outside or hand back."""
    names = {t.name for t in graph.outputs}
    for inner in graph.subgraphs(recursive=True):
        names.update(t.name for t in inner.outputs)
        names.update(t.name for node in inner.nodes for t in node.inputs)
    return names


def only_consumer(tensor: gs.Tensor, holding: set[str]) -> gs.Node | None:
    """The one node that reads a tensor, if nothing else needs it."""
    if len(tensor.outputs) != 1 or tensor.name in holding:
        return None
    return tensor.outputs[0]


def replace_uses(old: gs.Tensor, new: gs.Tensor) -> None:
    """Let every node that read `old`, in subgraphs too, read `new`."""
    for node in list({id(n): n for n in old.outputs}.values()):
        replace_input(node, old, new)


def replace_input(node: gs.Node, old: gs.Tensor, new: gs.Tensor) -> None:
    """Let this node read `new` wherever it read `old`."""
    for i, tensor in enumerate(node.inputs):
        if tensor is old:
            node.inputs[i] = new


def bypass(node: gs.Node, holding: set[str], index: int = 0) -> bool:
    """Cut out a node whose first output equals one of its inputs; False where the interface forbids it.

    The node stays in the graph's list, without any tensor, until `sweep`.
    """
    source, result = node.inputs[index], node.outputs[0]
    if result.name not in holding:
        replace_uses(result, source)
        cut(node)
        return True
    before = producer(source)
    if before is None or source.name in holding:
        return False
    cut(node)
    position = next(i for i, t in enumerate(before.outputs) if t is source)
    replace_uses(source, result)
    before.outputs[position] = result
    return True


def to_constant(tensor: gs.Variable, values: np.ndarray | gs.Constant) -> None:
    """Make a constant of a tensor; the node that wrote it is cut out, until `sweep` takes it away."""
    node = producer(tensor)
    if node is not None:
        cut(node)
    tensor.to_constant(values._values if isinstance(values, gs.Constant) else values)


def cut(node: gs.Node) -> None:
    """Take a node off all its tensors."""
    node.inputs.clear()
    node.outputs.clear()


def sweep(graph: gs.Graph) -> None:
    """Remove the nodes that write nothing."""
    graph.nodes = [n for n in graph.nodes if n.outputs]


class Names:
    """The names of all tensors and nodes of a graph, and new ones beside them."""

    def __init__(self, graph: gs.Graph) -> None:
        graphs = [graph, *graph.subgraphs(recursive=True)]
        self._taken = {name for g in graphs for name in g.tensors()} | {n.name for g in graphs for n in g.nodes}

    def fresh(self, base: str) -> str:
        """A name that nothing has: `base`, or `base` with a number; it is taken from now on."""
        name, count = base, 1
        while name in self._taken:
            name, count = f"{base}_{count}", count + 1
        self._taken.add(name)
        return name


def set_input(node: gs.Node, index: int, tensor: gs.Tensor) -> None:
    """Let a node read this tensor at this place, which it may not have had."""
    while len(node.inputs) <= index:
        node.inputs.append(gs.Variable.empty())
    node.inputs[index] = tensor


def insert_after(graph: gs.Graph, place: gs.Node, node: gs.Node) -> None:
    """Put a node right behind another one in the order."""
    at = next(i for i, n in enumerate(graph.nodes) if n is place)
    graph.nodes.insert(at + 1, node)


def remove_dead(graph: gs.Graph) -> int:
    """Remove nodes that no output depends on; their number."""
    needed = {t.name for t in graph.outputs}
    dead = []
    for node in reversed(graph.nodes):
        if any(t.name in needed for t in node.outputs):
            needed.update(reads(node))
        else:
            dead.append(node)
    for node in dead:
        cut(node)
    sweep(graph)
    return len(dead)


def reads(node: gs.Node) -> set[str]:
    """The names that a node needs: its inputs, and what its subgraphs may take from outside."""
    names = {t.name for t in node.inputs if not t.is_empty()}
    for inner in [a for a in node.attrs.values() if isinstance(a, gs.Graph)]:
        names.update(t.name for t in inner.outputs)
        for n in inner.nodes:
            names.update(reads(n))
    return names
