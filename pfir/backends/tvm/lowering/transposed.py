"""Transposed convolutions as ordinary ones: of the spread input, or of the input itself to all phases of the result.

With strides s, output position y is tap s * a + (y + pad) % s of input position (y + pad) // s - a. So each of the
s_h * s_w phases is a convolution of stride 1 over one in s taps of the kernel, all of them are one convolution with as
many times the channels, and nothing is multiplied with zeros that were spread.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Anchor, Values, array_of, bias_of, shape_of, weights_of
from pfir.backends.tvm.lowering.convolutions import Layer, convolution
from pfir.backends.tvm.lowering.form import KernelSpec, channels_last
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.products import product
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule.tiles import plain_tile
from pfir.ir.costs.tails import tail_of
from pfir.ir.operators.windows import each_of
from pfir.workload import Workload


@dataclass(frozen=True)
class Phases:
    """The convolution that computes all phases, for kernels of no dilation in one group.

    Args:
        strides: Of the transposed convolution.
        pads: Those at the begin of its output.
        kernel: Its own.
        out: Rows and columns of its output.
    """

    strides: tuple[int, int]
    pads: tuple[int, int]
    kernel: tuple[int, int]
    out: tuple[int, int]

    @property
    def taps(self) -> tuple[int, int]:
        """Rows and columns of its kernel."""
        return tuple(-(-k // s) for k, s in zip(self.kernel, self.strides, strict=True))

    @property
    def first(self) -> tuple[int, int]:
        """The first position of each phase that the output shows."""
        return tuple(p // s for p, s in zip(self.pads, self.strides, strict=True))

    @property
    def sizes(self) -> tuple[int, int]:
        """Positions of each phase that the output shows."""
        ends = zip(self.out, self.pads, self.strides, self.first, strict=True)
        return tuple((size - 1 + p) // s - f + 1 for size, p, s, f in ends)

    @property
    def begin(self) -> tuple[int, int]:
        """Zeros before its input."""
        return tuple(t - 1 - f for t, f in zip(self.taps, self.first, strict=True))

    @property
    def count(self) -> int:
        """How many there are."""
        return self.strides[0] * self.strides[1]

    def weights(self, weight: np.ndarray) -> np.ndarray:
        """`[I, O, KH, KW]` -> `[s_h * s_w * O, I, *taps]`, zeros where the strides do not divide the kernel."""
        (sh, sw), (th, tw) = self.strides, self.taps
        padded = np.pad(weight, ((0, 0), (0, 0), (0, th * sh - weight.shape[2]), (0, tw * sw - weight.shape[3])))
        apart = padded.reshape(*weight.shape[:2], th, sh, tw, sw)[:, :, ::-1, :, ::-1]
        return apart.transpose(3, 5, 1, 0, 2, 4).reshape(sh * sw * weight.shape[1], weight.shape[0], th, tw)


def turned(weight: np.ndarray, groups: int) -> np.ndarray:
    """`[I, O / groups, KH, KW]` -> `[O, I / groups, KH, KW]`, the kernel turned around."""
    inner, out, *kernel = weight.shape
    grouped = weight[:, :, ::-1, ::-1].reshape(groups, inner // groups, out, *kernel)
    return grouped.transpose(0, 2, 1, 3, 4).reshape(-1, inner // groups, *kernel)


def conv_transpose(program: Program, group: Group, value: Values) -> Anchor | None:
    """A convolution to the phases of the result, else one of the spread input with the weights turned around."""
    node = group.head
    weight, bias = weights_of(node.inputs[1]), bias_of(node, 2)
    shape, out = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if not _is_covered(node) or bias is False:
        return None
    strides, dilations = each_of(node, "strides", 2), each_of(node, "dilations", 2)
    groups, kernel, pads = int(node.attrs.get("group", 1)), weight.shape[2:], _transposed_pads(node)
    data, phases = value(node.inputs[0]), phases_of(node)
    if phases is not None:
        return _phases(program, phases, Layer(data, weight, bias))
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
        after=tail_of(group.nodes).kind,
        dtype=program.dtype,
    )
    return convolution(program, workload, Layer(data, turned(weight, groups), bias))


def phases_of(node: gs.Node) -> Phases | None:
    """The convolution to all phases of a transposed one; None where the zeros between its values are convolved."""
    if not _is_covered(node) or int(node.attrs.get("group", 1)) != 1:
        return None
    strides, kernel = each_of(node, "strides", 2), shape_of(node.inputs[1])[2:]
    pads = _transposed_pads(node)
    within = all(p < k for p, k in zip(pads, kernel, strict=True))
    if max(strides) == 1 or each_of(node, "dilations", 2) != (1, 1) or not within:
        return None
    return Phases(strides, pads, kernel, shape_of(node.outputs[0])[2:])


def placed(program: Program, phases: Phases, made: Value, channels: int, bias: np.ndarray | None) -> Anchor:
    """What puts each value of all phases at its place."""
    shifts = tuple(p - f * s for p, f, s in zip(phases.pads, phases.first, phases.strides, strict=True))
    attributes = {"kind": "phases", "strides": phases.strides, "shifts": shifts}
    shown = channels_last((made.form.shape[0], channels, *phases.out))
    return Anchor("move", attributes, [made], shown, plain_tile(program.target), bias)


def _is_covered(node: gs.Node) -> bool:
    """Whether it has constant weights and two axes of positions."""
    constant = array_of(node.inputs[1]) is not None
    return constant and len(node.inputs[0].shape) == 4 and node.attrs.get("auto_pad", "NOTSET") == "NOTSET"


def _phases(program: Program, phases: Phases, layer: Layer) -> Anchor:
    """All phases as channels of one convolution, then each value at its place."""
    data, (batch, *_), out = layer.data, layer.data.form.shape, layer.weight.shape[1]
    weight = phases.weights(layer.weight)
    workload = Workload(
        "conv",
        data.form.shape,
        (batch, len(weight), *phases.sizes),
        data.form.order,
        phases.taps,
        pads=phases.begin,
        dtype=program.dtype,
    )
    if phases.taps == (1, 1) and phases.sizes == data.form.shape[2:]:
        inner = product(program, data, weight[:, :, 0, 0].T, None, channels_last(workload.out), workload.after)
    else:
        inner = convolution(program, workload, Layer(data, weight))
    return placed(program, phases, _made(program, inner), out, layer.bias)


def _made(program: Program, anchor: Anchor) -> Value:
    """The result of a kernel with nothing behind what heads it."""
    spec = KernelSpec(
        anchor.family,
        tuple(sorted(anchor.attributes.items())),
        tuple(operand.form for operand in anchor.operands),
        len(anchor.operands),
        (),
        replace(anchor.out, dtype=program.dtype),
        program.dtype,
    )
    return program.call(spec, anchor.tile, anchor.operands)


def _transposed_pads(node: gs.Node) -> tuple[int, ...]:
    """The begin pads; `output_shape` decides them where it is given."""
    shape, kernel = shape_of(node.inputs[0]), shape_of(node.inputs[1])[2:]
    strides, dilations = each_of(node, "strides", 2), each_of(node, "dilations", 2)
    wanted = node.attrs.get("output_shape")
    if not wanted:
        return tuple(int(p) for p in node.attrs.get("pads", [0] * 4))[:2]
    extra = each_of(node, "output_padding", 2) if node.attrs.get("output_padding") else (0, 0)
    total = [
        s * (size - 1) + e + (k - 1) * d + 1 - int(w)
        for s, size, e, k, d, w in zip(strides, shape[2:], extra, kernel, dilations, wanted[-2:], strict=True)
    ]
    return tuple(max(0, t) - max(0, t) // 2 for t in total)
