"""A newer opset for what an older one cannot say: scales per channel, integers of four bits."""

from __future__ import annotations

import onnx
from onnx import version_converter

from pfir.errors import FrontendError
from pfir.ir.checking.onnx_checks import one_line
from pfir.ir.edit import opset
from pfir.ir.model import Model

FIRST_WITH_CHANNELS = 13
"""The opset that brought scales per channel."""
FIRST_WITH_FOUR_BITS = 21
"""The opset that brought integers of four bits."""
FEW_BITS = 4
"""So many and fewer are stored in four."""


def lift_opset(model: Model, wanted: int) -> None:
    """Convert the model, in place, to this opset unless it has a newer one.

    Raises:
        FrontendError: onnx's version converter cannot do it.
    """
    if opset(model.graph) >= wanted:
        return
    proto = model.to_proto()
    try:
        converted = version_converter.convert_version(proto, wanted)
        other = Model.from_proto(converted, model.name)
    except (RuntimeError, ValueError, version_converter.ConvertError, onnx.shape_inference.InferenceError) as error:
        reason = one_line(str(error)).rpartition("failed: ")[2]
        raise FrontendError(f"onnx cannot convert opset {opset(model.graph)} to {wanted}: {reason}") from error
    model.graph = other.graph
    needed = onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", wanted)])
    model.ir_version = model.graph.ir_version = max(model.ir_version, needed)
