"""What the kernel that a node begins computes, beside its sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.costs.chains import WIDE, integer_weight, is_wide
from pfir.ir.costs.plans import CONVOLUTIONS, Geometry
from pfir.ir.costs.symbolic_cost import is_sized, weight_of
from pfir.ir.costs.zeros import Zeros, zeros_of
from pfir.ir.edit import is_op
from pfir.ir.operators.elementwise import N_ARY, UNARY
from pfir.ir.operators.records import Form
from pfir.ir.operators.table import has_form
from pfir.ir.operators.windows import each_of, pads_of

_NORMS = ("GroupNormalization", "InstanceNormalization", "LayerNormalization", "LpNormalization")
_REDUCTIONS = {"Average": "mean", "Mean": "mean", "Max": "max", "Min": "min", "DynamicQuantizeLinear": "range"}
_MATRIX = 2  # axes
_WORK = {"dense": "product", "conv3x3": "conv", "depthwise": "conv", "grouped": "conv"}


def geometry_of(node: gs.Node, family: str) -> Geometry:
    """The geometry of a node whose kernel is of this family."""
    if family in CONVOLUTIONS and is_sized(node.inputs[0]):
        return _convolution(node)
    if family == "pool" and is_sized(node.inputs[0]) and "kernel_shape" in node.attrs:
        found = _window("pool", node, tuple(int(k) for k in node.attrs["kernel_shape"]))
        return replace(found, kind="max" if node.op.startswith("Max") else "average")
    if is_op(node, "Softmax", "LogSoftmax"):
        return Geometry("softmax")
    if is_op(node, *_NORMS):
        return Geometry("norm")
    if family == "reduce":
        return Geometry(family, kind=next((kind for name, kind in _REDUCTIONS.items() if name in node.op), "sum"))
    if family == "move":
        parts = len(node.inputs) if node.op == "Concat" else 0
        return Geometry("transpose" if is_op(node, "Transpose") else family, kind=node.op, parts=parts)
    return Geometry(_WORK.get(family, family), zeros=_zeros(node) if family == "dense" else None)


def over_integers(node: gs.Node, geometry: Geometry) -> Geometry:
    """The geometry of a layer that sums integers, with what its constant weights tell: whether they are wide, and
    their pattern of zeros."""
    weight = integer_weight(node)
    if weight is None:
        return geometry
    kind = WIDE if is_wide(weight) else geometry.kind
    groups, *_, taps = weight.shape
    matrix = groups == taps == 1 and (geometry.work == "product" or geometry.is_pointwise)
    return replace(geometry, kind=kind, zeros=zeros_of(weight[0, :, :, 0].T.astype(np.int8)) if matrix else None)


def _convolution(node: gs.Node) -> Geometry:
    kernel = tuple(int(size) for size in weight_of(node).shape[2:])
    if has_form(node, Form.CONVOLUTION):
        found = _window("conv", node, kernel)
        return replace(found, zeros=_zeros(node)) if found.is_pointwise else found
    # As the spread input is convolved: zeros between its values, the kernel turned around.
    rank = len(kernel)
    dilations, pads = each_of(node, "dilations", rank), tuple(int(p) for p in node.attrs.get("pads", [0] * 2 * rank))
    begin = tuple((k - 1) * d - p for k, d, p in zip(kernel, dilations, pads, strict=False))
    return Geometry("conv", kernel, (1,) * rank, dilations, begin, each_of(node, "strides", rank), _is_image(node))


def _zeros(node: gs.Node) -> Zeros | None:
    """The pattern of zeros of a constant weight, as the matrix that multiplies rows of inputs."""
    weight = weight_of(node)
    if not isinstance(weight, gs.Constant) or weight.dtype != np.float32 or len(weight.shape) < _MATRIX:
        return None
    if weight.values.size != np.prod(weight.shape[:_MATRIX]):
        return None  # a stack of matrices
    matrix = weight.values.reshape(weight.shape[:_MATRIX])
    turned = has_form(node, Form.CONVOLUTION) or node.attrs.get("transB", 0)
    return zeros_of(matrix.T if turned else matrix)


def _window(work: str, node: gs.Node, kernel: tuple[int, ...]) -> Geometry:
    rank, sizes = len(kernel), tuple(node.inputs[0].shape[2:])
    pads = pads_of(node, sizes, kernel)[:rank] if len(sizes) == rank else (0,) * rank
    strides, dilations = each_of(node, "strides", rank), each_of(node, "dilations", rank)
    return Geometry(work, kernel, strides, dilations, pads, (1,) * rank, _is_image(node))


def _is_image(node: gs.Node) -> bool:
    """Whether it reads an input of the model, or what was made of that value by value."""
    tensor = node.inputs[0]
    while tensor.inputs and is_op(tensor.inputs[0], *UNARY, *N_ARY) and tensor.inputs[0].inputs:
        tensor = tensor.inputs[0].inputs[0]
    return isinstance(tensor, gs.Variable) and not tensor.inputs and len(tensor.shape or ()) > 2
