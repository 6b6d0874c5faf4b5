"""Layers whose sums are sums of integers: what their kernels are handed.

y[o] = multiplier[o] * (sum of weight[o, ..] * (data[..] - zero_point) + bias[o]) + addend[o]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import array_of, optional
from pfir.backends.tvm.lowering.form import Form, KernelSpec, Quantization, Step, channels_last, plain
from pfir.backends.tvm.lowering.quantized.constants import QuantizedConstant
from pfir.backends.tvm.lowering.quantized.moves import as_floats, as_integers
from pfir.backends.tvm.lowering.quantized.nodes import EIGHT_BITS, QUANTIZE
from pfir.backends.tvm.lowering.quantized.storage import stored_type
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.tiles import plain_tile

_WHOLE = 1e-3  # how far from whole steps a bias may be that is taken for such
_LIMITS = np.iinfo(np.int32)
_LINE, _IMAGE = 3, 4  # axes


@dataclass(frozen=True)
class IntegerLayer:
    """A convolution or product of integers, in the shape of a convolution.

    Args:
        data: Integers of the type that the target stores, `[N, I, H, W]`; of a product `[1, I, 1, rows]`.
        zero_point: The integer that stands for zero in them.
        weight: `[O, I / groups, KH, KW]` int8, zero for zero.
        bias: `[O]` int32; None without one, or where it is no whole number of steps.
        multiplier: `[O]`, what a step of the sums stands for.
        addend: `[O]`, a bias that is no whole number of steps; None without one.
    """

    data: Value
    zero_point: int
    weight: np.ndarray
    multiplier: np.ndarray
    bias: np.ndarray | None = None
    addend: np.ndarray | None = None


def integer_layer(program: Program, node: gs.Node, data: Value) -> IntegerLayer | None:
    """A Conv, Gemm or MatMul as such a layer; None where its data or weights are no integers of eight bits, or where
    zero is none in the weights."""
    weight = _weight(program, node)
    if weight is None or data.form.quantization is None or data.form.dtype not in EIGHT_BITS:
        return None
    data = _as_image(program, stored(program, data), of_rows=node.op != "Conv")
    if data is None:
        return None
    integers, scale = weight
    multiplier = scale * data.form.quantization.scale * float(node.attrs.get("alpha", 1.0))
    bias = _bias(node, multiplier)
    if bias is None:
        return None
    point = data.form.quantization.zero_point
    return IntegerLayer(as_integers(data), point, integers, multiplier, *bias)


def stored(program: Program, value: Value) -> Value:
    """The same numbers by integers of the type that the target stores, in a copy where they are others."""
    form, dtype, meaning = value.form, stored_type(program.target), value.form.quantization
    if form.dtype == dtype:
        return value
    point = meaning.zero_point + np.iinfo(dtype).min - np.iinfo(form.dtype).min
    counted = as_floats(value, Quantization(1.0, meaning.zero_point))
    step = Step(QUANTIZE, (("dtype", dtype), ("scale", 1.0), ("zero_point", point)), (("main", 0),))
    result = replace(form, dtype=dtype, quantization=None)
    spec = KernelSpec("affine", (("kind", "copy"),), (counted.form,), 1, (step,), result)
    return as_floats(program.call(spec, plain_tile(program.target), [counted]), Quantization(meaning.scale, point))


def image_form(form: Form, out: tuple[int, ...], of_rows: bool) -> Form | None:
    """How a kernel that sees a result as an image sees what broadcasts to it, which lies as the result does where it is
    as large; None where it cannot be seen so.

    Args:
        out: The result's own shape: `[N, O, L]`, or `[.., O]` of rows.
        of_rows: Whether its channels come last, in any number of rows.
    """
    if not of_rows and len(out) == _IMAGE:
        return form
    shape = (1,) * (len(out) - len(form.shape)) + form.shape
    if not of_rows:
        batch, channels, length = shape
        order = (0, 2, 3, 1) if shape == out else (0, 1, 2, 3)
        return replace(form, shape=(batch, channels, 1, length), order=order)
    *outer, channels = shape
    if prod(outer) != 1 and tuple(outer) != out[:-1]:
        return None
    return replace(form, shape=(1, channels, 1, prod(outer)), order=(0, 2, 3, 1))


def _as_image(program: Program, data: Value, of_rows: bool) -> Value | None:
    """The data as `[N, I, H, W]`: rows of it side by side, or a line as the only row."""
    shape = data.form.shape
    if not of_rows and len(shape) not in (_LINE, _IMAGE):
        return None
    if not of_rows and len(shape) == _IMAGE:
        return data
    order = plain(shape).order if of_rows else channels_last(shape).order
    data = program.laid_out(data, replace(data.form, order=order))
    return program.view(data, image_form(data.form, shape, of_rows))


def _weight(program: Program, node: gs.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """The weights as `[O, I / groups, KH, KW]` int8, and what a step of them stands for, `[O]`."""
    constant = program.constants.get(node.inputs[1].name) if node.op in _LAYERS else None
    if constant is None or node.attrs.get("transA", 0):
        return None
    if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
        constant = constant.turned([1, 0]) if constant.integers.ndim == len("IO") else None
    integers = None if constant is None else _symmetric(constant)
    if integers is None or (constant.scale.size > 1 and constant.axis != 0):
        return None
    outputs, inputs, *kernel = integers.shape
    rows = (1,) * (2 - len(kernel))
    return integers.reshape(outputs, inputs, *rows, *kernel), np.broadcast_to(constant.scale.astype(float), (outputs,))


def _symmetric(constant: QuantizedConstant) -> np.ndarray | None:
    """The integers less their zero point, where int8 holds those."""
    points = constant.zero_point
    if points.size > 1:
        points = points.reshape([-1 if axis == constant.axis else 1 for axis in range(constant.integers.ndim)])
    whole = constant.integers.astype(np.int64) - points
    return whole.astype(np.int8) if whole.min() >= -128 and whole.max() <= 127 else None


def _bias(node: gs.Node, step: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None] | None:
    """The bias in steps, or else as it is; None where it is no constant of one number a channel."""
    tensor = optional(node, 2)
    if tensor is None or (array_of(tensor) is not None and not array_of(tensor).any()):
        return None, None
    values = array_of(tensor)
    if values is None or values.size not in (1, step.size):
        return None
    values = np.broadcast_to(values.reshape(-1) * float(node.attrs.get("beta", 1.0)), step.shape)
    steps = values / step
    whole = np.rint(steps)
    if np.abs(steps - whole).max() > _WHOLE or np.abs(whole).max() > _LIMITS.max:
        return None, values
    return whole.astype(np.int32), None


_LAYERS = ("Conv", "Gemm", "MatMul")
