"""ONNX operators that head a kernel: what each one hands to its generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.algorithms import Winograd, habits
from pfir.backends.tvm.form import Form, KernelSpec, channels_last, plain
from pfir.backends.tvm.fuse import Group, is_float
from pfir.backends.tvm.kernels import conv, depthwise, gemm, matmul, overlapped, product, window, winograd
from pfir.backends.tvm.tiles import Tile, by_lane, channel_tile, matrix_tile, overlapped_tile, plain_tile
from pfir.backends.tvm.transposed import Phases, turned
from pfir.backends.tvm.values import Program, Value
from pfir.backends.tvm.work import Work, kind_after
from pfir.target import FLOAT32

_SEVERAL = 4  # rows; fewer hide no latency, so that a product wants all its columns at a time


@dataclass(frozen=True)
class Lead:
    """A kernel's main computation: its generator, its operands, and a bias to add, `[C]` on the channel axis."""

    family: str
    attributes: dict[str, Any]
    operands: list[Value]
    out: Form
    tile: Tile
    bias: np.ndarray | None = None


Values = Callable[[gs.Tensor], Value]


def lead(program: Program, group: Group, value: Values) -> Lead | None:
    """What the kernel of a group's first node computes, or None where no generator of ours covers it."""
    node = group.head
    make = LEADS.get(node.op)
    if make is None or scalar(node) or not is_float(node.inputs[0]):
        return None
    return make(program, group, value)


def scalar(node: gs.Node) -> bool:
    """Whether data without any axis goes in or comes out: no kernel of ours has loops for that."""
    return not node.outputs[0].shape or not node.inputs[0].shape


def _shape(tensor: gs.Tensor) -> tuple[int, ...]:
    return tuple(int(size) for size in tensor.shape)


def array_of(tensor: gs.Tensor) -> np.ndarray | None:
    return tensor.values if isinstance(tensor, gs.Constant) else None


def _optional(node: gs.Node, index: int) -> gs.Tensor | None:
    present = len(node.inputs) > index and not node.inputs[index].is_empty()
    return node.inputs[index] if present else None


