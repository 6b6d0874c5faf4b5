"""Layers whose sums are sums of integers: what their kernels are handed.

y[o] = multiplier[o] * (sum of weight[o, ..] * (data[..] - zero_point) + bias[o]) + addend[o]
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.integers.block_sparse import pack_units
from pfir.backends.tvm.kernels.integers.depthwise.packing import pack_depthwise
from pfir.backends.tvm.kernels.integers.depthwise.products import products_by
from pfir.backends.tvm.kernels.integers.packing import Border, joined, starts
from pfir.backends.tvm.kernels.integers.pairs.packing import packed_for
from pfir.backends.tvm.kernels.integers.winograd.packing import WHOLE, is_exact, tiled_starts, whole_points
from pfir.backends.tvm.kernels.winograd.packing import blocked
from pfir.backends.tvm.lowering.anchor import Anchor, Values, array_of, optional, shape_of
from pfir.backends.tvm.lowering.form import Form, KernelSpec, Quantization, Step, channels_last, plain
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.quantized.constants import QuantizedConstant
from pfir.backends.tvm.lowering.quantized.moves import as_floats, as_integers
from pfir.backends.tvm.lowering.quantized.nodes import EIGHT_BITS, QUANTIZE
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.integers.choice import IntegerPlan, adds_in_16_bits, integer_plans
from pfir.backends.tvm.schedule.integers.dot_blocks import stored as stored_type
from pfir.backends.tvm.schedule.integers.routing import convolved
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.integers.winograd import IntegerWinograd
from pfir.backends.tvm.schedule.routing import CONVOLUTION, DEPTHWISE, axes_of, is_product
from pfir.backends.tvm.schedule.tiles import plain_tile
from pfir.ir.costs.chains import WIDE, is_wide
from pfir.ir.costs.tails import tail_of
from pfir.ir.costs.zeros import zeros_of
from pfir.ir.operators.windows import each_of, pads_of
from pfir.target import INT8, Target
from pfir.workload import Workload

FAMILY, SKIPPING = "conv_int8", "block_sparse_int8"

_MOST = 127  # of weights, two of whose products 16 bits hold
# How far from whole steps a bias may be that is taken for such: absolutely, and as a share of itself, as its integers
# and scales went through float32.
_WHOLE, _ROUNDED = 1e-3, 2.0**-22
_MOST_BIAS = 2**30  # of int32 sums; the other half is left to products, of 32 thousand inputs at the most
_MOST_WEIGHT = 127  # of which two products with int8 fit in 16 bits
_LINE, _IMAGE = 3, 4  # axes
_AVX512_BYTES = 64  # of a vector


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
    bias = bias_in_steps(node, multiplier)
    if bias is None:
        return None
    point = data.form.quantization.zero_point
    return IntegerLayer(as_integers(data), point, integers, multiplier, *bias)


def integer_anchor(program: Program, group: Group, value: Values) -> Anchor | None:
    """What heads the kernel of a layer of integers; None where it is none, or where no kernel of ours sums them."""
    node = group.head
    layer = integer_layer(program, node, value(node.inputs[0])) if node.op in _LAYERS else None
    if layer is None:
        return None
    shape = shape_of(node.outputs[0])
    result = channels_last(shape) if node.op == "Conv" else plain(shape)
    work = _workload(group, layer, result)
    found = convolved(program.target, work)
    return summed(program, work, layer, result) if found and _line_up(group, result, channels_last(found.out)) else None


def summed(program: Program, work: Workload, layer: IntegerLayer, result: Form) -> Anchor | None:
    """What heads the kernel of this work; None where no kernel of ours sums its integers.

    Args:
        result: The result as the model has it.
    """
    workload = convolved(program.target, work)
    if workload is None or (layer.weight.min() < -_MOST and adds_in_16_bits(program.target)):
        return None
    data = program.laid_out(layer.data, replace(layer.data.form, order=workload.order))
    weight = joined(layer.weight, work.group, work.group // workload.group)
    layer = replace(layer, data=program.view(data, replace(data.form, shape=workload.data)), weight=weight)
    return (_depthwise if workload.family == DEPTHWISE else _anchor)(program, workload, layer, result)


def _workload(group: Group, layer: IntegerLayer, result: Form) -> Workload:
    """The work of a layer, its data as an image."""
    node, (batch, _, *sizes) = group.head, layer.data.form.shape
    kernel, outputs, axes = layer.weight.shape[2:], len(layer.weight), len(result.shape) - 2
    steps = {"strides": (1, 1), "dilations": (1, 1), "pads": (0, 0)}
    if node.op == "Conv":
        sizes, kept = list(result.shape[2:]), kernel[2 - axes :]
        found = {name: each_of(node, name, axes) for name in ("strides", "dilations")}
        found["pads"] = pads_of(node, shape_of(node.inputs[0])[2:], kept)[:axes]
        steps = {name: (steps[name][0],) * (2 - axes) + values for name, values in found.items()}
        sizes = [1] * (2 - axes) + sizes
    work = Workload(
        CONVOLUTION,
        layer.data.form.shape,
        (batch, outputs, *sizes),
        layer.data.form.order,
        kernel,
        **steps,
        group=int(node.attrs.get("group", 1)),
        after=tail_of(group.nodes).kind,
        dtype=INT8,
        kind=WIDE if is_wide(layer.weight.reshape(*layer.weight.shape[:2], -1)) else "",
    )
    zeros = zeros_of(layer.weight[:, :, 0, 0].T) if is_product(work) else None
    return work if zeros is None else replace(work, zeros=zeros.name, rounds=zeros.rounds)


def _line_up(group: Group, result: Form, image: Form) -> bool:
    """Whether all that follows reads what lines up with the result as an image."""
    if result.shape == image.shape:
        return True
    made = {tensor.name for node in group.nodes for tensor in node.outputs}
    read = [tensor for node in group.nodes[1:] for tensor in node.inputs if not tensor.is_empty()]
    forms = [plain(shape_of(tensor)) for tensor in read if tensor.name not in made]
    return all(form.size == 1 or image_form(form, result, image) is not None for form in forms)


def _anchor(program: Program, workload: Workload, layer: IntegerLayer, result: Form) -> Anchor:
    schedule, out = _exact(program, workload, layer), channels_last(workload.out)
    if isinstance(schedule, IntegerWinograd):
        return _over_tiles(program, workload, layer, result, schedule)
    attributes = {
        "strides": workload.strides,
        "dilations": workload.dilations,
        "pads": workload.pads,
        "group": workload.group,
        "kernel": workload.kernel,
        "blocks": schedule.blocks,
        "dot": schedule.dot,
        "zero": layer.zero_point,
        "together": schedule.together,
        "by": _rounds_by(program.target),
        "fenced": program.target.arm64,
    }
    sparse = isinstance(schedule, SparseBlocks)
    attributes |= {"inputs": schedule.inputs} if sparse else {}
    sizes = Layer(KernelSpec(FAMILY, tuple(attributes.items()), (layer.data.form,), 1, (), out), schedule.tile)
    begin = starts(layer.weight, layer.bias, layer.zero_point, Border(sizes.rows), Border(sizes.columns))
    packed, *lists = (
        pack_units(layer.weight[:, :, 0, 0], schedule) if sparse else (packed_for(schedule, layer.weight, sizes),)
    )
    operands = [layer.data, *(program.constant(array) for array in (packed, begin, *lists))]
    family = SKIPPING if sparse else FAMILY
    return Anchor(family, attributes, operands, out, schedule.tile, layer.addend, layer.multiplier, result)


def _exact(program: Program, workload: Workload, layer: IntegerLayer) -> IntegerPlan:
    """The schedule of a layer; the next best one where its sums would be too large for that."""

    def exact(plan: IntegerPlan) -> bool:
        tiled = isinstance(plan, IntegerWinograd)
        return not tiled or is_exact(layer.weight, layer.bias, layer.zero_point, plan.outputs)

    schedule = program.schedule(workload)
    return schedule if exact(schedule) else next(filter(exact, integer_plans(program.target, workload)))


def _over_tiles(
    program: Program, workload: Workload, layer: IntegerLayer, result: Form, schedule: IntegerWinograd
) -> Anchor:
    """The kernel by Winograd's transforms, whose sums are a power of two too large."""
    attributes = {
        "pads": workload.pads,
        "outputs": schedule.outputs,
        "strip": schedule.strip,
        "lanes": schedule.lanes,
        "abreast": schedule.abreast,
        "by_lane": True,
        "zero": layer.zero_point,
        "dot": schedule.dot,
        "by": _rounds_by(program.target),
        "fenced": program.target.arm64,
    }
    kernels = blocked(layer.weight, schedule.tile)
    packed = program.points(whole_points(kernels, schedule.outputs), kernels, schedule.outputs)
    begin = tiled_starts(layer.weight, layer.bias, layer.zero_point, schedule.outputs)
    operands = [layer.data, packed, program.constant(begin)]
    multiplier, out = layer.multiplier / WHOLE[schedule.outputs].even, channels_last(workload.out)
    return Anchor("winograd_int8", attributes, operands, out, schedule.tile, layer.addend, multiplier, result)


