"""From ONNX's protobuf form to a GraphSurgeon graph on which nothing is lost."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto

from pfir.ir.module_paths import name_by_modules
from pfir.ir.onnx_io.metadata import keep
from pfir.ir.onnx_io.tensors import SparseInitializer, numpy_dtype, symbol, to_array

Read = Callable[[TensorProto], np.ndarray]
_NODE_FIELDS = ("input", "output", "name", "op_type", "domain")
_PLAIN = {AttributeProto.FLOAT: "f", AttributeProto.INT: "i"}
_LISTS = {AttributeProto.FLOATS: "floats", AttributeProto.INTS: "ints", AttributeProto.STRINGS: "strings"}


def read_graph(proto: onnx.ModelProto, read: Read = to_array) -> gs.Graph:
    """The main graph of a model; its local functions are left to the caller.

    Args:
        proto: Well-formed; it is not changed.
        read: Gives the values of a tensor, for those whose data lies outside the file.
    """
    opsets = list(onnx.ModelProto(opset_import=proto.opset_import).opset_import)
    standard = next((o.version for o in opsets if o.domain in ("", "ai.onnx")), None)
    graph = _Reader(read, standard, opsets).graph(proto.graph, ChainMap())
    _name_nodes(graph)
    name_by_modules(graph)
    graph.producer_name, graph.producer_version = proto.producer_name, proto.producer_version
    graph.ir_version = min(proto.ir_version, 10)
    return graph


@dataclass(frozen=True)
class _Reader:
    read: Read
    opset: int | None
    opsets: list[onnx.OperatorSetIdProto]

    def graph(self, proto: GraphProto, outer: ChainMap[str, gs.Tensor]) -> gs.Graph:
        scope = outer.new_child()
        self._initializers(proto, scope)
        constants = set(scope.maps[0])
        inputs = [_variable(v, scope) for v in proto.input if v.name not in constants]
        outputs = [_variable(v, scope) for v in proto.output]
        _hints(proto, scope)
        nodes = [self._node(n, scope) for n in proto.node]
        graph = gs.Graph(
            nodes,
            inputs,
            outputs,
            name=proto.name,
            doc_string=proto.doc_string,
            opset=self.opset,
            import_domains=list(self.opsets),
        )
        keep(graph, _graph_shell(proto, constants))
        return graph

    def _initializers(self, proto: GraphProto, scope: ChainMap[str, gs.Tensor]) -> None:
        for tensor in proto.initializer:
            scope[tensor.name] = gs.Constant(tensor.name, self.read(tensor))
            keep(scope[tensor.name], _notes(tensor, TensorProto()))
        for sparse in proto.sparse_initializer:
            scope[sparse.values.name] = gs.Constant(sparse.values.name, SparseInitializer(sparse))

    def _node(self, proto: NodeProto, scope: ChainMap[str, gs.Tensor]) -> gs.Node:
        node = gs.Node(
            proto.op_type,
            proto.name,
            {a.name: self._attribute(a, scope) for a in proto.attribute},
            inputs=[_used(name, scope) for name in proto.input],
            outputs=[_made(name, scope) for name in proto.output],
            domain=proto.domain or None,
        )
        keep(node, _node_shell(proto))
        return node

    def _attribute(self, proto: AttributeProto, scope: ChainMap[str, gs.Tensor]) -> Any:
        """GraphSurgeon's form of the value; the message itself for the kinds it has no form for."""
        if proto.ref_attr_name:
            return proto
        if proto.type in _PLAIN:
            return getattr(proto, _PLAIN[proto.type])
        if proto.type in _LISTS:
            return [_text(v) for v in getattr(proto, _LISTS[proto.type])]
        if proto.type == AttributeProto.STRING:
            return _text(proto.s)
        if proto.type == AttributeProto.TENSOR:
            return gs.Constant(proto.t.name, self.read(proto.t))
        return self.graph(proto.g, scope) if proto.type == AttributeProto.GRAPH else proto


def _text(value: Any) -> Any:
    """Bytes as text where they are text."""
    try:
        return value.decode() if isinstance(value, bytes) else value
    except UnicodeDecodeError:
        return value


def _variable(proto: ValueInfoProto, scope: ChainMap[str, gs.Tensor]) -> gs.Tensor:
    known = scope.maps[0].get(proto.name)
    if known is not None:
        return known
    variable = gs.Variable(proto.name)
    _describe(variable, proto)
    scope[proto.name] = variable
    return variable