def _pads(node: gs.Node, sizes: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """Begin and end pads of each spatial axis, `auto_pad` worked out."""
    rank = len(kernel)
    mode = node.attrs.get("auto_pad", "NOTSET")
    if mode == "VALID":
        return (0,) * (2 * rank)
    if mode == "NOTSET":
        return tuple(int(p) for p in node.attrs.get("pads", [0] * (2 * rank)))
    strides, dilations = _each(node, "strides", rank), _each(node, "dilations", rank)
    total = [
        max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        for size, s, k, d in zip(sizes, strides, kernel, dilations, strict=True)
    ]
    small = [t // 2 for t in total]
    large = [t - s for t, s in zip(total, small, strict=True)]
    return (*small, *large) if mode == "SAME_UPPER" else (*large, *small)


def _each(node: gs.Node, name: str, rank: int) -> tuple[int, ...]:
    return tuple(int(v) for v in node.attrs.get(name, [1] * rank))


def _conv(program: Program, group: Group, value: Values) -> Lead | None:
    node = group.head
    weight, bias = array_of(node.inputs[1]), _bias(node, 2)
    shape, out = _shape(node.inputs[0]), _shape(node.outputs[0])
    if weight is None or len(shape) != 4 or bias is False:
        return None
    kernel, groups = weight.shape[2:], int(node.attrs.get("group", 1))
    pads, strides, dilations = _pads(node, shape[2:], kernel), _each(node, "strides", 2), _each(node, "dilations", 2)
    data, after = value(node.inputs[0]), kind_after(group.nodes)
    if kernel == (1, 1) and strides == (1, 1) and not any(pads) and groups == 1:
        return _product(program, data, weight[:, :, 0, 0].T, bias, channels_last(out), after)
    work = Work("conv", shape, out, data.form.order, kernel, strides, dilations, pads[:2], group=groups, after=after,
                dtype=program.dtype)  # fmt: skip
    if weight.shape[1] == 1 and groups == shape[1] and groups > 1:
        work = replace(work, family="depthwise", order=channels_last(shape).order)
        return _depthwise(program, work, _channels_last(program, data), weight, bias, pads)
    return _direct(program, work, data, weight, bias)


def _channels_last(program: Program, data: Value) -> Value:
    """The data in that order, floats of the program's type."""
    dtype = program.dtype if data.form.dtype == FLOAT32 else data.form.dtype
    return program.laid_out(data, channels_last(data.form.shape, dtype))


def _bias(node: gs.Node, index: int) -> Any:
    """The bias as an array, None without one or where it is zero, False where it is no constant."""
    tensor = _optional(node, index)
    if tensor is None:
        return None
    array = array_of(tensor)
    if array is None:
        return False
    return array.reshape(-1) if array.any() else None


def _direct(program: Program, work: Work, data: Value, weight: np.ndarray, bias: Any) -> Lead:
    """Few channels are read as they lie: a copy would take longer than the scattered reads."""
    if work.channels > conv.FEW_CHANNELS:
        work, data = replace(work, order=channels_last(work.data).order), _channels_last(program, data)
    way, out = program.way(work), channels_last(work.out)
    if isinstance(way, Winograd):
        attributes = {"pads": work.pads, "outputs": way.outputs, "strip": way.strip, "lanes": way.lanes}
        attributes |= habits(program.target)
        packed = program.constant(winograd.pack(weight, way.outputs, way.tile))
        return Lead("winograd", attributes, [data, packed], out, way.tile, bias)
    attributes = _geometry(work) | {"spread": work.spread, "group": work.group}
    return Lead("conv", attributes, [data, program.constant(conv.pack(weight, work.group, way))], out, way, bias)


def _geometry(work: Work) -> dict[str, Any]:
    return {"strides": work.strides, "dilations": work.dilations, "pads": work.pads}


def _depthwise(program: Program, work: Work, data: Value, weight: np.ndarray, bias: Any, pads: tuple) -> Lead:
    out = channels_last(work.out)
    if work.out[1] == work.data[1] and depthwise.covers(data.form, weight):
        tile = program.way(work)
        packed = program.constant(depthwise.pack(weight, tile))
        return Lead("depthwise", _geometry(work), [data, packed], out, tile, bias)
    tile = channel_tile(program.target, work.out[3], work.out[1])
    attributes = _geometry(work) | {"kind": "depthwise", "kernel": work.kernel, "pads": pads}
    return Lead("window", attributes, [data, program.constant(window.pack(weight, tile))], out, tile, bias)


def _product(program: Program, data: Value, matrix: np.ndarray, bias: Any, out: Form, after: str) -> Lead:
    """`matrix` is `[I, O]`; the summed axis is brought to the end of the data's memory."""
    axis = out.order[-1]
    if data.form.order[-1] != axis or _outer(data.form) != _outer(out):
        data = program.laid_out(data, Form(data.form.shape, out.order, program.dtype))
    rows, (inner, channels) = prod(out.memory[:-1]), matrix.shape
    tile = program.way(Work("product", (rows, inner), (rows, channels), (0, 1), after=after, dtype=program.dtype))
    many = program.dtype == FLOAT32 and channels >= tile.lanes and rows >= _SEVERAL
    if not by_lane(program.target) and channels % tile.lanes and many:
        tile = overlapped_tile(program.target, tile, rows, channels, inner)
        return Lead("overlapped", {}, [data, program.constant(overlapped.pack(matrix, tile))], out, tile, bias)
    if product.covers(program.target, channels):
        return Lead("product", {}, [data, program.constant(product.pack(matrix, tile))], out, tile, bias)
    return Lead("gemm", {}, [data, program.constant(gemm.pack(matrix, tile))], out, tile, bias)


def _outer(form: Form) -> tuple[int, ...]:
    return form.order[:-1]


def _conv_transpose(program: Program, group: Group, value: Values) -> Lead | None:
    """A convolution to the phases of the result, else one of the spread input with the weights turned around."""
    node = group.head
    weight, bias = array_of(node.inputs[1]), _bias(node, 2)
    shape, out = _shape(node.inputs[0]), _shape(node.outputs[0])
    if weight is None or len(shape) != 4 or bias is False or node.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    groups, strides, dilations = int(node.attrs.get("group", 1)), _each(node, "strides", 2), _each(node, "dilations", 2)
    kernel, pads = weight.shape[2:], _transposed_pads(node, shape, weight.shape[2:], strides, dilations)
    data = value(node.inputs[0])
    within = all(p < k for p, k in zip(pads, kernel, strict=True))
    if max(strides) > 1 and groups == 1 and dilations == (1, 1) and within:
        return _phases(program, Phases(strides, pads, kernel, out[2:]), data, weight, bias)
    begin = tuple((k - 1) * d - p for k, d, p in zip(kernel, dilations, pads, strict=True))
    work = Work("conv", shape, out, data.form.order, kernel, dilations=dilations, pads=begin, spread=strides,
                group=groups, after=kind_after(group.nodes), dtype=program.dtype)  # fmt: skip
    return _direct(program, work, data, turned(weight, groups), bias)


def _phases(program: Program, phases: Phases, data: Value, weight: np.ndarray, bias: Any) -> Lead:
    """All phases as channels of one convolution, then each value at its place."""
    batch, out = data.form.shape[0], weight.shape[1]
    made = phases.weights(weight)
    work = Work("conv", data.form.shape, (batch, len(made), *phases.sizes), data.form.order, phases.taps,
                pads=phases.begin, dtype=program.dtype)  # fmt: skip
    if phases.taps == (1, 1) and phases.sizes == data.form.shape[2:]:
        inner = _product(program, data, made[:, :, 0, 0].T, None, channels_last(work.out), work.after)
    else:
        inner = _direct(program, work, data, made, None)
    spec = KernelSpec(inner.family, tuple(sorted(inner.attributes.items())), tuple(o.form for o in inner.operands),
                      len(inner.operands), (), replace(inner.out, dtype=program.dtype), program.dtype)  # fmt: skip
    shifts = tuple(p - f * s for p, f, s in zip(phases.pads, phases.first, phases.strides, strict=True))
    attributes = {"kind": "phases", "strides": phases.strides, "shifts": shifts}
    shown = channels_last((batch, out, *phases.out))
    return Lead("move", attributes, [program.call(spec, inner.tile, inner.operands)], shown,
                plain_tile(program.target), bias)  # fmt: skip


def _transposed_pads(node: gs.Node, shape: tuple, kernel: tuple, strides: tuple, dilations: tuple) -> tuple[int, ...]:
    """The begin pads; `output_shape` decides them where it is given."""
    wanted = node.attrs.get("output_shape")
    if not wanted:
        return tuple(int(p) for p in node.attrs.get("pads", [0] * 4))[:2]
    extra = _each(node, "output_padding", 2) if node.attrs.get("output_padding") else (0, 0)
    total = [
        s * (size - 1) + e + (k - 1) * d + 1 - int(w)
        for s, size, e, k, d, w in zip(strides, shape[2:], extra, kernel, dilations, wanted[-2:], strict=True)
    ]
    return tuple(max(0, t) - max(0, t) // 2 for t in total)


def _pool(kind: str) -> Callable[[Program, Group, Values], Lead | None]:
    def make(program: Program, group: Group, value: Values) -> Lead | None:
        node = group.head
        shape, out = _shape(node.inputs[0]), channels_last(_shape(node.outputs[0]))
        if len(shape) != 4 or len([t for t in node.outputs if t.name]) > 1:
            return None
        kernel = tuple(int(k) for k in node.attrs["kernel_shape"])
        attributes = {
            "kind": kind,
            "kernel": kernel,
            "strides": _each(node, "strides", 2),
            "dilations": _each(node, "dilations", 2),
            "pads": _pads(node, shape[2:], kernel),
            "ceil": bool(node.attrs.get("ceil_mode", 0)),
            "counts_pads": bool(node.attrs.get("count_include_pad", 0)),
        }
        tile = channel_tile(program.target, out.shape[3], out.shape[1])
        return Lead("window", attributes, [_channels_last(program, value(node.inputs[0]))], out, tile)

    return make


def _reduce(kind: str) -> Callable[[Program, Group, Values], Lead | None]:
    def make(program: Program, group: Group, value: Values) -> Lead | None:
        node = group.head
        data = value(node.inputs[0])
        axes = _axes(node, len(data.form.shape))
        if axes is None or not node.attrs.get("keepdims", 1):
            return None
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(data.form.shape))
        out = Form(shape, data.form.order)
        if _innermost(data.form, axes):
            attributes = {"kind": kind, "n": prod(data.form.shape[axis] for axis in axes)}
            return Lead("reduce_rows", attributes, [data], out, plain_tile(program.target))
        return Lead("reduce", {"kind": kind, "axes": axes}, [data], out, plain_tile(program.target))

    return make


def _innermost(form: Form, axes: tuple[int, ...]) -> bool:
    """Whether these axes are what lies side by side."""
    walk = [axis for axis in form.order if form.shape[axis] != 1]
    some = [axis for axis in axes if form.shape[axis] != 1]
    return bool(some) and set(walk[-len(some) :]) == set(some)


def _axes(node: gs.Node, rank: int) -> tuple[int, ...] | None:
    """The reduced axes, sorted; None where they are not constant or nothing is reduced."""
    if node.op.startswith("Global"):
        return tuple(range(2, rank))
    axes = node.attrs.get("axes")
    tensor = _optional(node, 1)
    if tensor is not None:
        axes = array_of(tensor)
        if axes is None:
            return None
    if axes is None or len(axes) == 0:
        return None if node.attrs.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(int(axis) % rank for axis in axes))


def _gemm(program: Program, group: Group, value: Values) -> Lead | None:
    node = group.head
    weight, attrs = array_of(node.inputs[1]), node.attrs
    bias, out = _optional(node, 2), plain(_shape(node.outputs[0]))
    if weight is None or attrs.get("transA", 0) or (bias is not None and array_of(bias) is None):
        return None
    matrix = (weight.T if attrs.get("transB", 0) else weight) * np.float32(attrs.get("alpha", 1.0))
    addend = None if bias is None else array_of(bias) * np.float32(attrs.get("beta", 1.0))
    if addend is not None and addend.size not in (1, out.shape[1]):
        return None
    vector = None if addend is None else np.broadcast_to(addend.reshape(-1), (out.shape[1],))
    return _product(program, value(node.inputs[0]), matrix, vector, out, kind_after(group.nodes))


def _matmul(program: Program, group: Group, value: Values) -> Lead | None:
    node = group.head
    weight, shape = array_of(node.inputs[1]), _shape(node.inputs[0])
    if min(len(shape), len(node.inputs[1].shape)) < 2 or node.inputs[1].dtype != np.float32:
        return None
    if weight is None or weight.ndim != 2:
        return _batched_product(program, node, value)
    out, after = plain(_shape(node.outputs[0])), kind_after(group.nodes)
    return _product(program, value(node.inputs[0]), weight, None, out, after)


def _batched_product(program: Program, node: gs.Node, value: Values) -> Lead:
    """Neither side is a constant matrix; the right one gets its columns side by side."""
    left, right = (value(tensor) for tensor in node.inputs)
    *_, rows, inner = left.form.shape
    columns, last = right.form.shape[-1], len(right.form.shape) - 1
    right = right if right.form.order[-1] == last else program.plain(right)
    tile = matmul.fitted(matrix_tile(program.target, rows, columns, inner), rows, columns)
    return Lead("matmul", {}, [left, right], plain(_shape(node.outputs[0])), tile)


LEADS: dict[str, Callable[[Program, Group, Values], Lead | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": _pool("max"),
    "AveragePool": _pool("average"),
    "GlobalAveragePool": _reduce("mean"),
    "GlobalMaxPool": _reduce("max"),
    "ReduceMean": _reduce("mean"),
    "ReduceSum": _reduce("sum"),
    "ReduceMax": _reduce("max"),
    "ReduceMin": _reduce("min"),
}
