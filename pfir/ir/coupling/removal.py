"""Surgery: take positions out of axes, and rewrite the sizes and indices that nodes were given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.bodies import every_graph, tensors_of
from pfir.ir.coupling.branches import cut_branches
from pfir.ir.coupling.edits import Edit, Freeze, Literal, Remap
from pfir.ir.coupling.groups import Coupling, Site
from pfir.ir.coupling.trace import node_key
from pfir.ir.model import Model
from pfir.ir.onnx_io.tensors import numpy_dtype

# Makers of sizes and indices whose output has the type of their first input.
_HANDS_ON = frozenset(
    (
        "Identity",
        "Concat",
        "Slice",
        "Gather",
        "Squeeze",
        "Unsqueeze",
        "Reshape",
        "Add",
        "Sub",
        "Mul",
        "Div",
    )
)


class Cut:
    """Which positions each axis keeps."""

    def __init__(self, coupling: Coupling, removed: Mapping[str, np.ndarray]):
        self._masks: dict[Site, np.ndarray] = {}
        groups = {g.name: g for g in coupling.groups}
        for name, channels in removed.items():
            for member in groups[name].members:
                site = (member.tensor, member.axis)
                if site not in self._masks:
                    self._masks[site] = np.ones(coupling.sizes[site], bool)
                self._masks[site][member.positions[channels]] = False

    def __contains__(self, site: Site) -> bool:
        return site in self._masks

    def by_tensor(self) -> dict[str, list[tuple[int, np.ndarray]]]:
        """Tensor to (axis, mask of kept positions) of its changed axes."""
        found: dict[str, list[tuple[int, np.ndarray]]] = {}
        for (tensor, axis), mask in self._masks.items():
            found.setdefault(tensor, []).append((axis, mask))
        return found

    def kept(self, site: Site, low: int, high: int) -> int:
        """How many positions in [low, high) stay."""
        mask = self._masks.get(site)
        return high - low if mask is None else int(mask[low:high].sum())

    def mask(self, site: Site, size: int) -> np.ndarray:
        return self._masks.get(site, np.ones(size, bool))


def remove(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> None:
    """Remove channels as `pfir.ir.coupling.channels.remove_channels` says, which has checked `removed`."""
    if not removed:
        return
    gone = coupling.gone(coupling.whole(removed))
    whole = {name for branch in gone for name in branch.groups}
    cut = Cut(coupling, {name: channels for name, channels in removed.items() if name not in whole})
    places = {node_key(n): (graph, n) for graph in every_graph(model.graph) for n in graph.nodes}
    tensors = _tensors(model.graph)
    for name, axes in cut.by_tensor().items():
        _shrink(tensors.get(name), axes)
    for edit in coupling.edits:
        if edit.node in places and any(site in cut for site in edit.sites):
            graph, node = places[edit.node]
            _apply(graph, tensors, node, edit, cut)
    cut_branches(model, gone)


def _tensors(graph: gs.Graph) -> dict[str, gs.Tensor]:
    """All tensors by name, those in bodies too; of two with one name, the outer one."""
    found: dict[str, gs.Tensor] = {}
    for tensor in (t for each in every_graph(graph) for t in tensors_of(each) if t.name):
        found.setdefault(tensor.name, tensor)
    return found


def _shrink(tensor: gs.Tensor | None, axes: list[tuple[int, np.ndarray]]) -> None:
    if isinstance(tensor, gs.Constant):
        tensor.values = _kept(tensor.values, axes)
    elif tensor is not None:
        if tensor.inputs and tensor.inputs[0].op == "Constant":
            node = tensor.inputs[0]
            node.attrs["value"] = gs.Constant(tensor.name, _kept(node.attrs["value"].values, axes))
        if tensor.shape is not None:
            shape = list(tensor.shape)
            for axis, mask in axes:
                shape[axis] = int(mask.sum())
            tensor.shape = shape


def _kept(array: np.ndarray, axes: list[tuple[int, np.ndarray]]) -> np.ndarray:
    for axis, mask in axes:
        array = np.compress(mask, array, axis=axis)
    return array


def _apply(graph: gs.Graph, tensors: dict[str, gs.Tensor], node: gs.Node, edit: Edit, cut: Cut) -> None:
    if isinstance(edit, Remap):
        _remap(tensors, node, edit, cut)
    elif isinstance(edit, Freeze):
        _freeze(graph, tensors, node, edit)
    else:
        _fill(graph, tensors, node, edit, cut)


def _remap(tensors: dict[str, gs.Tensor], node: gs.Node, edit: Remap, cut: Cut) -> None:
    indices = edit.indices
    if edit.target is not None:
        indices = indices[cut.mask(edit.target, indices.size)]
    highest = int(edit.indices.max(initial=0)) + 1
    mask = cut.mask(edit.source, highest)
    moved = np.cumsum(mask) - 1  # where each position that stays lies once those before it have gone
    dtype = _dtype(node, edit.place)
    node.inputs[edit.place] = _constant(tensors, f"{edit.node}_indices", moved[indices], dtype)


def _fill(graph: gs.Graph, tensors: dict[str, gs.Tensor], node: gs.Node, edit: Literal, cut: Cut) -> None:
    values = list(edit.values)
    for fill in edit.fills:
        if fill.site in cut:
            values[fill.index] = cut.kept(fill.site, fill.low, fill.high) // fill.per
    if isinstance(edit.place, str):
        node.attrs[edit.place] = values[0] if edit.scalar else values
        return
    node.attrs.pop(edit.drop, None)
    name, dtype = f"{edit.node}_literal{edit.place}", _dtype(node, edit.place)
    if None not in values:
        literal = _constant(tensors, name, values, dtype)
    else:
        literal = _overlaid(graph, tensors, node.inputs[edit.place], name, values, dtype, graph.nodes.index(node))
    if edit.place == len(node.inputs):
        node.inputs.append(literal)
    else:
        node.inputs[edit.place] = literal


def _dtype(node: gs.Node, place: int) -> np.dtype:
    """The type that a literal must have at this place: that of the numbers that stand there, or beside them.

    Only Slice takes several literals of one type; all others that have a choice take one.
    """
    beside = range(1, len(node.inputs)) if node.op == "Slice" else ()
    standing = [node.inputs[i] for i in (place, *beside) if i < len(node.inputs) and node.inputs[i].name]
    constants = [t.dtype for t in standing if isinstance(t, gs.Constant)]
    known = constants or [_made_dtype(t) for t in standing]
    return np.dtype(next((d for d in known if d is not None), np.int64))


def _made_dtype(tensor: gs.Tensor) -> np.dtype | None:
    """The type of a computed tensor, where the model tells it or its maker does; some makers hand on their input's."""
    while tensor.dtype is None and tensor.inputs:
        maker = tensor.inputs[0]
        if maker.op == "Cast":
            return numpy_dtype(maker.attrs["to"]) if isinstance(maker.attrs["to"], int) else maker.attrs["to"]
        if maker.op == "Constant" and isinstance(maker.attrs.get("value"), gs.Constant):
            return maker.attrs["value"].dtype
        if maker.op not in _HANDS_ON or not maker.inputs:
            return None
        tensor = maker.inputs[0]
    return tensor.dtype


