"""The coupling of a model, found by visiting its nodes in order and asking each operator's rule."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.channels import Coupling
from pfir.ir.model import Model
from pfir.ir.rules.grouping import grouped
from pfir.ir.rules.table import rule_for
from pfir.ir.rules.trace import Op, Trace, Unfollowed, display_name
from pfir.ir.rules.values import constant_value, evaluate
from pfir.ir.shapes import infer_shapes

_OTHER_SPLITS = ("major", "minor", "first")


def analyse(model: Model, keep: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Coupling:
    """See `pfir.ir.channels.channel_groups`."""
    shaped = model.clone()
    infer_shapes(shaped)
    _check_names(shaped, (*keep, *only))
    trace = follow(shaped, "auto", keep)
    best = grouped(trace, only)
    if not trace.ambiguous or not any(g.pins for g in best.groups):
        return best
    # A split whose purpose was misread pins what another choice leaves free; the other choices are few and quick.
    return max([best, *(grouped(follow(shaped, split, keep), only) for split in _OTHER_SPLITS)], key=_freedom)


def _freedom(coupling: Coupling) -> int:
    """How many weight rows and columns may go: whole heads count as much as the widths inside them."""
    slices = [s for g in coupling.free() for s in (*g.producing, *g.consuming)]
    return sum(s.positions.size for s in slices if s.role == "weight")


def _check_names(model: Model, names: tuple[str, ...]) -> None:
    known = [display_name(n) for n in model.graph.nodes]
    for name in names:
        if name not in known:
            close = get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise UsageError(f"the model has no node called {name}{hint}")


def follow(model: Model, split: str, keep: tuple[str, ...] = ()) -> Trace:
    """Everything the rules say about a model whose shapes are known."""
    graph = model.graph
    trace = Trace(shapes=_shapes(graph), opset=graph.opset, split=split)
    captured = _captured(graph)
    for order, node in enumerate(ordered(graph)):
        op = Op(trace, node, order)
        _take_constants(trace, node)
        _visit(op)
        for name in op.outputs:
            trace.made_by[name] = (order, op.name)
            if op.name in keep:
                trace.pin_tensor(name, op.name, "kept by request")
            if name in captured:
                trace.pin_tensor(name, captured[name], "a subgraph uses it")
    for name in captured:
        if name in trace.constants:
            trace.pin_tensor(name, captured[name], "a subgraph uses it")
    for tensor in graph.outputs:
        maker = display_name(tensor.inputs[0]) if tensor.inputs else tensor.name
        trace.pin_tensor(tensor.name, maker, f"graph output {tensor.name} keeps its shape")
    return trace


def _shapes(graph: gs.Graph) -> dict[str, tuple | None]:
    return {name: None if t.shape is None else _dims(t.shape) for name, t in graph.tensors().items()}


def _dims(shape) -> tuple:
    return tuple(d if isinstance(d, str) or (isinstance(d, int) and d >= 0) else None for d in map(_plain, shape))


def _plain(dim):
    return dim if isinstance(dim, str) or dim is None else int(dim)


def _take_constants(trace: Trace, node: gs.Node) -> None:
    for tensor in node.inputs:
        if isinstance(tensor, gs.Constant) and tensor.name not in trace.constants:
            _add_constant(trace, tensor.name, tensor)


def _add_constant(trace: Trace, name: str, tensor: gs.Constant) -> None:
    trace.add_constant(name, tuple(int(d) for d in tensor.shape))
    value = constant_value(tensor)
    if value is not None:
        trace.values[name] = value


def _visit(op: Op) -> None:
    given = op.node.attrs.get("value")
    if op.kind == "Constant" and isinstance(given, gs.Constant):
        _add_constant(op.trace, op.outputs[0], given)
        # Its numbers can be cut, but they are no initializer that a caller could look up.
        del op.trace.origins[op.outputs[0]]
        return
    if op.kind == "Constant":
        _take_attribute(op)
        return
    value = _value(op)
    if value is not None:
        op.trace.values[op.outputs[0]] = value
    _apply_rule(op)
    if op.inputs and op.of_weights():
        op.trace.constants.update(op.outputs)


def _take_attribute(op: Op) -> None:
    """Constants given as plain numbers are literals; nothing shrinks them."""
    found = [v for k, v in op.node.attrs.items() if k in ("value_int", "value_ints", "value_float", "value_floats")]
    if found:
        op.trace.values[op.outputs[0]] = np.asarray(found[0], dtype=object)


def _value(op: Op):
    try:
        return evaluate(op)
    except (ValueError, IndexError, TypeError, Unfollowed):
        return None  # A literal that cannot be computed is one that is not known.


def _apply_rule(op: Op) -> None:
    rule = rule_for(op)
    if rule is None:
        op.pin_inputs(f"{op.kind} is not followed")
        return
    try:
        rule(op)
    except Unfollowed as reason:
        _give_up(op, f"{op.kind} is not followed here: {reason}")
    except (ValueError, IndexError, KeyError, TypeError, StopIteration) as problem:
        # A node that contradicts its own shapes: staying as it is is always right, a crash never.
        _give_up(op, f"{op.kind} could not be followed: {problem}")
    else:
        op.pin_unasked()
        op.pin_if_outputs_are_missing()
        op.learn_rank()


def _give_up(op: Op, reason: str) -> None:
    op.forget_outputs()
    op.pin_inputs(reason)
    op.trace.edits = [e for e in op.trace.edits if e.node != op.key]


def _captured(graph: gs.Graph) -> dict[str, str]:
    """Outer tensors that subgraphs read, with the node that holds the subgraph."""
    found: dict[str, str] = {}
    for node in graph.nodes:
        for subgraph in node.subgraphs(recursive=True):
            names = {t.name for n in subgraph.nodes for t in n.inputs} | {t.name for t in subgraph.outputs}
            found.update(dict.fromkeys(names, display_name(node)))
    return found


def ordered(graph: gs.Graph) -> Iterator[gs.Node]:
    """The nodes, each after those whose outputs it reads; a graph in order keeps its order."""
    waiting, done = list(graph.nodes), set()
    made = {t.name for n in waiting for t in n.outputs}
    while waiting:
        later = []
        for node in waiting:
            if all(t.name in done or t.name not in made for t in node.inputs):
                done.update(t.name for t in node.outputs)
                yield node
            else:
                later.append(node)
        if len(later) == len(waiting):
            return
        waiting = later