def _depthwise(program: Program, workload: Workload, layer: IntegerLayer, result: Form) -> Anchor | None:
    """The kernel of a convolution each of whose channels stands alone; None where two products may exceed 16 bits."""
    schedule, out = program.schedule(workload), channels_last(workload.out)
    if not schedule.dot and layer.weight.min() < -_MOST_WEIGHT:
        return None
    attributes = {
        "strides": workload.strides,
        "dilations": workload.dilations,
        "pads": workload.pads,
        "kernel": workload.kernel,
        "blocks": schedule.blocks,
        "lines": schedule.lines,
        "dot": schedule.dot,
        "by": _rounds_by(program.target),
        "fenced": program.target.arm64,
    }
    rows, columns = (Border(axis) for axis in axes_of(workload))
    products = products_by(schedule.dot, layer.data.form.dtype)
    packed = pack_depthwise(layer.weight, schedule.blocks, schedule.lines, products, rows)
    begin = starts(layer.weight, layer.bias, layer.zero_point, rows, columns)
    operands = [layer.data, program.constant(packed), program.constant(begin)]
    return Anchor("depthwise_int8", attributes, operands, out, schedule.tile, layer.addend, layer.multiplier, result)


def _rounds_by(target: Target) -> str:
    """The instructions that round to eight bits."""
    if target.triple.startswith("x86"):
        return "avx512" if target.core.vector_bytes == _AVX512_BYTES else "sse"
    return "neon" if target.arm64 else "any"


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