def _freeze(graph: gs.Graph, tensors: dict[str, gs.Tensor], node: gs.Node, edit: Freeze) -> None:
    """Let a Shape answer as before; where some sizes are dynamic, only the known ones are laid over its answer."""
    result = node.outputs[0]
    if None not in edit.values:
        node.op, node.attrs = "Constant", {"value": gs.Constant(result.name, np.array(edit.values, np.int64))}
        node.inputs.clear()
        return
    fresh = gs.Variable(_fresh(tensors, f"{result.name}_now"), np.int64, [len(edit.values)])
    tensors[fresh.name] = fresh
    node.outputs[0] = fresh
    at = graph.nodes.index(node) + 1
    _where(graph, tensors, fresh, result, edit.values, np.int64, at)


def _overlaid(graph: gs.Graph, tensors: dict[str, gs.Tensor], source: gs.Tensor, name: str, values, dtype, at: int):
    result = gs.Variable(_fresh(tensors, name), dtype, [len(values)])
    tensors[result.name] = result
    _where(graph, tensors, source, result, values, dtype, at)
    return result


def _where(graph: gs.Graph, tensors: dict, source: gs.Tensor, result: gs.Tensor, values, dtype, at: int) -> None:
    """Insert nodes that make `result` the values where they are known, and the source elsewhere."""
    known = _constant(tensors, f"{result.name}_known", [v is not None for v in values], bool)
    numbers = _constant(tensors, f"{result.name}_sizes", [v or 0 for v in values], dtype)
    node = gs.Node("Where", f"{result.name}_where", inputs=[known, numbers, source], outputs=[result])
    graph.nodes.insert(at, node)


def _constant(tensors: dict[str, gs.Tensor], name: str, values, dtype) -> gs.Constant:
    constant = gs.Constant(_fresh(tensors, name), np.asarray(values).astype(dtype))
    tensors[constant.name] = constant
    return constant


def _fresh(tensors: dict[str, gs.Tensor], name: str) -> str:
    count, candidate = 1, name
    while candidate in tensors:
        count += 1
        candidate = f"{name}_{count}"
    return candidate
