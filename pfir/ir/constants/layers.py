"""What layers make of constant channels: contractions, normalisations, pads, repetition."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.batch_norm import batch_norm
from pfir.ir.constants.channel_sums import ChannelSums, contraction
from pfir.ir.constants.known_constants import KnownConstants, Values
from pfir.ir.coupling.op import Op
from pfir.ir.coupling.rules.contraction import letters
from pfir.ir.edit import array, operand


def dilutes(node: gs.Node) -> bool:
    """Whether a pool counts zeros beside the border: those that are padded, and what a rounded-up size reaches over."""
    over = any(node.attrs.get("pads", ())) or "auto_pad" in node.attrs or node.attrs.get("ceil_mode", 0)
    return "AveragePool" in node.op and bool(node.attrs.get("count_include_pad", 0) and over)


def _batch_norm(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    norm, values = batch_norm(node), known.at((node.inputs[0].name, 1))
    if axis != 1 or norm.arrays is None or norm.trains:
        return None
    scale, shift, mean, variance = norm.arrays
    values = np.full(scale.size, np.nan) if values is None else values
    result = (values - mean) / np.sqrt(variance + norm.epsilon) * scale + shift
    return np.where(scale == 0, shift, result)


def _pad(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    values = known.at((node.inputs[0].name, axis))
    pads = known.trace.values.get(node.inputs[1].name) if len(node.inputs) > 1 else node.attrs.get("pads")
    fill = np.array([node.attrs.get("value", 0.0)]) if operand(node, 2) is None else array(node.inputs[2])
    rank = len(known.trace.axes[node.outputs[0].name])
    if pads is None or fill is None or len(node.inputs) > 3 or node.attrs.get("mode", "constant") != "constant":
        return None
    pads = [int(p) for p in np.asarray(pads).ravel()]
    if values is None:
        labels = known.trace.labels(node.inputs[0].name, axis)
        values = np.full(0 if labels is None else labels.size, np.nan)
    filled = float(fill.ravel()[0])
    if any(p for i, p in enumerate(pads) if i % rank != axis):
        values = np.where(values == filled, values, np.nan)
    before, after = np.full(pads[axis], filled), np.full(pads[axis + rank], filled)
    return np.concatenate([before, values, after])


def _contraction(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    found = contraction(node, known.trace.shapes)
    if found is None:
        return _product(known, node, axis) if node.op == "MatMul" else None
    return through(found, read(known, node, found)) if axis == found.out_axis else None


def through(found: ChannelSums, values: Values) -> Values:
    """What a layer makes of constant channels, NaN where it reads others."""
    blocked = np.isnan(values) | (values != 0 if not found.uniform else False)
    reached = (found.touches & blocked).any(1)
    total = np.where(blocked, 0.0, values) @ found.sums.T + found.bias
    return np.where(reached, np.nan, total)


def read(known: KnownConstants, node: gs.Node, found: ChannelSums) -> Values:
    """What a layer takes its input channels for; unknown where they are not as many as it has weights for."""
    values, width = known.read(node, (node.inputs[0].name, found.in_axis)), found.sums.shape[1]
    return np.full(width, np.nan) if values is None or values.size != width else values


def _product(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """A product of activations is zero where a row of the one or a column of the other is, or a whole batch."""
    shapes = [known.trace.shapes.get(t.name) for t in node.inputs]
    if None in shapes or min(map(len, shapes)) < 2:
        return None
    labels = known.trace.labels(node.outputs[0].name, axis)
    from_end, zero = axis - max(map(len, shapes)), np.zeros(labels.size, bool)
    for tensor, dims, summed in zip(node.inputs, shapes, (-1, -2), strict=True):
        if from_end != summed and from_end + len(dims) >= 0:
            zero |= _zero(known, tensor, from_end + len(dims), labels)
    return np.where(zero, 0.0, np.nan)


def _zero(known: KnownConstants, tensor: gs.Tensor, axis: int, labels: np.ndarray) -> np.ndarray:
    """Which positions of a factor are zero; none where it broadcasts."""
    values = known.along(tensor, axis)
    return values == 0 if values is not None and values.shape == labels.shape else np.zeros(labels.size, bool)


def _einsum(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """A sum of products is zero where a factor is."""
    terms, result = letters(Op(known.trace, node, 0))
    labels, zero = known.trace.labels(node.outputs[0].name, axis), False
    for tensor, term in zip(node.inputs, terms, strict=True):
        if result[axis] in term:
            zero = zero | _zero(known, tensor, term.index(result[axis]), labels)
    return np.where(zero, 0.0, np.nan)


def _norm(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """A channel, or a whole group of channels, that is zero gives the shift."""
    values, shift = known.at((node.inputs[0].name, 1)), array(node.inputs[2])
    if axis != 1 or values is None or shift is None:
        return None
    zero = (values.reshape(node.attrs.get("num_groups", values.size), -1) == 0).all(1)
    each = values.size // zero.size
    return np.where(np.repeat(zero, each), np.repeat(shift, values.size // shift.size), np.nan)


def _repeated(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    """An Expand: what there is one of is many times the same."""
    labels = known.trace.labels(node.outputs[0].name, axis)
    values = known.operand(node.inputs[0], len(known.trace.axes[node.outputs[0].name]), axis)
    return None if values is None else np.broadcast_to(values, labels.shape).astype(np.float64)


def _filled(known: KnownConstants, node: gs.Node, axis: int) -> Values | None:
    given = node.attrs.get("value")
    fill = 0.0 if given is None else float(np.asarray(given.values).ravel()[0])
    return np.full(known.trace.labels(node.outputs[0].name, axis).shape, fill)


LAYERS: dict[str, Callable[[KnownConstants, gs.Node, int], Values | None]] = {
    "BatchNormalization": _batch_norm,
    "ConstantOfShape": _filled,
    "Conv": _contraction,
    "ConvTranspose": _contraction,
    "Einsum": _einsum,
    "Expand": _repeated,
    "Gemm": _contraction,
    "GroupNormalization": _norm,
    "InstanceNormalization": _norm,
    "MatMul": _contraction,
    "Pad": _pad,
}
