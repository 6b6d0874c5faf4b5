"""A copy of an ONNX model whose fixed batch is free, where that can be tried."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import numpy_helper


def with_free_batch(data: bytes, batch: int) -> bytes | None:
    """The model with a symbolic leading size on every input that declares `batch`, and in literal Reshape shapes.

    It is a guess: whoever uses it must compare it with the model itself. None if the bytes do not parse or subgraphs
    could hold more literals.
    """
    model = onnx.ModelProto()
    model.ParseFromString(data)
    if any(attribute.HasField("g") for node in model.graph.node for attribute in node.attribute):
        return None
    _free_borders(model.graph, batch)
    _free_reshapes(model.graph, batch)
    return model.SerializeToString()


def _free_borders(graph: onnx.GraphProto, batch: int) -> None:
    constants = {c.name for c in graph.initializer}
    for value in graph.input:
        if value.name not in constants:
            _free_leading(value, batch)
    for value in graph.output:
        # An output's declared sizes are only a promise: without them ONNX Runtime takes what comes.
        value.type.tensor_type.ClearField("shape")
    del graph.value_info[:]


def _free_leading(value: onnx.ValueInfoProto, batch: int) -> None:
    sizes = value.type.tensor_type.shape.dim
    if sizes and (sizes[0].dim_value in (batch, 0)):
        sizes[0].dim_param = "batch"


def _free_reshapes(graph: onnx.GraphProto, batch: int) -> None:
    """Reshape to (b, ..) with a literal b copies its input's leading size, or infers it if nothing else is inferred."""
    shapes = _literals(graph)
    for index, node in enumerate(graph.node):
        shape = shapes.get(node.input[1]) if node.op_type == "Reshape" and len(node.input) > 1 else None
        if shape is None or shape.ndim != 1 or not shape.size or shape[0] != batch:
            continue
        free = shape.copy()
        free[0] = 0 if -1 in shape[1:] else -1
        name = f"pfir_free_shape_{index}"
        graph.initializer.append(numpy_helper.from_array(free, name))
        node.input[1] = name


def _literals(graph: onnx.GraphProto) -> dict[str, np.ndarray]:
    found = {t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.INT64 and len(t.dims) == 1}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = node.attribute[0].t
    return {name: numpy_helper.to_array(tensor) for name, tensor in found.items() if len(tensor.dims) == 1}
