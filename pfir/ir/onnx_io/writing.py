"""From a GraphSurgeon graph, with its metadata, to ONNX's protobuf form."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto
from onnx_graphsurgeon.ir.tensor import LazyValues, SparseValues

from pfir.ir.onnx_io.metadata import metadata_of
from pfir.ir.onnx_io.tensors import element_type, fill_proto, symbol

Fill = Callable[[TensorProto, np.ndarray], None]
_Path = tuple[int, ...]


def write_graph(graph: gs.Graph, proto: GraphProto, ir_version: int, fill: Fill = fill_proto) -> None:
    """Fill an empty graph message.

    Args:
        graph: Main graph of a model.
        proto: Where it goes.
        ir_version: Below 4 every initializer must be an input as well.
        fill: Writes the values of one tensor; another one may put them outside the file.
    """
    owners = _owners(graph)
    if ir_version < 4:  # Where an initializer must be an input as well, bodies can have none.
        owners = dict.fromkeys(owners, ())
    _Writer(graph.opset, fill, ir_version, owners).graph(graph, proto, ())


def opset_imports(graph: gs.Graph) -> list[onnx.OperatorSetIdProto]:
    """The operator sets of a graph as it is now: its own opset, the others it came with, version 1 of any new one."""
    imports = {o.domain: o for o in graph.import_domains or ()}
    standard = next((d for d in imports if d in ("", "ai.onnx")), "")
    if graph.opset is not None and (standard not in imports or imports[standard].version != graph.opset):
        imports[standard] = onnx.helper.make_opsetid(standard, graph.opset)
    for each, _ in _graphs(graph):
        for node in each.nodes:
            if node.domain and node.domain != "ai.onnx" and node.domain not in imports:
                imports[node.domain] = onnx.helper.make_opsetid(node.domain, 1)
    return list(imports.values())


def _graphs(graph: gs.Graph) -> Iterator[tuple[gs.Graph, _Path]]:
    """A graph and every body nested in it, each with its path of places."""
    waiting: list[tuple[gs.Graph, _Path]] = [(graph, ())]
    while waiting:
        each, path = waiting.pop()
        yield each, path
        bodies = (v for n in each.nodes for v in n.attrs.values() if isinstance(v, gs.Graph))
        waiting.extend((body, (*path, place)) for place, body in enumerate(bodies))


def _owners(graph: gs.Graph) -> dict[int, _Path]:
    """The innermost graph around all uses of each constant: there it is written, once."""
    owners: dict[int, _Path] = {}
    for each, path in _graphs(graph):
        for tensor in _constants(each):
            known = owners.get(id(tensor))
            owners[id(tensor)] = path if known is None else _common(known, path)
    metadata = metadata_of(graph)
    for name in (v.name for v in metadata.input) if metadata is not None else ():
        owners.update((i, ()) for i in _named(graph, name))
    return owners


def _named(graph: gs.Graph, name: str) -> list[int]:
    """The constants of this name in any body: an initializer that is an input too stays in the main graph."""
    return [id(t) for each, _ in _graphs(graph) for t in _constants(each) if t.name == name]


def _constants(graph: gs.Graph) -> Iterator[gs.Constant]:
    for node in graph.nodes:
        yield from (t for t in node.inputs if isinstance(t, gs.Constant))
    yield from (t for t in graph.outputs if isinstance(t, gs.Constant))


def _common(left: _Path, right: _Path) -> _Path:
    size = 0
    while size < min(len(left), len(right)) and left[size] == right[size]:
        size += 1
    return left[:size]


@dataclass(frozen=True)
class _Writer:
    opset: int | None
    fill: Fill
    ir_version: int
    owners: dict[int, _Path]
    written: set[int] = field(default_factory=set)

    def graph(self, graph: gs.Graph, proto: GraphProto, path: _Path) -> None:
        metadata = metadata_of(graph)
        proto.name = graph.name or "graph"
        if graph.doc_string:
            proto.doc_string = graph.doc_string
        self._initializers(graph, proto, path)
        bodies = 0
        for node in graph.nodes:
            bodies = self._node(node, proto.node.add(), path, bodies)
        _interface(graph, proto, metadata, self.ir_version < 4 and not path)
        _hints(graph, proto)
        if metadata is not None:
            _notes(graph, proto, metadata)

    def _initializers(self, graph: gs.Graph, proto: GraphProto, path: _Path) -> None:
        reach = (each for each, _ in _graphs(graph)) if path in self._shared() else (graph,)
        for each in reach:
            for tensor in _constants(each):
                if id(tensor) not in self.written and self.owners[id(tensor)] == path:
                    self.written.add(id(tensor))
                    self._initializer(tensor, proto)

    def _shared(self) -> set[_Path]:
        """The paths that own a constant at all: only there are the nested bodies searched."""
        return set(self.owners.values())

    def _initializer(self, tensor: gs.Constant, proto: GraphProto) -> None:
        if isinstance(tensor._values, SparseValues):
            sparse = proto.sparse_initializer.add()
            sparse.CopyFrom(tensor._values.tensor)
            sparse.values.name = tensor.name
        else:
            self._tensor(tensor, proto.initializer.add())

    def _tensor(self, tensor: gs.Constant, proto: TensorProto) -> None:
        if isinstance(tensor._values, LazyValues):
            proto.CopyFrom(tensor._values.tensor)
        else:
            self.fill(proto, tensor._values)
        if (metadata := metadata_of(tensor)) is not None and isinstance(metadata, TensorProto):
            proto.MergeFrom(metadata)
        if tensor.name:
            proto.name = tensor.name

    def _node(self, node: gs.Node, proto: NodeProto, path: _Path, bodies: int) -> int:
        """Write a node; returns the number of bodies of this graph written so far."""
        metadata = metadata_of(node)
        hints = _hints_of(metadata, proto)
        proto.op_type, proto.name = node.op, proto.name or node.name or ""
        if node.domain:
            proto.domain = node.domain
        proto.input.extend(t.name for t in node.inputs)
        proto.output.extend(t.name for t in node.outputs)
        kinds = _schema_kinds(node.op, node.domain or "", self.opset)
        for name, value in node.attrs.items():
            attribute = proto.attribute.add()
            hint = hints.get(name)
            if isinstance(value, gs.Graph):
                attribute.type = AttributeProto.GRAPH
                self.graph(value, attribute.g, (*path, bodies))
                bodies += 1
            elif isinstance(value, gs.Tensor):
                attribute.type = AttributeProto.TENSOR
                self._tensor(value, attribute.t)
            else:
                _attribute(attribute, node, name, value, kinds.get(name) or (hint.type if hint is not None else None))
            attribute.name = name
            if hint is not None and hint.doc_string:
                attribute.doc_string = hint.doc_string
        return bodies


def _hints_of(metadata: NodeProto | None, proto: NodeProto) -> dict[str, AttributeProto]:
    if metadata is None:
        return {}
    proto.CopyFrom(metadata)
    del proto.attribute[:]
    return {a.name: a for a in metadata.attribute}


@cache
def _schema_kinds(op: str, domain: str, opset: int | None) -> dict[str, int]:
    """The attribute types that the operator's schema declares; empty for operators that onnx has none for."""
    domain = "" if domain == "ai.onnx" else domain
    known = onnx.defs.onnx_opset_version()
    try:
        schema = onnx.defs.get_schema(op, opset or known if not domain else known, domain)
    except onnx.defs.SchemaError:
        return {}
    return {name: int(a.type.value) for name, a in schema.attributes.items()}


