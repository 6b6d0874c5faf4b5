"""A model as compact text, one line a node, for reading and for golden tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from onnx import AttributeProto

from pfir.ir.model import Model
from pfir.ir.onnx_io.tensors import numpy_dtype
from pfir.names import printable

__all__ = ["print_model", "printable"]

_SHOWN_VALUES = 8


def print_model(model: Model) -> str:
    """The text of a whole model: a line of its name and opset, one for its provenance, then graph by graph."""
    head = f"model {printable(model.name)} opset={model.graph.opset} ir={model.ir_version}"
    passes = [f"passes {printable(', '.join(model.provenance))}"] if model.provenance else []
    return "\n".join([head, *passes, *_graph_lines(model.graph, "graph", "")]) + "\n"


def _graph_lines(graph: gs.Graph, title: str, indent: str) -> Iterator[str]:
    inputs, outputs = (", ".join(_typed(t) for t in ts) for ts in (graph.inputs, graph.outputs))
    yield f"{indent}{title}({inputs}) -> ({outputs})"
    for node in graph.nodes:
        yield from _node_lines(node, indent + "  ")


def _node_lines(node: gs.Node, indent: str) -> Iterator[str]:
    results = ", ".join(_typed(t) for t in node.outputs)
    operator = f"{node.domain}.{node.op}" if node.domain else node.op
    attributes = [f"{printable(k)}={_value(v)}" for k, v in node.attrs.items() if not isinstance(v, gs.Graph)]
    arguments = ", ".join([*(_argument(t) for t in node.inputs), *attributes])
    yield f"{indent}{results} = {printable(operator)}({arguments})  # {printable(node.name)}"
    for name, body in node.attrs.items():
        if isinstance(body, gs.Graph):
            yield from _graph_lines(body, printable(name), indent + "  ")


def _typed(tensor: gs.Tensor) -> str:
    name = printable(tensor.name) or "_"
    kind = getattr(tensor, "type", None) or "tensor_type"
    if kind != "tensor_type":
        return f"{name}: {kind.removesuffix('_type')}"
    return f"{name}: {_dtype(tensor.dtype)}{_shape(tensor.shape)}"


def _argument(tensor: gs.Tensor) -> str:
    if not tensor.name:
        return "_"
    if isinstance(tensor, gs.Constant):
        return f"{printable(tensor.name)}={_array(tensor)}"
    return printable(tensor.name)


def _array(tensor: gs.Constant) -> str:
    """The type and shape of an array; its values as well where whole numbers steer the operator (axes, sizes)."""
    text = f"{_dtype(tensor.dtype)}{_shape(tensor.shape)}"
    small = isinstance(tensor._values, np.ndarray) and tensor._values.size <= _SHOWN_VALUES
    if small and tensor._values.dtype.kind in "iub":
        return f"{text}{{{', '.join(str(v) for v in tensor._values.ravel().tolist())}}}"
    return text


def _dtype(dtype: object) -> str:
    if dtype is None:
        return "?"
    return np.dtype(numpy_dtype(dtype) if isinstance(dtype, int) else dtype).name


def _shape(shape: Sequence[int | str | None] | None) -> str:
    if shape is None:
        return "[*]"
    return f"[{','.join('?' if s is None else printable(str(s)) for s in shape)}]"


def _value(value: object) -> str:
    if isinstance(value, gs.Constant):
        return _array(value)
    if isinstance(value, AttributeProto):
        return f"<{AttributeProto.AttributeType.Name(value.type).lower()}>"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{','.join(_value(v) for v in value)}]"
    return printable(repr(value)) if isinstance(value, (str, bytes)) else str(value)
