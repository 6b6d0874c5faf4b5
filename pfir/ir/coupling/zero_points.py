"""Which integer stands for zero in a quantized tensor: what it was made with, and what its reader takes it for."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.operators.records import Integers
from pfir.ir.operators.table import operator_of

Point = int | str | None
"""The integer, or the name of the tensor that holds it; None if it is not known, or not the same everywhere."""

# Positions go elsewhere, or a maximum of equal numbers is taken.
_MOVES = frozenset(
    (
        *("DepthToSpace", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth"),
        *("Split", "Squeeze", "Transpose", "Unsqueeze"),
    )
)


def point_input(node: gs.Node, i: int) -> int | None:
    """The input that holds the zero point of the integers in input i; None if this operator has none."""
    found = _read(node, i)
    return None if found is None else found.zero_point


def scale_input(node: gs.Node, i: int) -> int | None:
    """The input that holds the scale of the integers in input i; None if this operator has none."""
    found = _read(node, i)
    return None if found is None else found.scale


def _read(node: gs.Node, i: int) -> Integers | None:
    operator = operator_of(node)
    return None if operator is None else operator.integers.get(i)


def made_with(tensor: gs.Tensor) -> Point:
    """The zero point that integers were made with, on every way from the nodes that quantized them."""
    points, waiting, seen = set(), [tensor], {tensor.name}
    while waiting:
        made = waiting.pop().inputs
        if made and (made[0].op == "Concat" or made[0].op in _MOVES):
            sources = made[0].inputs if made[0].op == "Concat" else made[0].inputs[:1]
            waiting.extend(t for t in sources if t.name not in seen)
            seen.update(t.name for t in sources)
            continue
        found = _made_by(made[0]) if made else None
        if found is None:
            return None
        points.add(found)
    return points.pop() if len(points) == 1 else None


def _made_by(node: gs.Node) -> Point:
    if node.op == "DynamicQuantizeLinear":
        return node.outputs[2].name
    operator = operator_of(node)
    if operator is None or operator.result is None:
        return None
    place = operator.result.zero_point
    # Only of QuantizeLinear the zero point may be left out; a QGemm without one makes floats.
    return point(node, place) if place < len(node.inputs) or node.op == "QuantizeLinear" else None


def read_with(node: gs.Node, i: int) -> Point:
    """The zero point that a node takes from the integers of its input i."""
    place = point_input(node, i)
    return None if place is None else point(node, place)


def point(node: gs.Node, place: int) -> Point:
    """What this input says; without it, zero."""
    if place >= len(node.inputs) or node.inputs[place].is_empty():
        return 0
    tensor = node.inputs[place]
    if not isinstance(tensor, gs.Constant):
        return tensor.name
    if np.dtype(tensor.dtype).kind not in "iu":
        return None
    found = np.unique(tensor.values)
    return int(found[0]) if found.size == 1 else None


def zero_stays_zero(node: gs.Node, i: int) -> bool:
    """Whether what was zero before it was quantized counts as zero for the node that reads it as input i."""
    made = made_with(node.inputs[i])
    return made is not None and made == read_with(node, i)
