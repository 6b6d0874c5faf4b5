"""What removal must equal: the same network with the removed channels set to zero wherever they run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.analysis import follow
from pfir.ir.coupling.bodies import every_graph
from pfir.ir.coupling.groups import Coupling
from pfir.ir.coupling.zero_points import made_with
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes


def mask(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> Model:
    """A clone in which every activation of the groups is zero at the removed channels."""
    masked = model.clone()
    infer_shapes(masked)
    ranks = {name: len(dims) for name, dims in follow(masked, "auto").shapes.items() if dims is not None}
    tensors = {t.name: (graph, t) for graph in every_graph(masked.graph) for n in graph.nodes for t in n.outputs}
    points = {name: point for name, (_, t) in tensors.items() if isinstance(point := made_with(t), int)}
    plain = next((t.dtype for t in masked.graph.inputs if np.dtype(t.dtype).kind == "f"), np.float32)
    for name, axes in _places(coupling, removed).items():
        # A state that a body starts from is masked where it is made.
        graph, tensor = tensors.get(name, (None, None))
        if tensor is None:
            continue
        keep = _keep(name, ranks[name], axes, coupling)
        # Other integers than quantized ones stand between floats that are masked themselves.
        if name in points:
            _insert_point(graph, tensor, keep, points[name])
        elif np.dtype(tensor.dtype or plain).kind == "f":
            tensor.dtype = tensor.dtype or plain
            # Where and not Mul: 0 * inf would leak what a division by zero leaves in a masked channel.
            _insert(graph, tensor, keep, gs.Constant(f"{name}_zero", np.zeros((), tensor.dtype)))
    _forget_states(masked, coupling, removed)
    return masked


def _forget_states(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> None:
    """A removed hidden unit runs inside its node, too: the others read nothing of its state."""
    states = {n.inputs[2].name for n in model.graph.nodes if n.op in ("LSTM", "GRU", "RNN")}
    # Where states are quantized in their range, a removed one has to be zero itself.
    layers = [n for n in model.graph.nodes if n.op == "DynamicQuantizeLSTM"]
    makers = {t.name for n in layers for i, t in enumerate(n.inputs) if i in (1, 2, 3, 5, 6)}
    for name, channels in removed.items():
        group = coupling.group(name)
        members = [m for m in group.members if m.constant and m.tensor in makers]
        for part in [*(p for p in group.consuming if p.tensor in states), *members]:
            weights = model.initializers()[part.tensor].values.copy()
            np.moveaxis(weights, part.axis, 0)[part.positions[channels].ravel()] = 0
            model.set_arrays({part.tensor: weights})


def _places(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> dict[str, dict[int, np.ndarray]]:
    places: dict[str, dict[int, np.ndarray]] = {}
    for name, channels in removed.items():
        for member in coupling.group(name).members:
            if not member.constant:
                axes = places.setdefault(member.tensor, {})
                here = member.positions[channels].ravel()
                axes[member.axis] = np.concatenate([axes.get(member.axis, here[:0]), here])
    return places


def _keep(name: str, rank: int, axes: dict[int, np.ndarray], coupling: Coupling) -> gs.Constant:
    keep = np.ones([1] * rank, bool)
    for axis, removed in axes.items():
        along = np.ones(coupling.sizes[(name, axis)], bool)
        along[removed] = False
        keep = keep & along.reshape([-1 if a == axis else 1 for a in range(rank)])
    return gs.Constant(f"{name}_keep", keep)


def _insert(graph: gs.Graph, tensor: gs.Variable, keep: gs.Constant, zero: gs.Constant) -> None:
    producer, name = tensor.inputs[0], tensor.name
    place = next(i for i, t in enumerate(producer.outputs) if t is tensor)
    raw = gs.Variable(f"{name}_raw", tensor.dtype)
    producer.outputs[place] = raw
    node = gs.Node("Where", f"{name}_mask", inputs=[keep, raw, zero], outputs=[tensor])
    graph.nodes.insert(graph.nodes.index(producer) + 1, node)


def _insert_point(graph: gs.Graph, tensor: gs.Variable, keep: gs.Constant, point: int) -> None:
    """The zero point for zero, by way of int32: ONNX Runtime has no Where for all types of integers."""
    name = tensor.name
    _insert(graph, tensor, keep, gs.Constant(f"{name}_point", np.array(point, np.int32)))
    where = tensor.inputs[0]
    (wide, masked), producer = (gs.Variable(f"{name}_{k}", np.int32) for k in ("wide", "masked")), where.inputs[1]
    place = graph.nodes.index(where)
    where.inputs[1], where.outputs[0] = wide, masked
    graph.nodes.insert(place, gs.Node("Cast", f"{name}_widen", {"to": np.int32}, [producer], [wide]))
    graph.nodes.insert(place + 2, gs.Node("Cast", f"{name}_narrow", {"to": tensor.dtype}, [masked], [tensor]))


def removal(coupling: Coupling, seed: int, share: float = 0.5) -> dict[str, np.ndarray]:
    """A random removal: from every free group up to a share of its channels, never all."""
    rng = np.random.default_rng(seed)
    chosen = {}
    for group in coupling.free():
        count = int(rng.integers(0, max(1, round(share * group.size)) + 1))
        chosen[group.name] = np.sort(rng.choice(group.size, min(count, group.size - 1), replace=False))
    return chosen
