"""The numbers of weights, also of those behind nodes that only turn, convert, dequantize or look them up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.codebooks import codebook_weight
from pfir.ir.coupling.bodies import every_graph, tensors_of
from pfir.ir.coupling.zero_points import point_input, scale_input
from pfir.ir.edit import array, is_op
from pfir.ir.model import Model
from pfir.ir.onnx_io.tensors import numpy_dtype
from pfir.ir.operators.table import operator_of


def numbers(tensor: gs.Tensor | None) -> np.ndarray | None:
    """What a weight is, float or integer; None of what depends on inputs or is computed in another way."""
    way = []
    while tensor is not None and tensor.inputs and is_op(tensor.inputs[0], *_STEPS):
        way.append(tensor.inputs[0])
        tensor = tensor.inputs[0].inputs[0]
    values = _given(tensor)
    for node in reversed(way):
        values = None if values is None else _STEPS[node.op](node, values)
    return values


def every_constant(model: Model) -> dict[str, gs.Constant]:
    """The constants of the main graph and of all bodies, by name; of two with one name, the outer one."""
    found: dict[str, gs.Constant] = {}
    for tensor in (t for graph in every_graph(model.graph) for t in tensors_of(graph)):
        if isinstance(tensor, gs.Constant):
            found.setdefault(tensor.name, tensor)
    return found


def meant(tensor: gs.Constant) -> np.ndarray | None:
    """What a constant's numbers stand for: of integers, their distance from zero by the scale that their reader gives.

    None where its readers do not agree, or it is not known how they take it.
    """
    values = np.asarray(tensor.values)
    if values.dtype.kind == "f":
        return values
    if values.dtype.kind not in "iu":
        return None
    readings = [_reading(n, i, values) for n in tensor.outputs for i, t in enumerate(n.inputs) if t is tensor]
    first = readings[0] if readings else None
    agreed = first is not None and all(r is not None and np.array_equal(r, first) for r in readings[1:])
    return first if agreed else None


def _reading(node: gs.Node, i: int, values: np.ndarray) -> np.ndarray | None:
    zero, place = zero_of(node, i, values.shape), scale_input(node, i)
    if zero is None:
        return None
    scale = None if place is None else array(node.inputs[place])
    scale = np.ones(()) if scale is None else _along(scale, values.shape, _channel_axis(node))
    return None if scale is None else (values - zero) * scale


def _given(tensor: gs.Tensor | None) -> np.ndarray | None:
    """The values of an initializer, of a Constant node or of a weight out of a codebook."""
    if tensor is not None and tensor.inputs and is_op(tensor.inputs[0], "Constant"):
        tensor = tensor.inputs[0].attrs.get("value")
    found = array(tensor)
    if found is None and (coded := codebook_weight(tensor)) is not None:
        return coded.values
    return None if found is None else np.asarray(found)


def _turned(node: gs.Node, values: np.ndarray) -> np.ndarray:
    return values.transpose(node.attrs.get("perm"))


def _converted(node: gs.Node, values: np.ndarray) -> np.ndarray | None:
    to = node.attrs.get("to")
    kind = numpy_dtype(to) if isinstance(to, int) else np.dtype(to)
    return values.astype(kind) if kind.kind == "f" else None


def _dequantized(node: gs.Node, values: np.ndarray) -> np.ndarray | None:
    scale, found = array(node.inputs[1]), _reading(node, 0, values)
    return None if scale is None or found is None else found.astype(scale.dtype)


def zero_of(node: gs.Node, i: int, shape: tuple[int, ...]) -> np.ndarray | None:
    """The integers that stand for zero in input i of a node, shaped to be compared with it; None if not known."""
    if is_op(node, "Cast", "Identity"):
        return np.zeros((), np.int64)
    place = point_input(node, i)
    if place is None or place >= len(node.inputs) or node.inputs[place].is_empty():
        return None if place is None else np.zeros((), np.int64)
    found = array(node.inputs[place])
    return None if found is None else _along(found.astype(np.int64), shape, _channel_axis(node))


def _channel_axis(node: gs.Node) -> int:
    """Along which axis of its weights a node has scales and zero points."""
    if node.op == "DequantizeLinear":
        return node.attrs.get("axis", 1)
    operator = operator_of(node)
    weight = None if operator is None else operator.weight
    if weight is None:
        return -1
    return weight.inputs if weight.turned_by and node.attrs.get(weight.turned_by, 0) else weight.outputs


def _along(vector: np.ndarray, shape: tuple[int, ...], axis: int) -> np.ndarray | None:
    """One number, or one for each position of an axis, as an array that broadcasts; None of numbers block by block."""
    if vector.size == 1:
        return vector.reshape(())
    if vector.ndim != 1 or not -len(shape) <= axis < len(shape) or shape[axis] != vector.size:
        return None
    wanted = [1] * len(shape)
    wanted[axis] = -1
    return vector.reshape(wanted)


_STEPS: dict[str, Callable[[gs.Node, np.ndarray], np.ndarray | None]] = {
    "Cast": _converted,
    "DequantizeLinear": _dequantized,
    "Identity": lambda node, values: values,
    "Transpose": _turned,
}
