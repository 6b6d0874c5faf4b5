"""What a quantized layer is to give: the float layer's output, or the sum that the output goes into."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op
from pfir.ir.model import Model


@dataclass(frozen=True)
class Goal:
    """A tensor of the float model that a layer of the quantized one is to meet.

    Args:
        wanted: The tensor.
        beside: The tensor of the quantized model that is added to the layer's output first; None for none.
        bounds: Least and largest value that the float model lets through behind `wanted` (Relu, Clip).
    """

    wanted: str
    beside: str | None
    bounds: tuple[float, float]


def goal_of(node: gs.Node, reference: Model, open_layers: Collection[str]) -> Goal:
    """The goal of a layer of the quantized model.

    It is the sum with a shortcut where the output is only added to one, so that the layer makes up for what the
    shortcut lost; but only once no layer of the shortcut is open.

    Args:
        node: The quantized layer's.
        reference: The float model; nodes have the same names.
        open_layers: Names of the layers that are not rounded yet.
    """
    result = next(n for n in reference.nodes() if n.name == node.name).outputs[0]
    total = _sum_of(result)
    if total is not None:
        ours = _reader(node.outputs[0], total.name)
        place = next(i for i, t in enumerate(total.inputs) if t is not result)
        if ours is not None and not _made_by(ours.inputs[place]) & set(open_layers):
            return Goal(total.outputs[0].name, ours.inputs[place].name, _bounds_behind(total.outputs[0]))
    return Goal(result.name, None, _bounds_behind(result))


def _sum_of(result: gs.Tensor) -> gs.Node | None:
    """The Add with another tensor of the same shape that alone reads this one."""
    reader = result.outputs[0] if len(result.outputs) == 1 else None
    if reader is None or not is_op(reader, "Add"):
        return None
    other = next((t for t in reader.inputs if t is not result), None)
    same = other is not None and result.shape is not None and list(result.shape) == list(other.shape or ())
    return reader if same and not isinstance(other, gs.Constant) else None


def _reader(tensor: gs.Tensor, name: str) -> gs.Node | None:
    """The node of this name that reads a tensor, perhaps as eight bits."""
    while len(tensor.outputs) == 1 and is_op(tensor.outputs[0], "Clip", "QuantizeLinear", "DequantizeLinear"):
        tensor = tensor.outputs[0].outputs[0]
    return next((node for node in tensor.outputs if node.name == name), None)


def _made_by(tensor: gs.Tensor) -> set[str]:
    """The names of the nodes that a tensor depends on."""
    found: dict[int, gs.Node] = {}
    waiting = list(tensor.inputs)
    while waiting:
        node = waiting.pop()
        if id(node) not in found:
            found[id(node)] = node
            waiting += [before for t in node.inputs for before in t.inputs]
    return {node.name for node in found.values()}


def _bounds_behind(result: gs.Tensor) -> tuple[float, float]:
    """Least and largest value that what alone reads this tensor lets through, where that is a Relu or a Clip."""
    reader = result.outputs[0] if len(result.outputs) == 1 else None
    if reader is not None and is_op(reader, "Relu"):
        return 0.0, math.inf
    if reader is None or not is_op(reader, "Clip") or any(array(t) is None for t in reader.inputs[1:] if t.name):
        return -math.inf, math.inf
    given = [array(t) if t.name else None for t in reader.inputs[1:]] + [None, None]
    least = reader.attrs.get("min", -math.inf) if given[0] is None else float(given[0])
    return least, reader.attrs.get("max", math.inf) if given[1] is None else float(given[1])
