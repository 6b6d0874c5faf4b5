"""Operators that combine what lies in windows or along whole axes: pools and reductions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import prod

import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Anchor, Values, array_of, as_image, optional, shape_of
from pfir.backends.tvm.lowering.form import Form, channels_last
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.values import Program
from pfir.backends.tvm.schedule.channel_tiles import channel_tile
from pfir.backends.tvm.schedule.integers.pools import integer_tile
from pfir.backends.tvm.schedule.tiles import plain_tile
from pfir.ir.operators.windows import each_of, pads_of


def pool(kind: str) -> Callable[[Program, Group, Values], Anchor | None]:
    """A function that makes the anchor of a pool of this kind, max or average."""

    def make(program: Program, group: Group, value: Values) -> Anchor | None:
        node = group.head
        shape, out = shape_of(node.inputs[0]), channels_last(shape_of(node.outputs[0]))
        if len(shape) != 4 or len([t for t in node.outputs if t.name]) > 1:
            return None
        kernel = tuple(int(k) for k in node.attrs["kernel_shape"])
        attributes = {
            "kind": kind,
            "kernel": kernel,
            "strides": each_of(node, "strides", 2),
            "dilations": each_of(node, "dilations", 2),
            "pads": pads_of(node, shape[2:], kernel),
            "ceil": bool(node.attrs.get("ceil_mode", 0)),
            "counts_pads": bool(node.attrs.get("count_include_pad", 0)),
        }
        data = as_image(program, value(node.inputs[0]))
        tile = channel_tile(program.target, out.shape[3], out.shape[1])
        if kind == "average" and data.form.quantization is not None:
            tile = integer_tile(program.target, tile, kernel[1], attributes["strides"][1], attributes["dilations"][1])
        return Anchor("pool", attributes, [data], out, tile)

    return make


def reduce(kind: str) -> Callable[[Program, Group, Values], Anchor | None]:
    """A function that makes the anchor of a reduction over whole axes: mean, sum, max or min."""

    def make(program: Program, group: Group, value: Values) -> Anchor | None:
        node = group.head
        data = value(node.inputs[0])
        axes = _axes(node, len(data.form.shape))
        if axes is None or not node.attrs.get("keepdims", 1):
            return None
        shape = tuple(1 if axis in axes else size for axis, size in enumerate(data.form.shape))
        out = Form(shape, data.form.order)
        if kind == "mean" and _is_of_bytes(data.form, axes):
            tile = replace(plain_tile(program.target), lanes=program.target.core.vector_bytes)
            return Anchor("mean_int8", {}, [data], out, tile)
        if _innermost(data.form, axes):
            attributes = {"kind": kind, "n": prod(data.form.shape[axis] for axis in axes)}
            return Anchor("reduce_rows", attributes, [program.floats(data)], out, plain_tile(program.target))
        return Anchor("reduce", {"kind": kind, "axes": axes}, [data], out, plain_tile(program.target))

    return make


def _is_of_bytes(form: Form, axes: tuple[int, ...]) -> bool:
    """Whether these axes are all positions of an image of eight bits, its channels side by side."""
    image = form.order == channels_last(form.shape).order and len(form.shape) > len("NC")
    return image and form.quantization is not None and axes == tuple(range(len("NC"), len(form.shape)))


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
    tensor = optional(node, 1)
    if tensor is not None:
        axes = array_of(tensor)
        if axes is None:
            return None
    if axes is None or len(axes) == 0:
        return None if node.attrs.get("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(sorted(int(axis) % rank for axis in axes))
