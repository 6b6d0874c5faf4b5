"""The coupling of a model, found by visiting its nodes in order and asking each operator's rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from functools import partial

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.costs.symbolic_cost import CONTRACTIONS
from pfir.ir.coupling.bodies import BODIES, ambiguous_names, bodies_of, every_graph, inside
from pfir.ir.coupling.branches import find_branches
from pfir.ir.coupling.grouping import grouped
from pfir.ir.coupling.groups import Coupling, Pin
from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.rules.table import Rule, rule_for
from pfir.ir.coupling.trace import Trace, display_name
from pfir.ir.coupling.values import constant_value, evaluate
from pfir.ir.edit import STANDARD_DOMAINS
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.ir.shapes import infer_shapes, inner_shapes

_OTHER_SPLITS = ("major", "minor", "first")


def analyse(
    model: Model, keep: tuple[str, ...] = (), only: tuple[str, ...] = (), within_heads: bool = False
) -> Coupling:
    """The coupling of a model, as `pfir.ir.coupling.channels.channel_groups` describes it."""
    shaped = model.clone()
    infer_shapes(shaped)
    keep, only = _meant(shaped, keep), _meant(shaped, only)
    if within_heads:
        return grouped(follow(shaped, "within", keep), only)
    trace = follow(shaped, "auto", keep)
    best = grouped(trace, only)
    if trace.ambiguous and any(g.pins for g in best.groups):
        # A split whose purpose was misread pins what another choice leaves free; the others are few and quick.
        best = max([best, *(grouped(follow(shaped, split, keep), only) for split in _OTHER_SPLITS)], key=_freedom)
    may_go = partial(_may_go, keep=keep, only=only)
    return replace(best, branches=find_branches(shaped, best, may_go))


def _may_go(node: gs.Node, keep: tuple[str, ...], only: tuple[str, ...]) -> bool:
    """Whether a node may vanish with its branch: it is not kept, and where layers are named it is one of them."""
    name = display_name(node)
    return name not in keep and (not only or name in only or node.op not in CONTRACTIONS)


def _freedom(coupling: Coupling) -> int:
    """How many weight rows and columns may go: whole heads count as much as the widths inside them."""
    slices = [s for g in coupling.free() for s in (*g.producing, *g.consuming)]
    return sum(s.positions.size for s in slices if s.role == "weight")


def _meant(model: Model, names: tuple[str, ...]) -> tuple[str, ...]:
    """The nodes that a user names, by their names here."""
    known = [display_name(n) for graph in every_graph(model.graph) for n in graph.nodes]
    found = []
    for name in names:
        meant = (name,) if name in known else ()
        meant = tuple(dict.fromkeys((*meant, *names_meant(model.graph, name))))
        if not meant:
            close = get_close_matches(name, known, n=3, cutoff=0.4)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise UsageError(f"the model has no node called {name}{hint}")
        found += meant
    return tuple(found)


def follow(model: Model, split: str, keep: tuple[str, ...] = ()) -> Trace:
    """Everything the rules say about a model whose shapes are known."""
    graph = model.graph
    trace = Trace({**inner_shapes(model), **_shapes(graph)}, graph.opset, split, keep)
    trace.unclear.update(ambiguous_names(graph))
    for node in ordered(graph):
        _visit(trace, node)
    for name, pin in trace.held.items():
        trace.pin_tensor(name, pin.node, pin.reason)
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


def _take_constants(trace: Trace, tensors: Iterable[gs.Tensor]) -> None:
    for tensor in tensors:
        if isinstance(tensor, gs.Constant) and tensor.name not in trace.constants:
            _add_constant(trace, tensor.name, tensor)


def _add_constant(trace: Trace, name: str, tensor: gs.Constant) -> None:
    trace.add_constant(name, tuple(int(d) for d in tensor.shape))
    value = constant_value(tensor)
    if value is not None:
        trace.values[name] = value


def _visit(trace: Trace, node: gs.Node) -> None:
    op = Op(trace, node, len(trace.nodes))
    trace.nodes.append(node)
    _take_constants(trace, node.inputs)
    _speak(op)
    for name in op.outputs:
        trace.made_by[name] = (op.order, op.name)
        if op.name in trace.keep:
            trace.pin_tensor(name, op.name, "kept by request")


def _visit_body(trace: Trace, body: gs.Graph) -> None:
    trace.depth += 1
    for node in ordered(body):
        _visit(trace, node)
    _take_constants(trace, body.outputs)
    trace.depth -= 1


def _speak(op: Op) -> None:
    given = op.node.attrs.get("value")
    if op.kind == "Constant" and isinstance(given, gs.Constant):
        _add_constant(op.trace, op.outputs[0], given)
        # Its numbers can be cut, but they are no initializer that a caller could look up.
        del op.trace.origins[op.outputs[0]]
        return
    if op.kind == "Constant":
        _take_attribute(op)
        return
    if bodies_of(op.node):
        _follow_bodies(op)
        return
    value = _value(op)
    if value is not None:
        op.trace.values[op.outputs[0]] = value
    _apply(op, rule_for(op))
    if op.inputs and op.of_weights():
        op.trace.constants.update(op.outputs)


def _take_attribute(op: Op) -> None:
    """Take a Constant that is given as plain numbers for a literal, which nothing shrinks."""
    found = [v for k, v in op.node.attrs.items() if k in ("value_int", "value_ints", "value_float", "value_floats")]
    if found:
        op.trace.values[op.outputs[0]] = np.asarray(found[0], dtype=object)


def _value(op: Op):
    try:
        return evaluate(op)
    except (ValueError, LookupError, TypeError, ArithmeticError, Unfollowed):
        return None  # A literal that cannot be computed is one that is not known.


def _follow_bodies(op: Op) -> None:
    """Follow a node into its bodies, or pin all that they touch, as if they had not been looked into."""
    rule = BODIES.get(op.kind) if op.node.domain in STANDARD_DOMAINS else None
    names = inside(op.node)
    before = op.trace.mark()
    if names & op.trace.unclear:
        _give_up(op, f"tensors in its bodies share the name {min(names & op.trace.unclear)}")
    else:
        _apply(op, rule and partial(rule, visit=partial(_visit_body, op.trace)))
    pin = op.trace.given_up.get(op.key)
    if pin is not None:
        op.trace.restore(before)
        _give_up(op, pin.reason)
        op.trace.held.update(dict.fromkeys(names, Pin(op.name, f"a body uses it, and {pin.reason}")))


def _apply(op: Op, rule: Rule | None) -> None:
    if rule is None:
        foreign = op.node.domain not in (*STANDARD_DOMAINS, "com.microsoft")
        advice = "; if it is a local function, inline-functions helps" if foreign else ""
        _give_up(op, f"{op.kind} is not followed{advice}")
        return
    try:
        rule(op)
    except Unfollowed as reason:
        _give_up(op, f"{op.kind} is not followed here: {reason}")
    except (ValueError, LookupError, TypeError, ArithmeticError, StopIteration) as problem:
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
    op.trace.given_up[op.key] = Pin(op.name, reason)


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
