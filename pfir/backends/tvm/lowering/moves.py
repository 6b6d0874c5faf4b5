"""ONNX operators that only move data: views that cost nothing, and what their kernels need where bytes must move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Anchor, Values, array_of, scalar
from pfir.backends.tvm.lowering.form import Form, channels_last, plain
from pfir.backends.tvm.lowering.fuse import is_float
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES, plain_tile


def view(program: Program, node: gs.Node, value: Values) -> Value | None:
    """The node's output where it is its input under another form, else None."""
    if node.op == "Transpose":
        return _transpose(program, node, value)
    if node.op in ("Reshape", "Flatten", "Squeeze", "Unsqueeze"):
        return _reshape(program, node, value)
    if node.op in ("Identity", "Dropout") or _same_cast(node):
        return value(node.inputs[0])
    return None


def mover(program: Program, node: gs.Node, value: Values) -> Anchor | None:
    """What the moving kernel of this node's first output computes, or None where it is not covered."""
    make = MOVERS.get(node.op)
    return make(program, node, value) if make and not scalar(node) else None


def split(program: Program, node: gs.Node, value: Values) -> list[Anchor]:
    """The kernels of every output of a Split."""
    data = value(node.inputs[0])
    axis = int(node.attrs.get("axis", 0)) % len(data.form.shape)
    offset, parts = 0, []
    for output in node.outputs:
        shape = _shape(output)
        starts = tuple(offset if i == axis else 0 for i in range(len(shape)))
        attributes = {"kind": "slice", "starts": starts, "steps": (1,) * len(shape)}
        form = Form(shape, data.form.order, data.form.read_as)
        parts.append(Anchor("affine", attributes, [data], form, plain_tile(program.target)))
        offset += shape[axis]
    return parts


def _shape(tensor: gs.Tensor) -> tuple[int, ...]:
    return tuple(int(size) for size in tensor.shape)


def _same_cast(node: gs.Node) -> bool:
    return node.op == "Cast" and node.inputs[0].dtype == node.outputs[0].dtype


def _transpose(program: Program, node: gs.Node, value: Values) -> Value:
    """The input with its axes named anew: output axis j is input axis perm[j], and memory stays as it is."""
    data = value(node.inputs[0])
    rank = len(data.form.shape)
    perm = [int(p) for p in node.attrs.get("perm", range(rank - 1, -1, -1))]
    place = {axis: j for j, axis in enumerate(perm)}
    shape = tuple(data.form.shape[axis] for axis in perm)
    return Value(data.var, replace(data.form, shape=shape, order=tuple(place[axis] for axis in data.form.order)))


def _reshape(program: Program, node: gs.Node, value: Values) -> Value:
    data, shape = value(node.inputs[0]), _shape(node.outputs[0])
    return program.view(program.plain(data), replace(data.form, shape=shape, order=plain(shape).order))


def _ints(node: gs.Node, name: str, index: int) -> list[int] | None:
    """A list of integers, an attribute in old opsets and a constant input in new ones; None where it is neither."""
    if name in node.attrs:
        return [int(v) for v in node.attrs[name]]
    if len(node.inputs) <= index or node.inputs[index].is_empty():
        return None
    array = array_of(node.inputs[index])
    return None if array is None else [int(v) for v in array.reshape(-1)]


def _constant_inputs(node: gs.Node, first: int) -> bool:
    return all(t.is_empty() or array_of(t) is not None for t in node.inputs[first:])


def _slice(program: Program, node: gs.Node, value: Values) -> Anchor | None:
    starts = _ints(node, "starts", 1)
    if starts is None or not _constant_inputs(node, 1):
        return None
    data = value(node.inputs[0])
    rank = len(data.form.shape)
    axes = _ints(node, "axes", 3) or list(range(len(starts)))
    steps = _ints(node, "steps", 4) or [1] * len(starts)
    begin, stride = [0] * rank, [1] * rank
    for start, axis, step in zip(starts, axes, steps, strict=True):
        size = data.form.shape[axis % rank]
        start = start + size if start < 0 else start
        begin[axis % rank] = min(max(start, 0), size - 1 if step < 0 else size)
        stride[axis % rank] = step
    attributes = {"kind": "slice", "starts": tuple(begin), "steps": tuple(stride)}
    form = Form(_shape(node.outputs[0]), data.form.order, data.form.read_as)
    return Anchor("affine", attributes, [data], form, plain_tile(program.target))


