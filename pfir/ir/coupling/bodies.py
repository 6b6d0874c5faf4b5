"""Rules of nodes that hold graphs: branches of an If, the body that a Loop or a Scan runs again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import onnx_graphsurgeon as gs

from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.trace import Labels, Trace

Visit = Callable[[gs.Graph], None]
"""Lets the rules of all nodes in a body speak, in order."""

Sizes = list | None
"""What a body may rely on in every run of it: sizes, None where they change; None instead if even the rank does."""

_CHANGES = "its size changes from run to run of the body"


def bodies_of(node: gs.Node) -> list[gs.Graph]:
    """The graphs that a node holds directly."""
    return [value for value in node.attrs.values() if isinstance(value, gs.Graph)]


def every_graph(graph: gs.Graph) -> Iterator[gs.Graph]:
    """A graph, then every body in it."""
    waiting = [graph]
    for each in waiting:
        yield each
        waiting.extend(body for node in each.nodes for body in bodies_of(node))


def tensors_of(graph: gs.Graph) -> Iterator[gs.Tensor]:
    """The tensors of one graph, bodies aside, as often as they are named."""
    yield from graph.inputs
    yield from graph.outputs
    for node in graph.nodes:
        yield from node.inputs
        yield from node.outputs


def ambiguous_names(graph: gs.Graph) -> set[str]:
    """Names that two tensors have, which the format allows in bodies beside each other."""
    seen: dict[str, gs.Tensor] = {}
    tensors = (t for each in every_graph(graph) for t in tensors_of(each) if t.name)
    return {t.name for t in tensors if seen.setdefault(t.name, t) is not t}


def inside(node: gs.Node) -> set[str]:
    """Every name that the bodies of a node use, be it theirs or from outside."""
    return {t.name for body in bodies_of(node) for each in every_graph(body) for t in tensors_of(each) if t.name}


def branches(op: Op, visit: Visit) -> None:
    """Let channels go on where both branches of an If make them; what only one makes stays."""
    then, other = op.attr("then_branch"), op.attr("else_branch")
    visit(then)
    visit(other)
    for j, tensors in enumerate(zip(then.outputs, other.outputs, strict=True)):
        _meet(op, j, [t.name for t in tensors], "the branches do not agree on it")


def loop(op: Op, visit: Visit) -> None:
    """Let states keep their channels from run to run; what a run adds is stacked along a new first axis."""
    body, count = op.attr("body"), len(op.inputs) - 2
    results = [t.name for t in body.outputs[1:]]
    _run(op, visit, body, range(2, 2 + count), [t.name for t in body.inputs[2:]], results[:count])
    for j, name in enumerate(results[count:], start=count):
        _stack(op, j, name, 0)


def scan(op: Op, visit: Visit) -> None:
    """Follow states as in a Loop, slices of the scanned inputs into the body, and its other results into a stack."""
    if op.trace.opset < 9:
        raise Unfollowed("before opset 9 it scans batches")
    body, scanned = op.attr("body"), op.attr("num_scan_inputs")
    count = len(op.inputs) - scanned
    names, results = ([t.name for t in tensors] for tensors in (body.inputs, body.outputs))
    for i, axis in enumerate(op.attr("scan_input_axes") or [0] * scanned, start=count):
        _slice(op, i, axis % op.rank(i), names[i])
    _run(op, visit, body, range(count), names[:count], results[:count])
    axes = op.attr("scan_output_axes") or [0] * (len(results) - count)
    for j, (name, axis) in enumerate(zip(results[count:], axes, strict=True), start=count):
        _stack(op, j, name, axis)


def _run(op: Op, visit: Visit, body: gs.Graph, given: range, states: list[str], results: list[str]) -> None:
    """Visit a body with its states, which are inputs `given` at first; sizes that a run changes are not relied on."""
    trace = op.trace
    relied = [_sizes(trace, op.inputs[i]) for i in given]
    while True:  # Each time without the sizes that were found to change; at last none of the others does.
        before = trace.mark()
        for i, state, sizes in zip(given, states, relied, strict=True):
            _enter(op, i, state, sizes)
        visit(body)
        found = [_common(_sizes(trace, name), sizes) for name, sizes in zip(results, relied, strict=True)]
        if found == relied:
            break
        trace.restore(before)
        relied = found
    for j, (i, result) in enumerate(zip(given, results, strict=True)):
        _meet(op, j, [op.inputs[i], result], _CHANGES)


def _sizes(trace: Trace, name: str) -> Sizes:
    found = trace.shapes.get(name)
    return None if found is None else list(found)


def _common(found: Sizes, sizes: Sizes) -> Sizes:
    if found is None or sizes is None or len(found) != len(sizes):
        return None
    return [a if a == b else None for a, b in zip(found, sizes, strict=True)]


def _enter(op: Op, i: int, state: str, sizes: Sizes) -> None:
    """Tell the body what a state is: the input it comes from, where a run leaves its sizes as they were."""
    op.trace.shapes[state] = None if sizes is None else tuple(sizes)
    labels = [op.labels(i, axis) for axis in range(len(sizes or ()))]
    op.trace.axes[state] = [None if size is None else a for a, size in zip(labels, sizes or (), strict=True)]
    op.trace.made_by[state] = (op.order, op.name)


def _slice(op: Op, i: int, axis: int, name: str) -> None:
    op.pin(op.labels(i, axis), f"{op.kind} runs along this axis")
    others = [a for a in range(op.rank(i)) if a != axis]
    op.trace.shapes[name] = tuple(op.shape(i)[a] for a in others)
    op.trace.axes[name] = [op.labels(i, a) for a in others]
    op.trace.made_by[name] = (op.order, op.name)


def _stack(op: Op, j: int, name: str, axis: int) -> None:
    """Let an output be the results of all runs, along a new axis."""
    dims = op.trace.shapes.get(name)
    if dims is None:
        op.trace.pin_tensor(name, op.name, f"the rank of {name} is unknown")
        _set(op, j, [])
        return
    labels: list[Labels] = [op.trace.labels(name, a) for a in range(len(dims))]
    place = axis % (len(dims) + 1)
    op.know_shape(j, [*dims[:place], None, *dims[place:]])
    _set(op, j, [*labels[:place], None, *labels[place:]])


def _meet(op: Op, j: int, names: Sequence[str], reason: str) -> None:
    """Let output j be one of these tensors: their channels live together where their sizes are the same."""
    trace = op.trace
    shapes = [trace.shapes.get(name) for name in names]
    if None in shapes or len({len(dims) for dims in shapes}) > 1:
        for name in names:
            trace.pin_tensor(name, op.name, reason)
        _set(op, j, [])
        return
    result: list[Labels] = []
    dims = [a if a == b else None for a, b in zip(*shapes, strict=True)]
    for axis, size in enumerate(dims):
        parts = [trace.labels(name, axis) for name in names]
        if size is None:
            for labels in parts:
                op.pin(labels, reason)
        result.append(None if size is None else op.join(parts, reason))
    op.know_shape(j, dims)
    _set(op, j, result)


def _set(op: Op, j: int, axes: list[Labels]) -> None:
    if j < len(op.outputs) and op.outputs[j]:
        op.trace.axes[op.outputs[j]] = []
        for axis, labels in enumerate(axes):
            op.out(j, axis, labels)


BODIES: dict[str, Callable[[Op, Visit], None]] = {"If": branches, "Loop": loop, "Scan": scan}
