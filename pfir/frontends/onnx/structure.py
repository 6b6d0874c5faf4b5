"""Edges and names of a graph: each value has one maker, and each maker comes before its users."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from onnx import GraphProto, ModelProto, NodeProto

from pfir.errors import FrontendError
from pfir.ir.onnx_io import walk


def sort_nodes(model: ModelProto) -> bool:
    """Put the nodes of the main graph in topological order, in place, and say whether they were not.

    Raises:
        FrontendError: The model has no graph or no output; a value has two makers or none; the nodes form a cycle; an
            output of the graph is never made. The node or value is named.
    """
    graph = model.graph
    if not graph.node and not graph.output:
        raise FrontendError("the model has no graph: the file is truncated, or no ONNX model")
    if not graph.output:
        raise FrontendError("the graph has no outputs, so there is nothing to compute")
    makers = _makers(graph)
    given = _given(graph)
    _check_outputs(graph, makers, given)
    order = _order(graph, makers, given)
    if order == list(range(len(order))):
        return False
    nodes = [graph.node[place] for place in order]
    del graph.node[:]
    graph.node.extend(nodes)
    return True


def _given(graph: GraphProto) -> set[str]:
    """Names that stand without a node; each kind of them is unique in itself."""
    kinds = {
        "input": [v.name for v in graph.input],
        "initializer": [t.name for t in graph.initializer] + [s.values.name for s in graph.sparse_initializer],
    }
    for kind, names in kinds.items():
        name, count = Counter(names).most_common(1)[0] if names else ("", 1)
        if count > 1:
            raise FrontendError(f"the {kind} name {name!r} is used {count} times")
    return {name for names in kinds.values() for name in names}


def _makers(graph: GraphProto) -> dict[str, int]:
    """The place of the node that makes each value."""
    makers: dict[str, int] = {}
    standing = {v.name for v in graph.input} | {t.name for t in graph.initializer}
    for place, node in enumerate(graph.node):
        for name in filter(None, node.output):
            if name in makers or name in standing:
                raise FrontendError(f"the value {name!r} is made twice, the second time by {_shown(node)}")
            makers[name] = place
    return makers


def _check_outputs(graph: GraphProto, makers: dict[str, int], given: set[str]) -> None:
    for value in graph.output:
        if value.name not in makers and value.name not in given:
            raise FrontendError(f"the graph's output {value.name!r} is made by no node")


def _order(graph: GraphProto, makers: dict[str, int], given: set[str]) -> list[int]:
    """Places of the nodes in topological order; the order stays where it is one already."""
    needs = [_needs(node, makers, given) for node in graph.node]
    if all(need < place for place, each in enumerate(needs) for need in each):
        return list(range(len(needs)))
    users: list[list[int]] = [[] for _ in needs]
    for place, each in enumerate(needs):
        for need in each:
            users[need].append(place)
    missing = [len(each) for each in needs]
    ready = [place for place in reversed(range(len(needs))) if not missing[place]]
    order = []
    while ready:
        order.append(ready.pop())
        for user in users[order[-1]]:
            missing[user] -= 1
            if not missing[user]:
                ready.append(user)
    if len(order) < len(needs):
        stuck = next(place for place, count in enumerate(missing) if count)
        raise FrontendError(f"the graph has a cycle through {_shown(graph.node[stuck])}")
    return order


def _needs(node: NodeProto, makers: dict[str, int], given: set[str]) -> set[int]:
    """Places of the nodes whose values this one uses, in its bodies too."""
    needs = set()
    for name in filter(None, node.input):
        if name in makers:
            needs.add(makers[name])
        elif name not in given:
            raise FrontendError(f"the input {name!r} of {_shown(node)} is made by nothing in the graph")
    needs.update(makers[name] for name in _captured(node) if name in makers)
    return needs


def _captured(node: NodeProto) -> Iterator[str]:
    """Names that the bodies of a node use and do not make themselves."""
    waiting: list[tuple[GraphProto, frozenset[str]]] = [(body, frozenset()) for body in walk.bodies(node)]
    while waiting:
        body, known = waiting.pop()
        known |= {v.name for v in body.input} | {t.name for t in body.initializer}
        known |= {name for inner in body.node for name in inner.output}
        for inner in body.node:
            yield from (name for name in inner.input if name not in known)
            waiting.extend((deeper, known) for deeper in walk.bodies(inner))


def _shown(node: NodeProto) -> str:
    return f"{node.op_type} {node.name!r}" if node.name else f"the {node.op_type} that makes {list(node.output)[:1]!r}"
