"""Convolutions: which of the kernels computes one, and what it is handed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.kernels import across, depthwise, offsets, window
from pfir.backends.tvm.kernels import conv as padded
from pfir.backends.tvm.kernels.direct.convolution import pack as pack_blocks
from pfir.backends.tvm.kernels.winograd.packing import blocked, pointed
from pfir.backends.tvm.lowering.anchor import Anchor, Values, array_of, as_image, bias_of, shape_of, weights_of
from pfir.backends.tvm.lowering.form import channels_last
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.products import product
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.algorithms import habits
from pfir.backends.tvm.schedule.blocks import Direct
from pfir.backends.tvm.schedule.channel_tiles import channel_tile, depthwise_tile
from pfir.backends.tvm.schedule.routing import axes_of, is_product, reads_all
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, MatrixTile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.ir.costs.tails import tail_of
from pfir.ir.operators.windows import each_of, pads_of
from pfir.target import SINGLE
from pfir.workload import Workload


@dataclass(frozen=True)
class Layer:
    """What a convolution reads.

    Args:
        data: `[N, I, H, W]`.
        weight: `[O, I / groups, KH, KW]`.
        bias: `[O]`; None without one.
    """

    data: Value
    weight: np.ndarray
    bias: np.ndarray | None = None


def conv(program: Program, group: Group, value: Values) -> Anchor | None:
    """What heads the kernel of a Conv; None where its weights are no constants, or it has not two spatial axes."""
    node = group.head
    weight, bias, shape = weights_of(node.inputs[1]), bias_of(node, 2), shape_of(node.inputs[0])
    if weight is None or len(shape) != 4 or bias is False:
        return None
    layer, pads = Layer(value(node.inputs[0]), weight, bias), pads_of(node, shape[2:], weight.shape[2:])
    workload = _workload(program, group, layer, pads)
    alone = weight.shape[1] == 1 and workload.group == shape[1] and workload.group > 1
    layer = _counted(program, layer) if alone else replace(layer, data=program.floats(layer.data))
    if is_product(workload):
        return product(program, layer.data, weight[:, :, 0, 0].T, bias, channels_last(workload.out), workload.after)
    if workload.group == 1 and reads_all(workload):
        return _over_image(program, workload, layer)
    if alone:
        workload = replace(workload, family="depthwise", order=channels_last(shape).order)
        return _depthwise(program, workload, _as_image(program, layer), pads, group.nodes[1:])
    return convolution(program, workload, layer)


def _counted(program: Program, layer: Layer) -> Layer:
    """The layer of what integers count, their scale among the weights, where its kernel computes in float32."""
    meaning = layer.data.form.quantization
    if meaning is None or program.dtype != SINGLE:
        return replace(layer, data=program.floats(layer.data))
    form = replace(layer.data.form, quantization=replace(meaning, scale=1.0))
    return replace(layer, data=Value(layer.data.var, form), weight=layer.weight * np.float32(meaning.scale))


def _workload(program: Program, group: Group, layer: Layer, pads: tuple[int, ...]) -> Workload:
    node, data = group.head, layer.data.form
    return Workload(
        "conv",
        data.shape,
        shape_of(node.outputs[0]),
        data.order,
        layer.weight.shape[2:],
        each_of(node, "strides", 2),
        each_of(node, "dilations", 2),
        pads[:2],
        group=int(node.attrs.get("group", 1)),
        after=tail_of(group.nodes).kind,
        dtype=program.dtype,
    )


def _over_image(program: Program, workload: Workload, layer: Layer) -> Anchor:
    """The product of all values of the image."""
    data, weight = as_image(program, layer.data), layer.weight
    rows, columns = (axis.inside(0) for axis in axes_of(workload))
    matrix = weight[:, :, rows][:, :, :, columns].transpose(2, 3, 1, 0).reshape(-1, len(weight))
    batch = data.form.shape[0]
    values = program.view(data, channels_last((batch, len(matrix), 1, 1), data.form.dtype))
    out = channels_last((batch, len(weight), 1, 1))
    return product(program, values, matrix, layer.bias, out, workload.after)


def convolution(program: Program, workload: Workload, layer: Layer) -> Anchor:
    """The kernel of a convolution whose channels mix. It reads few channels as they lie: a copy would take longer than
    the scattered reads."""
    if workload.channels > padded.FEW_CHANNELS:
        workload, layer = replace(workload, order=channels_last(workload.data).order), _as_image(program, layer)
    schedule = program.schedule(workload)
    if isinstance(schedule, Winograd):
        return _winograd(program, workload, layer, schedule)
    if isinstance(schedule, Direct):
        return _direct(program, workload, layer, schedule)
    return _padded(program, workload, layer, schedule)


def _winograd(program: Program, workload: Workload, layer: Layer, schedule: Winograd) -> Anchor:
    sizes = {"pads": workload.pads, "outputs": schedule.outputs, "strip": schedule.strip, "lanes": schedule.lanes}
    kernels = blocked(layer.weight, schedule.tile)
    packed = program.points(pointed(kernels, schedule.outputs), kernels, schedule.outputs)
    attributes = sizes | habits(program.target)
    return Anchor("winograd", attributes, [layer.data, packed], channels_last(workload.out), schedule.tile, layer.bias)


def _direct(program: Program, workload: Workload, layer: Layer, schedule: Direct) -> Anchor:
    sizes = {"group": workload.group, "kernel": workload.kernel, "blocks": schedule.blocks}
    core = {name: value for name, value in habits(program.target).items() if name in ("by_lane", "fenced")}
    packed = program.constant(pack_blocks(layer.weight, workload.group, schedule.blocks))
    attributes = _geometry(workload) | sizes | core
    return Anchor("direct", attributes, [layer.data, packed], channels_last(workload.out), schedule.tile, layer.bias)


def _padded(program: Program, workload: Workload, layer: Layer, tile: MatrixTile) -> Anchor:
    attributes = _geometry(workload) | {"spread": workload.spread, "group": workload.group}
    packed = program.constant(padded.pack(layer.weight, workload.group, tile))
    return Anchor("conv", attributes, [layer.data, packed], channels_last(workload.out), tile, layer.bias)


def _geometry(workload: Workload) -> dict[str, Any]:
    return {"strides": workload.strides, "dilations": workload.dilations, "pads": workload.pads}


def _depthwise(
    program: Program, workload: Workload, layer: Layer, pads: tuple[int, ...], after: Sequence[gs.Node]
) -> Anchor:
    """The kernel of a convolution each of whose channels stands alone.

    Args:
        pads: Of all sides, those at the end, too.
        after: The nodes that follow.
    """
    out, data = channels_last(workload.out), layer.data
    if workload.out[1] != workload.data[1] or not depthwise.covers(data.form, layer.weight):
        return _window(program, workload, layer, pads)
    tile = program.schedule(workload)
    beside = {"offsets": offsets.reached_by(program.target, workload.out[1])}
    whole = data.form.quantization is not None or _by_channel(after)
    if isinstance(tile, AcrossTile) and not whole:
        packed = program.constant(across.pack(layer.weight, layer.bias, tile))
        return Anchor("across", {"kernel": workload.kernel, "pads": workload.pads} | beside, [data, packed], out, tile)
    if isinstance(tile, AcrossTile):
        tile = depthwise_tile(program.target, workload)
    packed = program.constant(depthwise.pack(layer.weight, tile))
    return Anchor("depthwise", _geometry(workload) | beside, [data, packed], out, tile, layer.bias)


def _window(program: Program, workload: Workload, layer: Layer, pads: tuple[int, ...]) -> Anchor:
    tile = channel_tile(program.target, workload.out[3], workload.out[1])
    attributes = _geometry(workload) | {"kernel": workload.kernel, "pads": pads}
    packed = program.constant(window.pack(layer.weight, tile))
    return Anchor("window", attributes, [layer.data, packed], channels_last(workload.out), tile, layer.bias)


def _as_image(program: Program, layer: Layer) -> Layer:
    return replace(layer, data=as_image(program, layer.data))


def _by_channel(nodes: Sequence[gs.Node]) -> bool:
    """Whether any of them reads constants beside single numbers."""
    arrays = [array_of(tensor) for node in nodes for tensor in node.inputs]
    return any(array is not None and array.size > 1 for array in arrays)