def _pad(program: Program, node: gs.Node, value: Values) -> Anchor | None:
    pads, mode = _ints(node, "pads", 1), node.attrs.get("mode", "constant")
    if pads is None or mode not in ("constant", "edge", "reflect") or not _constant_inputs(node, 1):
        return None
    data = value(node.inputs[0])
    rank = len(data.form.shape)
    axes = [axis % rank for axis in (_ints(node, "axes", 3) or range(rank))]
    begins, ends = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        begins[axis], ends[axis] = pads[i], pads[i + len(axes)]
    fill = node.attrs.get("value", 0.0)
    if len(node.inputs) > 2 and not node.inputs[2].is_empty():
        fill = float(array_of(node.inputs[2]).reshape(-1)[0])
    attributes = {"kind": "pad", "begins": tuple(begins), "ends": tuple(ends), "mode": mode, "value": float(fill)}
    form = Form(_shape(node.outputs[0]), data.form.order, data.form.read_as)
    return Anchor("move", attributes, [data], form, plain_tile(program.target))


def _concat(program: Program, node: gs.Node, value: Values) -> Anchor:
    parts = [value(tensor) for tensor in node.inputs if 0 not in tensor.shape]
    first = max(parts, key=lambda part: part.form.size).form
    form = Form(_shape(node.outputs[0]), first.order, first.read_as)
    axis = int(node.attrs["axis"]) % len(form.shape)
    return Anchor("move", {"kind": "concat", "axis": axis}, parts, form, plain_tile(program.target))


def _resize(program: Program, node: gs.Node, value: Values) -> Anchor | None:
    attrs, out = node.attrs, _shape(node.outputs[0])
    mode = attrs.get("mode", "nearest")
    mode = mode.decode() if isinstance(mode, bytes) else mode
    old = node.op == "Upsample" or len(node.inputs) == 2
    coordinates = "asymmetric" if old else attrs.get("coordinate_transformation_mode", "half_pixel")
    known = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
    if mode not in ("nearest", "linear") or coordinates not in known or attrs.get("antialias", 0) or "axes" in attrs:
        return None
    if attrs.get("keep_aspect_ratio_policy", "stretch") != "stretch" or not _constant_inputs(node, 1):
        return None
    data = value(node.inputs[0])
    if not is_float(node.inputs[0]):
        return None
    if len(out) == 4 and out[1] >= FEWEST_LANES:
        data = program.laid_out(data, replace(data.form, order=channels_last(data.form.shape).order))
    attributes = {
        "kind": "resize",
        "mode": mode,
        "coordinates": coordinates,
        "nearest": "floor" if old else attrs.get("nearest_mode", "round_prefer_floor"),
        "scales": _scales(node, data.form.shape, out),
    }
    return Anchor("move", attributes, [data], Form(out, data.form.order), plain_tile(program.target))


def _scales(node: gs.Node, shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[float, ...]:
    """The scales that the node is given, else the ratios of the sizes."""
    given = node.attrs.get("scales")
    index = 1 if node.op == "Upsample" or len(node.inputs) == 2 else 2
    if given is None and len(node.inputs) > index and not node.inputs[index].is_empty():
        given = array_of(node.inputs[index])
    if given is None or len(given) == 0:
        given = [o / i for o, i in zip(out, shape, strict=True)]
    return tuple(float(s) for s in given)


def _expand(program: Program, node: gs.Node, value: Values) -> Anchor:
    data = value(node.inputs[0])
    form = plain(_shape(node.outputs[0]), data.form.read_as)
    return Anchor("affine", {"kind": "copy"}, [data], form, plain_tile(program.target))


def _gather(program: Program, node: gs.Node, value: Values) -> Anchor | None:
    """Constant places only; negative ones count from the end, and any outside are left to the importer's rules."""
    places, data = array_of(node.inputs[1]), value(node.inputs[0])
    axis = int(node.attrs.get("axis", 0)) % max(1, len(data.form.shape))
    if places is None or places.size == 0 or not data.form.shape:
        return None
    size = data.form.shape[axis]
    if places.min() < -size or places.max() >= size:
        return None
    positive = np.where(places < 0, places + size, places).astype(np.int32)
    table = program.constant(np.atleast_1d(positive))
    form = plain(_shape(node.outputs[0]), data.form.read_as)
    attributes = {"kind": "gather", "axis": axis, "rank": places.ndim}
    return Anchor("move", attributes, [data, table], form, plain_tile(program.target))


def _blocks(kind: str) -> Callable[[Program, gs.Node, Values], Anchor]:
    def make(program: Program, node: gs.Node, value: Values) -> Anchor:
        data = value(node.inputs[0])
        mode = node.attrs.get("mode", "DCR")
        attributes = {"kind": kind, "block": int(node.attrs["blocksize"]), "mode": mode}
        form = Form(_shape(node.outputs[0]), data.form.order, data.form.read_as)
        return Anchor("move", attributes, [data], form, plain_tile(program.target))

    return make


MOVERS: dict[str, Callable[[Program, gs.Node, Values], Anchor | None]] = {
    "Slice": _slice,
    "Pad": _pad,
    "Concat": _concat,
    "Resize": _resize,
    "Upsample": _resize,
    "Expand": _expand,
    "Gather": _gather,
    "DepthToSpace": _blocks("depth_to_space"),
    "SpaceToDepth": _blocks("space_to_depth"),
}
