"""Layers without a gradient in ONNX Runtime, or with one that ignores an attribute, in terms of those that have one."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.operators.table import operator_of
from pfir.train.canonical.building import Builder, known_shape
from pfir.train.canonical.padding import explicit_pads


def conv(graph: gs.Graph, node: gs.Node) -> bool:  # noqa: ARG001
    """Conv with auto_pad -> with explicit pads."""
    shape, weight = known_shape(node.inputs[0]), known_shape(node.inputs[1])
    if shape is not None and weight is not None:
        explicit_pads(node, shape[2:], weight[2:])
    return False


def instance_norm(graph: gs.Graph, node: gs.Node) -> bool:
    """InstanceNormalization -> (x - mean) / sqrt(variance + epsilon) scale + bias, over the positions of a channel."""
    shape = known_shape(node.inputs[0])
    if shape is None:
        return False
    b = Builder(graph, node)
    x, scale, bias = node.inputs
    normal = _normalised(b, x, list(range(2, len(shape))), node.attrs.get("epsilon", 1e-5))
    column = b.constant([-1] + [1] * (len(shape) - 2), np.int64)
    return b.result("Add", b.op("Mul", normal, b.op("Reshape", scale, column)), b.op("Reshape", bias, column))


def layer_norm(graph: gs.Graph, node: gs.Node) -> bool:  # noqa: ARG001
    """LayerNormalization declares the mean and deviation that its gradient reads."""
    for name in ("mean", "deviation")[len(node.outputs) - 1 :]:
        node.outputs.append(gs.Variable(f"{node.outputs[0].name}_{name}", np.float32))
    return False


def depth_to_space(graph: gs.Graph, node: gs.Node) -> bool:
    """DepthToSpace -> Reshape, Transpose, Reshape."""
    shape = known_shape(node.inputs[0])
    if shape is None:
        return False
    n, c, h, w = shape
    s = node.attrs["blocksize"]
    if node.attrs.get("mode", "DCR") == "DCR":
        return _permuted(graph, node, [n, s, s, c // s**2, h, w], [0, 3, 4, 1, 5, 2], [n, c // s**2, h * s, w * s])
    return _permuted(graph, node, [n, c // s**2, s, s, h, w], [0, 1, 4, 2, 5, 3], [n, c // s**2, h * s, w * s])


def space_to_depth(graph: gs.Graph, node: gs.Node) -> bool:
    """SpaceToDepth -> Reshape, Transpose, Reshape."""
    shape = known_shape(node.inputs[0])
    if shape is None:
        return False
    n, c, h, w = shape
    s = node.attrs["blocksize"]
    return _permuted(graph, node, [n, c, h // s, s, w // s, s], [0, 3, 5, 1, 2, 4], [n, c * s**2, h // s, w // s])


def conv_transpose(graph: gs.Graph, node: gs.Node) -> bool:
    """ConvTranspose -> zeros between the inputs, then Conv with the kernel turned around."""
    plan = TransposePlan.of(node)
    if plan is None:
        return False
    b = Builder(graph, node)
    spread = _spread(b, node.inputs[0], plan)
    inputs = [spread, _turned_kernel(b, node.inputs[1], plan), *node.inputs[2:3]]
    sizes = {"kernel_shape": plan.kernel, "pads": plan.pads, "dilations": plan.dilations}
    return b.result("Conv", *inputs, group=plan.group, **sizes)


def recurrent(graph: gs.Graph, node: gs.Node) -> bool:  # noqa: ARG001
    """LSTM and GRU get explicit initial states of zero."""
    shape, recurrence = known_shape(node.inputs[0]), known_shape(node.inputs[2])
    known = operator_of(node)
    cell = None if known is None else known.cell
    if cell is None or shape is None or recurrence is None or node.attrs.get("layout", 0):
        return False
    size = (recurrence[0], shape[1], recurrence[2])
    for at in cell.states:
        while len(node.inputs) <= at:
            node.inputs.append(gs.Variable.empty())
        if not node.inputs[at].name:
            node.inputs[at] = gs.Constant(f"{node.name}_state{at}", np.zeros(size, np.float32))
    return False


class TransposePlan:
    """The sizes of a ConvTranspose, and of the convolution that equals it.

    Args:
        shape: Of the input, `[N, A, *d]`.
        weight: Shape of the weight, `[A, B / g, *k]`.
        node: The ConvTranspose.

    Attributes:
        cuts: Positions to take off before and behind each axis of the whole result.
        extra: Positions that the whole result has more behind each axis (`output_padding`).
        pads: Of the convolution.
    """

    def __init__(self, shape: tuple[int, ...], weight: tuple[int, ...], node: gs.Node) -> None:
        rank = len(shape) - 2
        attrs = node.attrs
        self.shape, self.weight, self.kernel, self.group = shape, weight, list(weight[2:]), attrs.get("group", 1)
        self.strides = list(attrs.get("strides", [1] * rank))
        self.dilations = list(attrs.get("dilations", [1] * rank))
        self.extra = extra = list(attrs.get("output_padding", [0] * rank))
        reach = [d * (k - 1) for d, k in zip(self.dilations, self.kernel, strict=True)]
        full = [(s - 1) * t + r + 1 for s, t, r in zip(shape[2:], self.strides, reach, strict=True)]
        cut = list(attrs.get("pads", [0] * 2 * rank))
        mode = attrs.get("auto_pad", "NOTSET")
        wanted = attrs.get("output_shape")
        if mode in ("SAME_UPPER", "SAME_LOWER") and wanted is None:
            wanted = [s * t for s, t in zip(shape[2:], self.strides, strict=True)]
        if wanted is not None:
            totals = [f + e - w for f, e, w in zip(full, extra, list(wanted)[-rank:], strict=True)]
            small, large = [t // 2 for t in totals], [t - t // 2 for t in totals]
            cut = small + large if mode == "SAME_UPPER" else large + small
        self.cuts = list(zip(cut[:rank], cut[rank:], strict=True))
        self.pads = [r - c for r, c in zip(reach, cut[:rank], strict=True)]
        self.pads += [r - c + e for r, c, e in zip(reach, cut[rank:], extra, strict=True)]

    @classmethod
    def of(cls, node: gs.Node) -> TransposePlan | None:
        shape, weight = known_shape(node.inputs[0]), known_shape(node.inputs[1])
        if shape is None or weight is None:
            return None
        plan = cls(shape, weight, node)
        return plan if min(plan.pads) >= 0 else None


def _spread(b: Builder, x: gs.Tensor, plan: TransposePlan) -> gs.Tensor:
    """`[N, C, H, W]` -> `[N, C, (H - 1) s + 1, (W - 1) s + 1]` with s - 1 zeros between neighbours."""
    if all(s == 1 for s in plan.strides):
        return x
    lead, sizes, steps = list(plan.shape[:2]), plan.shape[2:], plan.strides
    paired = lead + [n for size in sizes for n in (size, 1)]
    after = [0, 0] + [n for step in steps for n in (0, step - 1)]
    wide = lead + [size * step for size, step in zip(sizes, steps, strict=True)]
    x = b.op("Reshape", x, b.constant(paired, np.int64))
    x = b.op("Pad", x, b.constant([0] * len(after) + after, np.int64))
    x = b.op("Reshape", x, b.constant(wide, np.int64))
    ends = [(size - 1) * step + 1 for size, step in zip(sizes, steps, strict=True)]
    axes = list(range(2, 2 + len(ends)))
    return b.op("Slice", x, *(b.constant(v, np.int64) for v in ([0] * len(ends), ends, axes)))


def _turned_kernel(b: Builder, weight: gs.Tensor, plan: TransposePlan) -> gs.Tensor:
    """`[C, B / g, *k]` -> `[B, C / g, *k]` with the kernel reversed along each axis."""
    inputs, outputs, group = plan.weight[0], plan.weight[1], plan.group
    kernel = plan.kernel
    rest = list(range(3, 3 + len(kernel)))
    x = b.op("Reshape", weight, b.constant([group, inputs // group, outputs, *kernel], np.int64))
    x = b.op("Transpose", x, perm=[0, 2, 1, *rest])
    x = b.op("Reshape", x, b.constant([group * outputs, inputs // group, *kernel], np.int64))
    for axis, size in enumerate(kernel, start=2):
        x = b.op("Gather", x, b.constant(np.arange(size)[::-1], np.int64), axis=axis)
    return x


def _normalised(b: Builder, x: gs.Tensor, axes: list[int], epsilon: float) -> gs.Tensor:
    centred = b.op("Sub", x, b.mean(x, axes))
    variance = b.mean(b.op("Mul", centred, centred), axes)
    return b.op("Div", centred, b.op("Sqrt", b.op("Add", variance, b.constant(epsilon))))


def _permuted(graph: gs.Graph, node: gs.Node, split: list[int], order: list[int], joined: list[int]) -> bool:
    b = Builder(graph, node)
    x = b.op("Reshape", node.inputs[0], b.constant(split, np.int64))
    return b.result("Reshape", b.op("Transpose", x, perm=order), b.constant(joined, np.int64))


REWRITES = {
    "Conv": conv,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "ConvTranspose": conv_transpose,
    "LSTM": recurrent,
    "GRU": recurrent,
}
