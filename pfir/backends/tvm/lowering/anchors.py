"""ONNX operators that head a kernel: what each one hands to its generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.kernels import across, conv, depthwise, offsets, window
from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.direct import convolution as direct
from pfir.backends.tvm.kernels.products import dots, matmul
from pfir.backends.tvm.kernels.winograd import kernel as winograd
from pfir.backends.tvm.lowering.anchor import (
    Anchor,
    Values,
    array_of,
    as_image,
    each_of,
    optional,
    pads_of,
    scalar,
    shape_of,
)
from pfir.backends.tvm.lowering.form import Form, KernelSpec, channels_last, plain
from pfir.backends.tvm.lowering.fuse import Group, is_float
from pfir.backends.tvm.lowering.pools import pool, reduce
from pfir.backends.tvm.lowering.transposed import Phases, turned
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule import products
from pfir.backends.tvm.schedule.algorithms import Winograd, habits
from pfir.backends.tvm.schedule.channel_tiles import channel_tile, depthwise_tile
from pfir.backends.tvm.schedule.direct import Direct
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, DotsTile, MatrixTile
from pfir.backends.tvm.schedule.tiles import by_lane, matrix_tile, overlapped_tile, plain_tile
from pfir.backends.tvm.schedule.workload import Workload, kind_after

_SEVERAL = 4  # rows; fewer hide no latency, so that a product wants all its columns at a time


def anchor(program: Program, group: Group, value: Values) -> Anchor | None:
    """What the kernel of a group's first node computes, or None where no generator of ours covers it."""
    node = group.head
    make = ANCHORS.get(node.op)
    if make is None or scalar(node) or not is_float(node.inputs[0]):
        return None
    return make(program, group, value)


def _conv(program: Program, group: Group, value: Values) -> Anchor | None:
    node = group.head
    weight, bias = array_of(node.inputs[1]), _bias(node, 2)
    shape, out = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if weight is None or len(shape) != 4 or bias is False:
        return None
    kernel, groups = weight.shape[2:], int(node.attrs.get("group", 1))
    strides, dilations = each_of(node, "strides", 2), each_of(node, "dilations", 2)
    pads = pads_of(node, shape[2:], kernel)
    data, after = value(node.inputs[0]), kind_after(group.nodes)
    if kernel == (1, 1) and strides == (1, 1) and not any(pads) and groups == 1:
        return _product(program, data, weight[:, :, 0, 0].T, bias, channels_last(out), after)
    axes = [Axis(*sizes) for sizes in zip(shape[2:], out[2:], kernel, strides, dilations, pads[:2], strict=True)]
    if groups == 1 and all(axis.out == 1 and len(axis.inside(0)) == axis.size for axis in axes):
        return _over_image(program, as_image(program, data), weight, axes, bias, after)
    workload = Workload(
        "conv",
        shape,
        out,
        data.form.order,
        kernel,
        strides,
        dilations,
        pads[:2],
        group=groups,
        after=after,
        dtype=program.dtype,
    )
    if weight.shape[1] == 1 and groups == shape[1] and groups > 1:
        workload = replace(workload, family="depthwise", order=channels_last(shape).order)
        return _depthwise(program, workload, as_image(program, data), weight, bias, pads, group.nodes[1:])
    return _direct(program, workload, data, weight, bias)


def _over_image(program: Program, data: Value, weight: np.ndarray, axes: list[Axis], bias: Any, after: str) -> Anchor:
    """A convolution with one output, which reads the whole image: the product of all its values."""
    rows, columns = (axis.inside(0) for axis in axes)
    matrix = weight[:, :, rows][:, :, :, columns].transpose(2, 3, 1, 0).reshape(-1, len(weight))
    batch = data.form.shape[0]
    values = program.view(data, channels_last((batch, len(matrix), 1, 1), data.form.dtype))
    return _product(program, values, matrix, bias, channels_last((batch, len(weight), 1, 1)), after)


def _bias(node: gs.Node, index: int) -> Any:
    """The bias as an array, None without one or where it is zero, False where it is no constant."""
    tensor = optional(node, index)
    if tensor is None:
        return None
    array = array_of(tensor)
    if array is None:
        return False
    return array.reshape(-1) if array.any() else None


