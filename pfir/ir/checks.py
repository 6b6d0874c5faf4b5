"""What onnx itself finds wrong with a model, in one line each."""

from __future__ import annotations

import re

import onnx
from onnx import GraphProto, ModelProto, NodeProto

from pfir.ir import walk
from pfir.names import visible

_LONGEST = 300


def form_fault(light: ModelProto) -> str | None:
    """What onnx.checker says against a skeleton; None if nothing."""
    try:
        onnx.checker.check_model(light)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        return one_line(str(error))
    return None


def infer(light: ModelProto) -> tuple[ModelProto | None, str | None]:
    """Strict shape inference of a skeleton: the result, or what contradicts what."""
    try:
        return onnx.shape_inference.infer_shapes(light, check_type=True, strict_mode=True), None
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError) as error:
        return None, one_line(str(error))


def forget_shapes(light: ModelProto) -> ModelProto:
    """A copy that declares no shapes but those of the main graph's inputs."""
    other = ModelProto()
    other.CopyFrom(light)
    for body in walk.graphs(other):
        del body.value_info[:]
        for value in body.output if isinstance(body, GraphProto) else ():
            value.type.tensor_type.ClearField("shape") if value.type.HasField("tensor_type") else None
    return other


def channel_fault(inferred: ModelProto) -> str | None:
    """A convolution whose weight does not fit the channels of its input, which onnx's inference lets pass."""
    shapes = _shapes(inferred.graph)
    for node in inferred.graph.node:
        if node.op_type in ("Conv", "ConvTranspose") and not node.domain and len(node.input) > 1:
            fault = _conv_fault(node, shapes.get(node.input[0]), shapes.get(node.input[1]))
            if fault is not None:
                return fault
    return None


def _shapes(graph: GraphProto) -> dict[str, list[int | None]]:
    """The shapes of tensors by name, None for a size that is not known."""
    values = [v for v in (*graph.input, *graph.output, *graph.value_info) if v.type.tensor_type.HasField("shape")]
    shapes = {v.name: [d.dim_value or None for d in v.type.tensor_type.shape.dim] for v in values}
    return shapes | {t.name: list(t.dims) for t in graph.initializer}


def _conv_fault(node: NodeProto, data: list[int | None] | None, weight: list[int | None] | None) -> str | None:
    if not data or not weight or len(data) < 2 or len(weight) < 2:
        return None
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    # Conv has its weight as [M, C / group, *k], ConvTranspose as [C, M / group, *k].
    channels = weight[0] if node.op_type == "ConvTranspose" else (weight[1] or 0) * group
    if data[1] is None or not channels or data[1] == channels:
        return None
    return f"{node.op_type} {node.name!r} gets {data[1]} channels, but its weight {node.input[1]!r} is for {channels}"


def one_line(text: str) -> str:
    """The essence of a message of onnx: no line ends, no control characters, at most 300 characters."""
    text = re.sub(r"\s+", " ", text).strip()
    text = text.removeprefix("[ShapeInferenceError] Inference error(s): ")
    text = visible(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
