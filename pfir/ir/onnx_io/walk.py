"""Every graph, node and tensor of an ONNX model message, bodies and local functions included, without recursion."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto

Body = GraphProto | FunctionProto


def bodies(node: NodeProto) -> Iterator[GraphProto]:
    """The graphs that a node holds directly."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs(model: ModelProto) -> Iterator[Body]:
    """The main graph first, then every graph nested in it, then the local functions with theirs."""
    waiting: list[Body] = [*model.functions, model.graph]
    while waiting:
        body = waiting.pop()
        yield body
        waiting.extend(inner for node in body.node for inner in bodies(node))


def nodes_within(body: Body) -> Iterator[NodeProto]:
    """The nodes of a graph and of every graph nested in it."""
    waiting: list[Body] = [body]
    while waiting:
        for node in waiting.pop().node:
            yield node
            waiting.extend(bodies(node))


def tensors(model: ModelProto) -> Iterator[TensorProto | SparseTensorProto]:
    """Every stored tensor: initializers, sparse ones, and those in attributes."""
    yield from model.graph.initializer
    yield from inner_tensors(model)


def inner_tensors(model: ModelProto) -> Iterator[TensorProto | SparseTensorProto]:
    """Every stored tensor but the initializers of the main graph."""
    for place, body in enumerate(graphs(model)):
        if isinstance(body, GraphProto):
            yield from body.initializer if place else ()
            yield from body.sparse_initializer
        for node in body.node:
            yield from attribute_tensors(node.attribute)
    for function in model.functions:
        yield from attribute_tensors(function.attribute_proto)


def attribute_tensors(attributes: list[AttributeProto]) -> Iterator[TensorProto | SparseTensorProto]:
    """The tensors that attributes hold directly."""
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        if attribute.HasField("sparse_tensor"):
            yield attribute.sparse_tensor
        yield from attribute.tensors
        yield from attribute.sparse_tensors