def _attribute(proto: AttributeProto, node: gs.Node, name: str, value: Any, kind: int | None) -> None:
    """Write a plain value as the declared type: a whole number stands for a float, an array for its list."""
    if isinstance(value, AttributeProto):
        proto.CopyFrom(value)
        return
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (type, np.dtype)):
        value = element_type(value)
    if kind == AttributeProto.FLOAT:
        proto.type, proto.f = kind, float(value)
    elif kind == AttributeProto.FLOATS:
        proto.type = kind
        proto.floats.extend(float(v) for v in value)
    elif isinstance(value, (list, tuple)) and not value:
        proto.type = kind or AttributeProto.INTS
    else:
        proto.CopyFrom(onnx.helper.make_attribute(name, _plain(value)))


def _plain(value: Any) -> Any:
    """Python's own number for one of NumPy's."""
    if isinstance(value, np.generic):
        return value.item()
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _interface(graph: gs.Graph, proto: GraphProto, metadata: GraphProto | None, all_inputs: bool) -> None:
    doubled = list(metadata.input) if metadata is not None else []
    constants = {t.name: t for t in _constants_by_name(graph, proto)} if doubled or all_inputs else {}
    inputs = list(graph.inputs)
    for place, value in enumerate(doubled):
        if value.name in constants and not any(t.name == value.name for t in inputs):
            inputs.insert(place, constants.pop(value.name))
    if all_inputs:
        named = {t.name for t in inputs}
        inputs.extend(t for name, t in constants.items() if name not in named)
    for tensor in inputs:
        _value(tensor, proto.input.add())
    for tensor in graph.outputs:
        _value(tensor, proto.output.add())