def _direct(program: Program, workload: Workload, data: Value, weight: np.ndarray, bias: Any) -> Anchor:
    """Few channels are read as they lie: a copy would take longer than the scattered reads."""
    if workload.channels > conv.FEW_CHANNELS:
        workload, data = replace(workload, order=channels_last(workload.data).order), as_image(program, data)
    schedule, out = program.schedule(workload), channels_last(workload.out)
    if isinstance(schedule, Winograd):
        attributes = {
            "pads": workload.pads,
            "outputs": schedule.outputs,
            "strip": schedule.strip,
            "lanes": schedule.lanes,
        }
        attributes |= habits(program.target)
        packed = program.constant(winograd.pack(weight, schedule.outputs, schedule.tile))
        return Anchor("winograd", attributes, [data, packed], out, schedule.tile, bias)
    if isinstance(schedule, Direct):
        attributes = _geometry(workload) | {
            "group": workload.group,
            "kernel": workload.kernel,
            "blocks": schedule.blocks,
        }
        attributes |= {name: value for name, value in habits(program.target).items() if name in ("by_lane", "fenced")}
        packed = program.constant(direct.pack(weight, workload.group, schedule.blocks))
        return Anchor("direct", attributes, [data, packed], out, schedule.tile, bias)
    attributes = _geometry(workload) | {"spread": workload.spread, "group": workload.group}
    return Anchor(
        "conv", attributes, [data, program.constant(conv.pack(weight, workload.group, schedule))], out, schedule, bias
    )


def _geometry(workload: Workload) -> dict[str, Any]:
    return {"strides": workload.strides, "dilations": workload.dilations, "pads": workload.pads}


def _depthwise(
    program: Program,
    workload: Workload,
    data: Value,
    weight: np.ndarray,
    bias: Any,
    pads: tuple,
    after: Sequence[gs.Node],
) -> Anchor:
    out = channels_last(workload.out)
    if workload.out[1] != workload.data[1] or not depthwise.covers(data.form, weight):
        tile = channel_tile(program.target, workload.out[3], workload.out[1])
        attributes = _geometry(workload) | {"kernel": workload.kernel, "pads": pads}
        return Anchor("window", attributes, [data, program.constant(window.pack(weight, tile))], out, tile, bias)
    tile, by_channel = program.schedule(workload), _by_channel(after)
    beside = {"offsets": offsets.needed(program.target, workload.out[1])}
    if isinstance(tile, AcrossTile) and not by_channel:
        packed = program.constant(across.pack(weight, bias, tile))
        return Anchor("across", {"kernel": workload.kernel, "pads": workload.pads} | beside, [data, packed], out, tile)
    if isinstance(tile, AcrossTile):
        tile = depthwise_tile(program.target, workload.out[2:], workload.out[1], workload.kernel, workload.strides)
    packed = program.constant(depthwise.pack(weight, tile))
    return Anchor("depthwise", _geometry(workload) | beside, [data, packed], out, tile, bias)


def _by_channel(nodes: Sequence[gs.Node]) -> bool:
    """Whether any of them reads constants beside single numbers."""
    arrays = [array_of(tensor) for node in nodes for tensor in node.inputs]
    return any(array is not None and array.size > 1 for array in arrays)


def _product(program: Program, data: Value, matrix: np.ndarray, bias: Any, out: Form, after: str) -> Anchor:
    """`matrix` is `[I, O]`; the summed axis is brought to the end of the data's memory."""
    axis = out.order[-1]
    if data.form.order[-1] != axis or _outer(data.form) != _outer(out):
        data = program.laid_out(data, Form(data.form.shape, out.order, program.dtype))
    rows, (inner, channels) = prod(out.memory[:-1]), matrix.shape
    tile = program.schedule(
        Workload("product", (rows, inner), (rows, channels), (0, 1), after=after, dtype=program.dtype)
    )
    if isinstance(tile, DotsTile):
        return Anchor("dots", {}, [data, program.constant(dots.pack(matrix, tile))], out, tile, bias)
    ragged = channels > tile.lanes and channels % tile.lanes and isinstance(tile, MatrixTile)
    if not by_lane(program.target) and ragged and rows >= _SEVERAL:
        tile = overlapped_tile(program.target, tile, rows, channels, inner)
    attributes = {"by_lane": program.target.arm64, "registers": program.target.core.vector_registers}
    return Anchor("product", attributes, [data, program.constant(products.pack(matrix, tile))], out, tile, bias)


def _outer(form: Form) -> tuple[int, ...]:
    return form.order[:-1]


def _conv_transpose(program: Program, group: Group, value: Values) -> Anchor | None:
    """A convolution to the phases of the result, else one of the spread input with the weights turned around."""
    node = group.head
    weight, bias = array_of(node.inputs[1]), _bias(node, 2)
    shape, out = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if weight is None or len(shape) != 4 or bias is False or node.attrs.get("auto_pad", "NOTSET") != "NOTSET":
        return None
    strides, dilations = each_of(node, "strides", 2), each_of(node, "dilations", 2)
    groups = int(node.attrs.get("group", 1))
    kernel, pads = weight.shape[2:], _transposed_pads(node, shape, weight.shape[2:], strides, dilations)
    data = value(node.inputs[0])
    within = all(p < k for p, k in zip(pads, kernel, strict=True))
    if max(strides) > 1 and groups == 1 and dilations == (1, 1) and within:
        return _phases(program, Phases(strides, pads, kernel, out[2:]), data, weight, bias)
    begin = tuple((k - 1) * d - p for k, d, p in zip(kernel, dilations, pads, strict=True))
    workload = Workload(
        "conv",
        shape,
        out,
        data.form.order,
        kernel,
        dilations=dilations,
        pads=begin,
        spread=strides,
        group=groups,
        after=kind_after(group.nodes),
        dtype=program.dtype,
    )
    return _direct(program, workload, data, turned(weight, groups), bias)


