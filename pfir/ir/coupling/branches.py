"""Residual branches: what may go as a whole, because a shortcut carries the rest of the network past it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.groups import Branch, Coupling, Group
from pfir.ir.coupling.trace import node_key
from pfir.ir.edit import Names, array, bypass, held, is_op, producer, remove_dead
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model


def find_branches(model: Model, coupling: Coupling, may_go: Callable[[gs.Node], bool]) -> tuple[Branch, ...]:
    """The residual branches of a model, in topological order.

    A branch is what serves one operand of an Add alone, the other operand being of the same shape. It ends in a
    convolution or dense layer all of whose input channels belong to free groups that run nowhere else: without those
    channels the layer gives its bias, which the Add keeps.

    Args:
        model: The analysed model, shapes inferred.
        coupling: Of that model.
        may_go: Whether a node may vanish.
    """
    holding = held(model.graph)
    homes = _homes(coupling)
    found = []
    for node in model.graph.nodes:
        for place in (0, 1) if is_op(node, "Add") and len(node.inputs) == 2 else ():
            branch = _branch(node, place, coupling, homes, holding, may_go)
            if branch is not None:
                found.append(branch)
                break
    return tuple(found)


def cut_branches(model: Model, branches: Collection[Branch]) -> None:
    """Take branches out in place: each Add adds the bias that the branch's last layer would give, or goes too."""
    if not branches:
        return
    wanted = {b.add: b for b in branches}
    holding, names = held(model.graph), Names(model.graph)
    for node in list(model.graph.nodes):
        branch = wanted.get(node_key(node))
        if branch is not None:
            _cut(node, branch.place, holding, names)
    remove_dead(model.graph)


def _branch(
    node: gs.Node, place: int, coupling: Coupling, homes: Mapping, holding: set[str], may_go: Callable
) -> Branch | None:
    result, other = node.inputs[place], node.inputs[1 - place]
    layer = _last_layer(result)
    if layer is None or not _bypassed(result, other):
        return None
    dead = _serving(result, holding)
    if id(layer.node) not in dead or not all(may_go(n) for n in dead.values()):
        return None
    inside = _inside(layer, dead, result, coupling, homes)
    if not inside or any(g.pins for g in inside):
        return None
    return Branch(layer.node.name or node_key(layer.node), node_key(node), place, tuple(g.name for g in inside))


def _last_layer(result: gs.Tensor) -> LinearLayer | None:
    """The layer whose output this is, a bias added to a MatMul included."""
    node = producer(result)
    if node is not None and is_op(node, "Add"):
        layers = [producer(t) for t in node.inputs if not isinstance(t, gs.Constant)]
        layer = plain_layer(layers[0]) if len(layers) == 1 and layers[0] is not None else None
        return layer if layer is not None and layer.operator.bias is None else None
    layer = None if node is None else plain_layer(node)
    able = layer is not None and not layer.is_transposed and layer.place == layer.operator.weight.place
    return layer if able and (layer.bias is None or isinstance(layer.bias, gs.Constant)) else None


def _bypassed(result: gs.Tensor, other: gs.Tensor) -> bool:
    """Whether the sum has the shape of the other operand alone."""
    shapes = (result.shape, other.shape)
    if isinstance(other, gs.Constant) or None in shapes or any(d in (None, -1) for s in shapes for d in s):
        return False
    return list(result.shape) == list(other.shape)


def _serving(result: gs.Tensor, holding: set[str]) -> dict[int, gs.Node]:
    """The nodes, by identity, whose outputs nothing needs in the end but the one reader of this tensor."""
    if result.name in holding or len(result.outputs) != 1:
        return {}
    dead: dict[int, gs.Node] = {}
    waiting = [producer(result)]
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in dead:
            continue
        readers = [r for t in node.outputs if t is not result for r in t.outputs]
        if all(id(r) in dead for r in readers) and not {t.name for t in node.outputs} & holding:
            dead[id(node)] = node
            waiting += [producer(t) for t in node.inputs]
    return dead


def _homes(coupling: Coupling) -> dict[str, list[Group]]:
    """The groups that run through each tensor, by its name."""
    homes: dict[str, list[Group]] = {}
    for group in coupling.groups:
        for tensor in dict.fromkeys(m.tensor for m in group.members):
            homes.setdefault(tensor, []).append(group)
    return homes


def _inside(layer: LinearLayer, dead: Mapping[int, gs.Node], result: gs.Tensor, coupling: Coupling, homes: Mapping):
    """The groups that run in the branch alone, if together they are all that its last layer reads; else none."""
    made = {t.name for n in dead.values() for t in n.outputs} - {result.name}
    made -= {t.name for t in layer.node.outputs}
    near = {g.name: g for name in made for g in homes.get(name, ())}
    inside = [g for g in coupling.groups if g.name in near and _only_in(g, made)]
    return inside if _read_whole(layer, inside, coupling) else []


def _only_in(group: Group, tensors: Collection[str]) -> bool:
    return all(m.constant or m.tensor in tensors for m in group.members)


def _read_whole(layer: LinearLayer, groups: Collection[Group], coupling: Coupling) -> bool:
    """Whether these groups hold every position of the axis that the layer's weight contracts over."""
    sites = {(s.tensor, s.axis) for g in groups for s in g.consuming if s.tensor == layer.weight.name}
    if len(sites) != 1 or layer.layout.groups != 1:
        return False
    (site,) = sites
    covered = [m.positions.ravel() for g in groups for m in g.members if (m.tensor, m.axis) == site]
    return np.unique(np.concatenate(covered)).size == coupling.sizes[site]


def _cut(node: gs.Node, place: int, holding: set[str], names: Names) -> None:
    constant = _left_over(node.inputs[place])
    if constant is None and bypass(node, holding, 1 - place):
        return
    rest = np.zeros((), node.inputs[1 - place].dtype) if constant is None else constant
    node.inputs[place] = gs.Constant(names.fresh(f"{node.inputs[place].name}_left"), rest)


def _left_over(result: gs.Tensor) -> np.ndarray | None:
    """What a branch gives whose last layer reads zeros, in a shape that broadcasts to the sum; None for zero."""
    node = producer(result)
    if is_op(node, "Add"):
        return next(array(t) for t in node.inputs if isinstance(t, gs.Constant))
    layer = plain_layer(node)
    if layer.bias is None or not array(layer.bias).any():
        return None
    bias = array(layer.bias)
    if layer.is_convolution:
        return bias.reshape(-1, *[1] * len(node.attrs.get("kernel_shape") or layer.weight.shape[2:]))
    return (bias * layer.bias_factor).astype(bias.dtype)
