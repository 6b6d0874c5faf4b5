"""Another graph over the same arrays, fast enough to be made for every candidate of a search."""

from __future__ import annotations

import onnx_graphsurgeon as gs
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from pfir.ir.onnx_io.metadata import share


def copy_graph(graph: gs.Graph) -> gs.Graph:
    """A copy whose nodes and tensors are its own, and whose arrays, attribute messages and metadata are shared.

    Tensors are told apart by identity, not by name, so a body keeps using the outer graph's tensors.
    """
    return _copy(graph, {})


def _copy(graph: gs.Graph, done: dict[int, gs.Tensor]) -> gs.Graph:
    inputs = [_tensor(t, done) for t in graph.inputs]
    nodes = [_node(n, done) for n in graph.nodes]
    outputs = [_tensor(t, done) for t in graph.outputs]
    other = gs.Graph(
        nodes,
        inputs,
        outputs,
        graph.name,
        graph.doc_string,
        graph.opset,
        list(graph.import_domains) if graph.import_domains is not None else None,
        graph.__dict__.get("producer_name"),
        graph.__dict__.get("producer_version"),
        [function.copy() for function in graph.functions],
        graph.ir_version,
    )
    other.name_idx = graph.name_idx
    share(graph, other)
    return other


def _node(node: gs.Node, done: dict[int, gs.Tensor]) -> gs.Node:
    other = gs.Node(
        node.op,
        node.name,
        {k: _attribute(v, done) for k, v in node.attrs.items()},
        [_tensor(t, done) for t in node.inputs],
        [_tensor(t, done) for t in node.outputs],
        node.domain,
    )
    share(node, other)
    return other


def _attribute(value: object, done: dict[int, gs.Tensor]) -> object:
    if isinstance(value, gs.Graph):
        return _copy(value, done)
    if isinstance(value, gs.Constant):
        return _tensor(value, done)
    return list(value) if isinstance(value, list) else value


def _tensor(tensor: gs.Tensor, done: dict[int, gs.Tensor]) -> gs.Tensor:
    other = done.get(id(tensor))
    if other is None:
        other = done[id(tensor)] = _fresh(tensor)
        share(tensor, other)
    return other


def _fresh(tensor: gs.Tensor) -> gs.Tensor:
    if isinstance(tensor, gs.Constant):
        lazy = isinstance(tensor._values, LazyValues) and not isinstance(tensor._values, SparseValues)
        # Loaded once for all copies rather than once in each.
        values = tensor.values if lazy else tensor._values
        return gs.Constant(tensor.name, values, tensor.data_location, tensor._export_dtype)
    shape = tensor.shape
    return gs.Variable(tensor.name, tensor.dtype, list(shape) if shape is not None else None, tensor.type)