def _phases(program: Program, phases: Phases, data: Value, weight: np.ndarray, bias: Any) -> Anchor:
    """All phases as channels of one convolution, then each value at its place."""
    batch, out = data.form.shape[0], weight.shape[1]
    made = phases.weights(weight)
    workload = Workload(
        "conv",
        data.form.shape,
        (batch, len(made), *phases.sizes),
        data.form.order,
        phases.taps,
        pads=phases.begin,
        dtype=program.dtype,
    )
    if phases.taps == (1, 1) and phases.sizes == data.form.shape[2:]:
        inner = _product(program, data, made[:, :, 0, 0].T, None, channels_last(workload.out), workload.after)
    else:
        inner = _direct(program, workload, data, made, None)
    spec = KernelSpec(
        inner.family,
        tuple(sorted(inner.attributes.items())),
        tuple(o.form for o in inner.operands),
        len(inner.operands),
        (),
        replace(inner.out, dtype=program.dtype),
        program.dtype,
    )
    shifts = tuple(p - f * s for p, f, s in zip(phases.pads, phases.first, phases.strides, strict=True))
    attributes = {"kind": "phases", "strides": phases.strides, "shifts": shifts}
    shown = channels_last((batch, out, *phases.out))
    return Anchor(
        "move", attributes, [program.call(spec, inner.tile, inner.operands)], shown, plain_tile(program.target), bias
    )


def _transposed_pads(node: gs.Node, shape: tuple, kernel: tuple, strides: tuple, dilations: tuple) -> tuple[int, ...]:
    """The begin pads; `output_shape` decides them where it is given."""
    wanted = node.attrs.get("output_shape")
    if not wanted:
        return tuple(int(p) for p in node.attrs.get("pads", [0] * 4))[:2]
    extra = each_of(node, "output_padding", 2) if node.attrs.get("output_padding") else (0, 0)
    total = [
        s * (size - 1) + e + (k - 1) * d + 1 - int(w)
        for s, size, e, k, d, w in zip(strides, shape[2:], extra, kernel, dilations, wanted[-2:], strict=True)
    ]
    return tuple(max(0, t) - max(0, t) // 2 for t in total)


def _gemm(program: Program, group: Group, value: Values) -> Anchor | None:
    node = group.head
    weight, attrs = array_of(node.inputs[1]), node.attrs
    bias, out = optional(node, 2), plain(shape_of(node.outputs[0]))
    if weight is None or attrs.get("transA", 0) or (bias is not None and array_of(bias) is None):
        return None
    matrix = (weight.T if attrs.get("transB", 0) else weight) * np.float32(attrs.get("alpha", 1.0))
    addend = None if bias is None else array_of(bias) * np.float32(attrs.get("beta", 1.0))
    if addend is not None and addend.size not in (1, out.shape[1]):
        return None
    vector = None if addend is None else np.broadcast_to(addend.reshape(-1), (out.shape[1],))
    return _product(program, value(node.inputs[0]), matrix, vector, out, kind_after(group.nodes))


def _matmul(program: Program, group: Group, value: Values) -> Anchor | None:
    node = group.head
    weight, shape = array_of(node.inputs[1]), shape_of(node.inputs[0])
    if min(len(shape), len(node.inputs[1].shape)) < 2 or node.inputs[1].dtype != np.float32:
        return None
    if weight is None or weight.ndim != 2:
        return _batched_product(program, node, value)
    out, after = plain(shape_of(node.outputs[0])), kind_after(group.nodes)
    return _product(program, value(node.inputs[0]), weight, None, out, after)


def _batched_product(program: Program, node: gs.Node, value: Values) -> Anchor:
    """Neither side is a constant matrix; the right one gets its columns side by side."""
    left, right = (value(tensor) for tensor in node.inputs)
    *_, rows, inner = left.form.shape
    columns, last = right.form.shape[-1], len(right.form.shape) - 1
    right = right if right.form.order[-1] == last else program.plain(right)
    tile = matmul.fitted(matrix_tile(program.target, rows, columns, inner), rows, columns)
    return Anchor("matmul", {}, [left, right], plain(shape_of(node.outputs[0])), tile)


ANCHORS: dict[str, Callable[[Program, Group, Values], Anchor | None]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "MaxPool": pool("max"),
    "AveragePool": pool("average"),
    "GlobalAveragePool": reduce("mean"),
    "GlobalMaxPool": reduce("max"),
    "ReduceMean": reduce("mean"),
    "ReduceSum": reduce("sum"),
    "ReduceMax": reduce("max"),
    "ReduceMin": reduce("min"),
}
