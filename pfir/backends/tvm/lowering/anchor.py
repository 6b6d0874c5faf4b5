"""What heads a kernel, and what its operators have in common: shapes, optional inputs, borders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.form import Form, channels_last
from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE, QUANTIZE, quantization_of, type_of
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.tile_kinds import Tile
from pfir.target import SINGLE


@dataclass(frozen=True)
class Anchor:
    """A kernel's main computation.

    Args:
        family, attributes, operands: Its generator, and what that is handed.
        out: The result as the kernel has it.
        tile: Its schedule.
        bias: `[C]`, what each channel's results get added; None where they do not.
        multiplier: `[C]`, what they are multiplied by before that; None where they are not.
        result: The result as the model has it, where the kernel sees it in another shape.
    """

    family: str
    attributes: dict[str, Any]
    operands: list[Value]
    out: Form
    tile: Tile
    bias: np.ndarray | None = None
    multiplier: np.ndarray | None = None
    result: Form | None = None


Values = Callable[[gs.Tensor], Value]


def scalar(node: gs.Node) -> bool:
    """Whether data without any axis goes in or comes out: no kernel of ours has loops for that."""
    return not node.outputs[0].shape or not node.inputs[0].shape


def shape_of(tensor: gs.Tensor) -> tuple[int, ...]:
    """The sizes of a tensor, all of which are known here."""
    return tuple(int(size) for size in tensor.shape)


def array_of(tensor: gs.Tensor) -> np.ndarray | None:
    """The value of a constant, None of any other tensor."""
    return tensor.values if isinstance(tensor, gs.Constant) else None


def weights_of(tensor: gs.Tensor) -> np.ndarray | None:
    """The constant weights of a layer, None if they are none; zeros are all of the same sign, so that a library may
    leave them out. That of a folded BatchNormalization makes half of them negative."""
    array = array_of(tensor)
    return None if array is None else array + array.dtype.type(0)


def optional(node: gs.Node, index: int) -> gs.Tensor | None:
    """An input that may be left out, None where it is."""
    present = len(node.inputs) > index and not node.inputs[index].is_empty()
    return node.inputs[index] if present else None


def bias_of(node: gs.Node, index: int) -> Any:
    """The bias as an array, None without one or where it is zero, False where it is no constant."""
    tensor = optional(node, index)
    if tensor is None:
        return None
    array = array_of(tensor)
    if array is None:
        return False
    return array.reshape(-1) if array.any() else None


def as_image(program: Program, data: Value) -> Value:
    """The data in that order, floats of the program's type."""
    dtype = program.dtype if data.form.dtype == SINGLE else data.form.dtype
    return program.laid_out(data, replace(data.form, order=channels_last(data.form.shape).order, dtype=dtype))


def arguments_of(node: gs.Node) -> list[gs.Tensor]:
    """The inputs of an element-wise node that its expression takes."""
    first = node.op in ("Clip", "Dropout", QUANTIZE, DEQUANTIZE)
    return node.inputs[:1] if first else [t for t in node.inputs if not t.is_empty()]


def attributes_of(node: gs.Node) -> tuple[tuple[str, Any], ...]:
    """What the operator's expression needs; the bounds of a Clip as numbers whichever opset it is of."""
    quantization = quantization_of(node)
    if quantization is not None:
        made = (("dtype", type_of(node.outputs[0])),) if node.op == QUANTIZE else ()
        return (*made, ("scale", quantization.scale), ("zero_point", quantization.zero_point))
    attributes = {k: v for k, v in node.attrs.items() if isinstance(v, int | float | str)}
    if node.op == "Clip":
        for name, tensor in zip(("min", "max"), node.inputs[1:], strict=False):
            if not tensor.is_empty():
                attributes[name] = float(array_of(tensor).reshape(-1)[0])
    return tuple(sorted(attributes.items()))