def image_form(form: Form, result: Form, image: Form) -> Form | None:
    """How a kernel that sees its result as an image sees what broadcasts to that; None where it cannot be seen so.

    What is as large lies as the result does.

    Args:
        result: The result as the model has it, its channels last in memory.
        image: The same memory as `[N, O, H, W]`.
    """
    if form.shape == result.shape:
        return replace(form, shape=image.shape, order=image.order)
    channel = result.order[-1] - len(result.shape) + len(form.shape)
    channels = form.shape[channel] if channel >= 0 else 1
    return replace(form, shape=(1, channels, 1, 1), order=image.order) if channels == form.size else None


def _as_image(program: Program, data: Value, of_rows: bool) -> Value | None:
    """The data as `[N, I, H, W]`: rows of it side by side, or a line as the only row."""
    shape = data.form.shape
    if not of_rows and len(shape) == _IMAGE:
        return data
    if not of_rows and len(shape) != _LINE:
        return None
    whole = plain(shape) if of_rows else channels_last(shape)
    data = program.laid_out(data, replace(data.form, order=whole.order))
    image = (1, shape[-1], 1, prod(shape[:-1])) if of_rows else (*shape[:2], 1, shape[2])
    return program.view(data, image_form(data.form, whole, channels_last(image)))


def _weight(program: Program, node: gs.Node) -> tuple[np.ndarray, np.ndarray] | None:
    """The weights as `[O, I / groups, KH, KW]` int8, and what a step of them stands for, `[O]`."""
    constant = program.constants.get(node.inputs[1].name) if node.op in _LAYERS else None
    if constant is None or node.attrs.get("transA", 0):
        return None
    if node.op == "MatMul" or (node.op == "Gemm" and not node.attrs.get("transB", 0)):
        constant = constant.turned([1, 0]) if constant.integers.ndim == len("IO") else None
    integers = None if constant is None else symmetric(constant)
    if integers is None or (constant.scale.size > 1 and constant.axis != 0):
        return None
    outputs, inputs, *kernel = integers.shape
    rows = (1,) * (2 - len(kernel))
    return integers.reshape(outputs, inputs, *rows, *kernel), np.broadcast_to(constant.scale.astype(float), (outputs,))


def symmetric(constant: QuantizedConstant) -> np.ndarray | None:
    """The integers less their zero point, where int8 holds those."""
    points = constant.zero_point
    if points.size > 1:
        points = points.reshape([-1 if axis == constant.axis else 1 for axis in range(constant.integers.ndim)])
    whole = constant.integers.astype(np.int64) - points
    return whole.astype(np.int8) if whole.min() >= -128 and whole.max() <= 127 else None


def bias_in_steps(node: gs.Node, step: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None] | None:
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
    far = np.abs(steps - whole) > np.maximum(_WHOLE, _ROUNDED * np.abs(steps))
    if far.any() or np.abs(whole).max() > _MOST_BIAS:
        return None, values
    return whole.astype(np.int32), None


_LAYERS = ("Conv", "Gemm", "MatMul")
