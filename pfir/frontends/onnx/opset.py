"""Opsets: 7 to 21 stay as they are, others are converted to the nearest of these."""

from __future__ import annotations

import onnx
from onnx import ModelProto, version_converter

from pfir.errors import FrontendError
from pfir.frontends.onnx.external_data import ExternalData
from pfir.ir.checking.onnx_checks import one_line
from pfir.ir.onnx_io import walk

_REFUSALS = (
    RuntimeError,
    ValueError,
    version_converter.ConvertError,
    onnx.checker.ValidationError,
    onnx.shape_inference.InferenceError,
)
OLDEST = 7
NEWEST = 21


def convert_opset(model: ModelProto, outside: ExternalData) -> ModelProto:
    """The model in an opset between 7 and 21: itself where it has one, else a converted copy with all its values.

    Raises:
        FrontendError: onnx's version converter cannot convert it.
    """
    version = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), None)
    if version is None or OLDEST <= version <= NEWEST:
        return model
    wanted = min(max(version, OLDEST), NEWEST)
    if model.functions:
        raise FrontendError(f"opset {version} needs conversion to {wanted}, which onnx cannot do with local functions")
    outside.bring_in(walk.tensors(model))
    try:
        converted = version_converter.convert_version(model, wanted)
    except _REFUSALS as error:
        reason = one_line(str(error)).rpartition("failed: ")[2]
        raise FrontendError(f"onnx cannot convert opset {version} to {wanted}: {reason}") from error
    return _with_notes(model, converted)


def _with_notes(model: ModelProto, converted: ModelProto) -> ModelProto:
    """The converter's graph in the original's header: the converter drops metadata and adds value names."""
    result = ModelProto()
    result.CopyFrom(converted)
    for name in ("producer_name", "producer_version", "domain", "model_version", "doc_string"):
        if model.HasField(name):
            setattr(result, name, getattr(model, name))
    del result.metadata_props[:]
    result.metadata_props.extend(model.metadata_props)
    result.ir_version = model.ir_version
    return result