def _describe(variable: gs.Variable, proto: ValueInfoProto) -> None:
    metadata = _notes(proto, ValueInfoProto())
    kind = proto.type.WhichOneof("value")
    if kind == "tensor_type":
        _describe_tensor(variable, proto.type.tensor_type)
        dims = proto.type.tensor_type.shape.dim
        if proto.type.denotation or any(d.denotation or (d.dim_param and not symbol(d.dim_param)) for d in dims):
            metadata.type.CopyFrom(proto.type)
    elif kind:
        variable.type = kind
        metadata.type.CopyFrom(proto.type)
    keep(variable, metadata)


def _describe_tensor(variable: gs.Variable, proto: onnx.TypeProto.Tensor) -> None:
    if proto.elem_type:
        variable.dtype = numpy_dtype(proto.elem_type)
    if proto.HasField("shape"):
        variable.shape = [_size(d) for d in proto.shape.dim]


def _size(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """A size of a shape; -1, which some exporters write, counts as unknown, as ONNX Runtime takes it."""
    if dim.HasField("dim_value"):
        return dim.dim_value if dim.dim_value >= 0 else None
    return symbol(dim.dim_param)


def _hints(proto: GraphProto, scope: ChainMap[str, gs.Tensor]) -> None:
    """Note types and shapes of inner tensors; those of tensors that this graph does not make say nothing new."""
    made = {name for node in proto.node for name in node.output}
    for value in proto.value_info:
        known = scope.maps[0].get(value.name)
        if known is None and value.name in made:
            _variable(value, scope)
        elif isinstance(known, gs.Variable) and known.dtype is None and known.shape is None:
            _describe(known, value)


def _used(name: str, scope: ChainMap[str, gs.Tensor]) -> gs.Tensor:
    if not name:
        return gs.Variable.empty()
    if name not in scope:
        scope[name] = gs.Variable(name)
    return scope[name]


def _made(name: str, scope: ChainMap[str, gs.Tensor]) -> gs.Tensor:
    """The tensor that a node writes: this graph's own, whatever an outer graph calls by that name."""
    if not name:
        return gs.Variable.empty()
    return scope.maps[0].setdefault(name, gs.Variable(name))


def _name_nodes(graph: gs.Graph) -> None:
    """Give every node a name of its own: operator and place for those that had none, or had that of another one.

    Names differ across bodies too: GraphSurgeon takes two nodes of equal names and edges for one.
    """
    graphs = [graph]
    for each in graphs:
        graphs.extend(v for n in each.nodes for v in n.attrs.values() if isinstance(v, gs.Graph))
    taken = {node.name for each in graphs for node in each.nodes}
    seen: set[str] = {""}
    for each in graphs:
        for place, node in enumerate(each.nodes):
            if node.name in seen:
                node.name = _free(f"{node.name or node.op}_{place}", taken)
            seen.add(node.name)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _notes(proto: Any, metadata: Any) -> Any:
    """The doc string and metadata of a message, in an empty message of its kind."""
    if proto.doc_string:
        metadata.doc_string = proto.doc_string
    metadata.metadata_props.extend(proto.metadata_props)
    return metadata


def _node_shell(proto: NodeProto) -> NodeProto:
    """All that a gs.Node has no field for, and the types of empty lists, which no value shows."""
    metadata = NodeProto()
    for field, value in proto.ListFields():
        if field.name not in (*_NODE_FIELDS, "attribute"):
            _copy_field(metadata, field.name, value)
    for attribute in proto.attribute:
        if attribute.doc_string or (attribute.type in _LISTS and not getattr(attribute, _LISTS[attribute.type])):
            metadata.attribute.add(name=attribute.name, type=attribute.type, doc_string=attribute.doc_string)
    return metadata


def _copy_field(metadata: Any, name: str, value: Any) -> None:
    if isinstance(value, str | bytes | int | float):
        setattr(metadata, name, value)
    elif hasattr(value, "CopyFrom"):
        getattr(metadata, name).CopyFrom(value)
    else:
        getattr(metadata, name).extend(value)


def _graph_shell(proto: GraphProto, constants: Mapping[str, gs.Tensor] | set[str]) -> GraphProto:
    """Metadata, quantization notes, and the order of the inputs where some are initializers too."""
    metadata = GraphProto()
    metadata.metadata_props.extend(proto.metadata_props)
    metadata.quantization_annotation.extend(proto.quantization_annotation)
    if any(v.name in constants for v in proto.input):
        metadata.input.extend(proto.input)
    return metadata
