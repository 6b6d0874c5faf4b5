"""A model as costs are counted on it: every size a number, in bodies too, and no local functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_graphsurgeon as gs

from pfir.ir.coupling.bodies import ambiguous_names, bodies_of, every_graph, tensors_of
from pfir.ir.functions import inline_functions
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes, infer_shapes

# The inliner works on one serialised file.
_MOST_BYTES = (1 << 31) - (64 << 20)


def sized_everywhere(model: Model, input_shapes: Mapping[str, Sequence[int]] | None = None) -> Model:
    """Another model, with the sizes of `fix_sizes`, and in bodies those of the first run.

    Raises:
        UsageError: As `fix_sizes`.
    """
    small = sum(t.values.nbytes for t in model.initializers().values()) < _MOST_BYTES
    fixed = fix_sizes(inline_functions(model) if small else model, None, input_shapes)
    _tell_apart(fixed.graph)
    _size_bodies(fixed.graph)
    return fixed


def _tell_apart(graph: gs.Graph) -> None:
    """Rename tensors of bodies that share their name with another one."""
    unclear, seen = ambiguous_names(graph), set()
    for tensor in (t for each in every_graph(graph) for t in tensors_of(each) if t.name in unclear):
        if tensor.name in seen:
            tensor.name = f"{tensor.name}#{id(tensor)}"
        seen.add(tensor.name)


def _size_bodies(graph: gs.Graph) -> None:
    for node in graph.nodes:
        for body in bodies_of(node):
            _enter(node, body)
            body.opset, body.import_domains = graph.opset, graph.import_domains
            infer_shapes(Model(gs.Graph(body.nodes, _given(body), [], "body", "", body.opset, body.import_domains)))
            _size_bodies(body)


def _enter(node: gs.Node, body: gs.Graph) -> None:
    """Give the inputs of a body the sizes of what they are at first."""
    if node.op == "Loop":
        shapes = [[], [], *(t.shape for t in node.inputs[2:])]
    elif node.op == "Scan":
        scanned = node.attrs["num_scan_inputs"]
        axes = node.attrs.get("scan_input_axes") or [0] * scanned
        shapes = [t.shape for t in node.inputs[:-scanned]]
        shapes += [_without(t.shape, axis) for t, axis in zip(node.inputs[-scanned:], axes, strict=True)]
    else:
        return
    for tensor, shape in zip(body.inputs, shapes, strict=False):
        tensor.shape = None if shape is None else list(shape)


def _without(shape: Sequence | None, axis: int) -> list | None:
    return None if shape is None else [d for i, d in enumerate(shape) if i != axis % len(shape)]


def _given(body: gs.Graph) -> list[gs.Tensor]:
    """What the nodes of a body read of its inputs and of the graphs around it."""
    made = {id(t) for n in body.nodes for t in n.outputs}
    read = [t for each in every_graph(body) for n in each.nodes for t in n.inputs]
    inner = {id(t) for each in every_graph(body) for n in each.nodes for t in n.outputs} - made
    found = {t.name: t for t in read if isinstance(t, gs.Variable) and not t.is_empty()}
    return [t for t in found.values() if id(t) not in made | inner]
