"""Gradients of depthwise convolutions in a few vectorised operators, in place of ONNX Runtime's loop over groups."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import onnx
from onnx import helper, numpy_helper

_END = 2**31 - 1


def learnt_gradients(
    node: onnx.NodeProto, kernel: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> list[onnx.NodeProto]:
    """Nodes in place of a ConvGrad of stride 1 that compute the gradients of its weights and its bias where it does.

    Args:
        node: Of a convolution with as many groups as channels, in and out.
        kernel: Two sizes; weights are `[C, 1, *kernel]`.
        pads: Two before, two behind.
    """
    _, weight, bias = (*node.output, "", "")[:3]
    nodes = _weight_gradient(node, kernel, pads, dilations) if weight else []
    if not bias:
        return nodes
    axes = _constant(f"{bias}_but_channels", np.array([0, 2, 3], np.int64))
    total = helper.make_node("ReduceSum", [node.input[0], axes.output[0]], [bias], f"{bias}_sum", keepdims=0)
    return [*nodes, axes, total]


def _weight_gradient(
    node: onnx.NodeProto, kernel: Sequence[int], pads: Sequence[int], dilations: Sequence[int]
) -> list[onnx.NodeProto]:
    """Nodes that compute the gradient of the weights.

    For each place in the kernel it is the sum over samples and positions of the output's gradient times the input that
    this place meets: the padded input, moved.
    """
    gradient, x, _ = node.input
    output = node.output[1]
    padded = f"{output}_padded"
    around = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
    axes = _constant(f"{output}_but_channels", np.array([0, 2, 3], np.int64))
    nodes = [*_made("Pad", [x], [around], padded), axes]
    places = []
    for at in product(*map(range, kernel)):
        place = f"{output}_{at[0]}_{at[1]}"
        starts = [d * i for d, i in zip(dilations, at, strict=True)]
        ends = [-d * (k - 1 - i) or _END for d, k, i in zip(dilations, kernel, at, strict=True)]
        nodes += _made("Slice", [padded], np.array([starts, ends, [2, 3]], np.int64), f"{place}_met")
        nodes.append(helper.make_node("Mul", [gradient, f"{place}_met"], [f"{place}_each"], f"{place}_product"))
        nodes.append(helper.make_node("ReduceSum", [f"{place}_each", axes.output[0]], [place], f"{place}_sum"))
        places.append(place)
    nodes.append(helper.make_node("Concat", places, [f"{output}_places"], f"{output}_join", axis=0))
    turned = f"{output}_turned"
    nodes.append(helper.make_node("Transpose", [f"{output}_places"], [turned], f"{output}_turn", perm=[1, 2, 0, 3]))
    return [*nodes, *_made("Reshape", [turned], [np.array([0, 1, *kernel], np.int64)], output)]


def _made(op: str, inputs: list[str], numbers: Sequence[np.ndarray], output: str) -> list[onnx.NodeProto]:
    """A node whose further inputs are constants, behind these."""
    names = [f"{output}_number_{i}" for i in range(len(numbers))]
    constants = [_constant(name, x) for name, x in zip(names, numbers, strict=True)]
    return [*constants, helper.make_node(op, [*inputs, *names], [output], f"{output}_{op}")]


def _constant(name: str, x: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], name, value=numpy_helper.from_array(x, name))
