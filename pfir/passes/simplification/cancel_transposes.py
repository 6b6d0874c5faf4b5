"""Transposes left by NHWC frameworks, pushed downwards until they meet their inverses and vanish."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.copying import copy_graph
from pfir.ir.edit import Names, array, bypass, held, is_op, operand, opset, remove_dead, replace_uses, set_input, sweep

_UNARY = frozenset(
    (
        "Abs",
        "Cast",
        "Ceil",
        "Clip",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
        "HardSwish",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Reciprocal",
        "Relu",
        "Round",
        "Selu",
        "Sigmoid",
        "Sign",
        "Softplus",
        "Softsign",
        "Sqrt",
        "Tanh",
        "ThresholdedRelu",
    )
)
_BROADCAST = frozenset(("Add", "Sub", "Mul", "Div", "Max", "Min", "Pow", "PRelu", "Sum", "Mean"))
_REDUCTIONS = frozenset(
    (
        "ReduceL1",
        "ReduceL2",
        "ReduceLogSum",
        "ReduceLogSumExp",
        "ReduceMax",
        "ReduceMean",
        "ReduceMin",
        "ReduceProd",
        "ReduceSum",
        "ReduceSumSquare",
    )
)


def cancel_transposes(graph: gs.Graph) -> int:
    """Remove transposes by moving them, and tell by how many they became fewer; else the graph stays as it is."""
    before = _count(graph)
    if before == 0:
        return 0
    # A Transpose that several nodes read becomes several once it is pushed below them: whether all of it pays is only
    # known at the end.
    trial = copy_graph(graph)
    _push_all(trial)
    fallen = before - _count(trial)
    if fallen <= 0:
        return 0
    graph.nodes, graph.inputs, graph.outputs = trial.nodes, trial.inputs, trial.outputs
    return fallen


def _count(graph: gs.Graph) -> int:
    return sum(is_op(n, "Transpose") for n in graph.nodes)


@dataclass
class _Sweep:
    """A walk down the graph that pushes every Transpose it meets as far as it goes."""

    graph: gs.Graph
    names: Names
    holding: set[str]
    turns: list[gs.Node] = field(default_factory=list)

    def run(self) -> bool:
        """Whether anything moved."""
        ordered, moved = [], False
        for node in self.graph.nodes:
            ordered.append(node)
            moved |= self._step(node)
            ordered += self.turns
            self.turns.clear()
        self.graph.nodes = ordered
        sweep(self.graph)
        return moved

    def _step(self, node: gs.Node) -> bool:
        if not node.outputs or not node.inputs:
            return False
        if is_op(node, "Transpose"):
            return _join(node, self.holding)
        rule = _rule(node)
        return rule is not None and len(node.outputs) == 1 and rule(self, node)

    def finish(self, node: gs.Node, order: list[int]) -> bool:
        """Leave a node that now computes in the old layout: what reads it gets a Transpose of this order."""
        result = node.outputs[0]
        moved = gs.Variable(self.names.fresh(f"{result.name}_moved"), result.dtype, _undo(result.shape, order))
        turn = gs.Node("Transpose", self.names.fresh(f"{node.name or result.name}_transpose"), {"perm": list(order)})
        node.outputs = [moved]
        turn.inputs, turn.outputs = [moved], [result]
        self.turns.append(turn)
        return True

    def constant(self, name: str, values: np.ndarray) -> gs.Constant:
        return gs.Constant(self.names.fresh(name), values)


def _push_all(graph: gs.Graph) -> None:
    """Sweep until nothing moves: each sweep moves every Transpose to where it stops or meets another; few sweeps do."""
    while _Sweep(graph, Names(graph), held(graph)).run():
        pass
    _merge_equal(graph)
    remove_dead(graph)


def _rule(node: gs.Node) -> Callable[[_Sweep, gs.Node], bool] | None:
    if is_op(node, *_UNARY):
        return _push_unary
    if is_op(node, *_BROADCAST):
        return _push_broadcast
    if is_op(node, *_REDUCTIONS):
        return _push_reduction
    return _AXIS_RULES.get(node.op) if is_op(node, node.op) else None


def _order(tensor: gs.Tensor) -> list[int] | None:
    """The permutation of the Transpose that wrote a tensor."""
    node = tensor.inputs[0] if tensor.inputs else None
    if node is None or not is_op(node, "Transpose"):
        return None
    if "perm" in node.attrs:
        return list(node.attrs["perm"])
    return None if tensor.shape is None else list(range(len(tensor.shape) - 1, -1, -1))


def _source(tensor: gs.Tensor) -> gs.Tensor:
    return tensor.inputs[0].inputs[0]


def _join(node: gs.Node, holding: set[str]) -> bool:
    """Make one of a Transpose behind another, and none of an order that changes nothing."""
    first = _order(node.inputs[0])
    own = _order(node.outputs[0])
    if own is None:
        return False
    if first is not None:
        node.inputs[0] = _source(node.inputs[0])
        # Axis j is axis own[j] of the tensor between, and that is axis first[own[j]] of the source.
        node.attrs["perm"] = [first[i] for i in own]
        return True
    return own == sorted(own) and bypass(node, holding)


def _undo(shape: list | None, order: list[int]) -> list | None:
    if shape is None or len(shape) != len(order):
        return None
    inverse = np.argsort(order)
    return [shape[i] for i in inverse]


def _push_unary(walk: _Sweep, node: gs.Node) -> bool:
    order = _order(node.inputs[0])
    if order is None or not all(t.is_empty() or array(t) is not None for t in node.inputs[1:]):
        return False
    node.inputs[0] = _source(node.inputs[0])
    return walk.finish(node, order)


def _push_broadcast(walk: _Sweep, node: gs.Node) -> bool:
    """Push the Transposes of all variable inputs, of one order, below a node; its constants are turned back."""
    orders = [_order(t) for t in node.inputs if array(t) is None]
    if not orders or orders[0] is None or any(o != orders[0] for o in orders):
        return False
    order = orders[0]
    constants = {i: v for i, t in enumerate(node.inputs) if (v := array(t)) is not None}
    turned = {i: back for i, v in constants.items() if (back := _turned_back(v, order)) is not None}
    if len(turned) < len(constants):
        return False
    for i, tensor in enumerate(list(node.inputs)):
        if i in turned:
            node.inputs[i] = walk.constant(f"{tensor.name}_turned", turned[i])
        else:
            node.inputs[i] = _source(tensor)
    return walk.finish(node, order)


def _turned_back(value: np.ndarray, order: list[int]) -> np.ndarray | None:
    if value.size == 1 and value.ndim <= len(order):
        return value
    if value.ndim > len(order):
        return None
    full = value.reshape((1,) * (len(order) - value.ndim) + value.shape)
    return np.ascontiguousarray(full.transpose(np.argsort(order)))


def _push_concat(walk: _Sweep, node: gs.Node) -> bool:
    orders = [_order(t) for t in node.inputs]
    if orders[0] is None or any(o != orders[0] for o in orders):
        return False
    order = orders[0]
    node.attrs["axis"] = order[node.attrs["axis"] % len(order)]
    for i, tensor in enumerate(list(node.inputs)):
        node.inputs[i] = _source(tensor)
    return walk.finish(node, order)


def _push_softmax(walk: _Sweep, node: gs.Node) -> bool:
    order = _order(node.inputs[0])
    # Before opset 13 Softmax flattens the axes behind `axis`, which a Transpose changes.
    if order is None or opset(walk.graph) < 13:
        return False
    node.attrs["axis"] = order[node.attrs.get("axis", -1) % len(order)]
    node.inputs[0] = _source(node.inputs[0])
    return walk.finish(node, order)


def _push_pad(walk: _Sweep, node: gs.Node) -> bool:
    order = _order(node.inputs[0])
    pads = np.asarray(node.attrs["pads"]) if "pads" in node.attrs else array(operand(node, 1))
    if order is None or pads is None or operand(node, 3) is not None:
        return False
    inverse = np.argsort(order)
    turned = pads.reshape(2, -1)[:, inverse].ravel()
    if "pads" in node.attrs:
        node.attrs["pads"] = [int(v) for v in turned]
    else:
        node.inputs[1] = walk.constant(f"{node.inputs[1].name}_turned", turned)
    node.inputs[0] = _source(node.inputs[0])
    return walk.finish(node, order)


def _push_slice(walk: _Sweep, node: gs.Node) -> bool:
    order = _order(node.inputs[0])
    if order is None or "starts" in node.attrs or array(operand(node, 1)) is None:
        return False
    given = operand(node, 3)
    axes = np.arange(node.inputs[1].values.size) if given is None else array(given)
    if axes is None:
        return False
    turned = np.array([order[int(a) % len(order)] for a in axes.ravel()], np.int64)
    set_input(node, 3, walk.constant(f"{node.outputs[0].name}_axes", turned))
    node.inputs[0] = _source(node.inputs[0])
    return walk.finish(node, order)


def _push_reduction(walk: _Sweep, node: gs.Node) -> bool:
    """Push a Transpose below a reduction, which then reduces other axes; without keepdims fewer are left to turn."""
    order = _order(node.inputs[0])
    axes = _reduced_axes(node)
    if order is None or axes is None:
        return False
    axes = [a % len(order) for a in axes]
    turned = [order[a] for a in axes]
    if "axes" in node.attrs:
        node.attrs["axes"] = sorted(turned)
    else:
        set_input(node, 1, walk.constant(f"{node.outputs[0].name}_axes", np.array(sorted(turned), np.int64)))
    node.inputs[0] = _source(node.inputs[0])
    if node.attrs.get("keepdims", 1):
        return walk.finish(node, order)
    # The axes that are left are numbered anew, in the order in which they lie.
    left = [o for i, o in enumerate(order) if i not in axes]
    ranks = sorted(left)
    return walk.finish(node, [ranks.index(o) for o in left])


def _reduced_axes(node: gs.Node) -> list[int] | None:
    if "axes" in node.attrs:
        return list(node.attrs["axes"])
    given = array(operand(node, 1))
    return [int(a) for a in given.ravel()] if given is not None and given.size else None


_AXIS_RULES = {
    "Concat": _push_concat,
    "Softmax": _push_softmax,
    "LogSoftmax": _push_softmax,
    "Pad": _push_pad,
    "Slice": _push_slice,
}


def _merge_equal(graph: gs.Graph) -> None:
    """Make one of all Transposes of a tensor in one order."""
    holding = held(graph)
    seen: dict[tuple[int, tuple[int, ...]], gs.Tensor] = {}
    for node in graph.nodes:
        order = _order(node.outputs[0]) if is_op(node, "Transpose") else None
        if order is None:
            continue
        key = (id(node.inputs[0]), tuple(order))
        if key in seen and node.outputs[0].name not in holding:
            replace_uses(node.outputs[0], seen[key])
        else:
            seen.setdefault(key, node.outputs[0])