def _constants_by_name(graph: gs.Graph, proto: GraphProto) -> list[gs.Constant]:
    written = {t.name for t in proto.initializer} | {s.values.name for s in proto.sparse_initializer}
    return [t for each, _ in _graphs(graph) for t in _constants(each) if t.name in written]


def _hints(graph: gs.Graph, proto: GraphProto) -> None:
    """Write types and shapes of the inner tensors that this graph makes."""
    border = {t.name for t in graph.inputs} | {t.name for t in graph.outputs}
    for node in graph.nodes:
        for tensor in node.outputs:
            if tensor.name and tensor.name not in border and _known(tensor):
                _value(tensor, proto.value_info.add())


def _known(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Variable) and (
        tensor.dtype is not None or tensor.shape is not None or metadata_of(tensor) is not None
    )


def _value(tensor: gs.Tensor, proto: ValueInfoProto) -> None:
    metadata = metadata_of(tensor)
    if isinstance(metadata, ValueInfoProto):
        proto.CopyFrom(metadata)
    proto.name = tensor.name
    if isinstance(tensor, gs.Variable) and (tensor.type or "tensor_type") != "tensor_type":
        _plain_container(tensor, proto)
    elif tensor.dtype is not None or tensor.shape is not None:
        _tensor_type(tensor, proto)


def _plain_container(tensor: gs.Variable, proto: ValueInfoProto) -> None:
    """A sequence that was built with GraphSurgeon rather than read: no metadata say of which type it is."""
    if proto.type.WhichOneof("value") is None and tensor.type == "sequence_type" and tensor.dtype is not None:
        inner = onnx.helper.make_tensor_type_proto(element_type(tensor.dtype), tensor.shape)
        proto.type.CopyFrom(onnx.helper.make_sequence_type_proto(inner))


def _tensor_type(tensor: gs.Tensor, proto: ValueInfoProto) -> None:
    came = [(d.denotation, d.dim_param) for d in proto.type.tensor_type.shape.dim]
    target = proto.type.tensor_type
    target.Clear()
    target.elem_type = element_type(tensor.dtype) if tensor.dtype is not None else 0
    if tensor.shape is None:
        return
    target.shape.SetInParent()
    for place, size in enumerate(tensor.shape):
        dim = target.shape.dim.add()
        if isinstance(size, str):
            dim.dim_param = size
        elif size is not None and size >= 0:
            dim.dim_value = int(size)
        if len(came) == len(tensor.shape):
            _as_it_came(dim, *came[place])


def _as_it_came(dim: onnx.TensorShapeProto.Dimension, meaning: str, word: str) -> None:
    """What a size means, and the exporter's word for one that it did not know."""
    if meaning:
        dim.denotation = meaning
    if word and symbol(word) is None and dim.WhichOneof("value") is None:
        dim.dim_param = word


def _notes(graph: gs.Graph, proto: GraphProto, metadata: GraphProto) -> None:
    """Metadata, and the quantization notes of tensors that are still there."""
    proto.metadata_props.extend(metadata.metadata_props)
    names = {t.name for n in graph.nodes for t in (*n.inputs, *n.outputs)}
    for note in metadata.quantization_annotation:
        if note.tensor_name in names:
            proto.quantization_annotation.append(note)
