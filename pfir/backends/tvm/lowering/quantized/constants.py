"""Constants that a model keeps as integers: floats to most kernels, integers with their scales to those that take them.

A DequantizeLinear of a constant, and a Transpose behind it, are computed before the model runs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE
from pfir.ir.edit import array, is_op, operand, sweep, to_constant
from pfir.ir.weights import numbers


@dataclass(frozen=True)
class QuantizedConstant:
    """A constant that is `scale * (integers - zero_point)`.

    Args:
        integers: Of eight bits, or of 32 in a bias.
        scale: float32, a scalar or one number for each place along `axis`.
        zero_point: int32, the same.
        axis: Along which the scales lie.
    """

    integers: np.ndarray
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int = 0

    def turned(self, perm: list[int]) -> QuantizedConstant:
        """With its axes in another order."""
        return replace(self, integers=self.integers.transpose(perm), axis=perm.index(self.axis))


def fold_quantized(graph: gs.Graph) -> dict[str, QuantizedConstant]:
    """Make float constants of all that stand for integers; what those are, by tensor.

    Nodes that only make them leave the graph.
    """
    found: dict[str, QuantizedConstant] = {}
    kept = {tensor.name for tensor in graph.outputs}
    for node in list(graph.nodes):
        if not node.outputs or node.outputs[0].name in kept:
            continue
        tensor, constant = node.outputs[0], _quantized(node, found)
        values = None if constant is None else numbers(tensor)
        if values is not None:
            found[tensor.name] = constant
            to_constant(tensor, np.ascontiguousarray(values))
    sweep(graph)
    return found


def _quantized(node: gs.Node, known: dict[str, QuantizedConstant]) -> QuantizedConstant | None:
    """What a node makes of integers that are constant; None where it does no such thing."""
    if is_op(node, "Transpose") and node.inputs[0].name in known:
        constant = known[node.inputs[0].name]
        axes = range(constant.integers.ndim)
        return constant.turned([int(axis) for axis in node.attrs.get("perm", reversed(axes))])
    if not is_op(node, DEQUANTIZE) or array(node.inputs[0]) is None or array(node.inputs[1]) is None:
        return None
    integers, scale, zero = array(node.inputs[0]), array(node.inputs[1]), operand(node, 2)
    points = np.zeros(scale.shape, np.int32) if zero is None else np.asarray(array(zero)).astype(np.int32)
    axis = int(node.attrs.get("axis", 1)) % integers.ndim if max(scale.size, points.size) > 1 else 0
    return QuantizedConstant(_unpacked(integers), _flat(scale), _flat(points), axis)


def _unpacked(integers: np.ndarray) -> np.ndarray:
    """Integers of fewer than eight bits as such of eight."""
    if integers.dtype.kind in "iu":
        return np.asarray(integers)
    return integers.astype(np.uint8 if "uint" in integers.dtype.name else np.int8)


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(()) if values.size == 1 else values
