"""What onnx itself finds wrong with a model, in one line each."""

from __future__ import annotations

import re

import onnx
from onnx import GraphProto, ModelProto

from pfir.ir.checking.inference_growth import is_bounded
from pfir.ir.onnx_io import walk
from pfir.names import visible

ENDLESS = "they grow beyond all bounds"
_LONGEST = 300


def form_fault(light: ModelProto) -> str | None:
    """What onnx.checker says against a weightless model; None if it says nothing."""
    try:
        onnx.checker.check_model(light)
    except (onnx.checker.ValidationError, ValueError, RuntimeError) as error:
        return one_line(str(error))
    return None


def infer(light: ModelProto) -> tuple[ModelProto | None, str | None]:
    """The weightless model with all shapes inferred strictly, or a sentence on what contradicts what."""
    options = {"check_type": True, "strict_mode": True}
    if not is_bounded(light, **options):
        return None, ENDLESS
    try:
        return onnx.shape_inference.infer_shapes(light, **options), None
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


def one_line(text: str) -> str:
    """The essence of a message of onnx: no line ends, no control characters, at most 300 characters."""
    text = re.sub(r"\s+", " ", text).strip()
    text = text.removeprefix("[ShapeInferenceError] Inference error(s): ")
    text = visible(text)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
