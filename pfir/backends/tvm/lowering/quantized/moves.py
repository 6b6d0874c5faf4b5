"""Operators that only move integers, or pick the largest ones: what stands for a number stands for it behind them, too.

float(x) -> move -> y    becomes    x -> move -> float(y)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.anchor import Anchor, Values
from pfir.backends.tvm.lowering.form import Quantization
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.moves import MOVERS, mover
from pfir.backends.tvm.lowering.pools import pool, reduce
from pfir.backends.tvm.lowering.quantized.nodes import DEQUANTIZE, EIGHT_BITS, quantization_of, type_of
from pfir.backends.tvm.lowering.values import Program, Value

_LARGEST = {"MaxPool": pool("max"), "GlobalMaxPool": reduce("max"), "ReduceMax": reduce("max")}
_FAMILIES = ("affine", "move", "pool", "reduce")  # whose kernels take elements of any type


def same_integers(node: gs.Node, given: Values) -> Value | None:
    """What a node makes that only says what integers stand for, or makes integers of what the same ones stand for."""
    quantization = quantization_of(node)
    if quantization is None:
        return None
    value = given(node.inputs[0])
    if node.op == DEQUANTIZE:
        return as_floats(value, quantization)
    alike = value.form.quantization == quantization and value.form.dtype == type_of(node.outputs[0])
    return as_integers(value) if alike else None


def moved_inputs(node: gs.Node) -> list[gs.Tensor]:
    """The inputs that a node takes its results from as they are; none of a node that computes others."""
    if node.op == "Concat":
        return [tensor for tensor in node.inputs if 0 not in tensor.shape]
    return node.inputs[:1] if node.op in _LARGEST or node.op in MOVERS else []


def are_alike(values: Sequence[Value]) -> bool:
    """Whether they are integers of eight bits that all stand for the same."""
    found = {(value.form.dtype, value.form.quantization) for value in values}
    return len(found) == 1 and values[0].form.dtype in EIGHT_BITS


def moved_integers(program: Program, group: Group, value: Values, quantization: Quantization | None) -> Anchor | None:
    """What computes the first node of a group on integers; None where that would not be the same.

    Args:
        value: The integers.
        quantization: What they stand for; None where nothing is said of that before the group.
    """
    node, after = group.head, group.nodes[1:]
    if quantization is not None and after and quantization_of(after[0]) != quantization:
        return None
    make = _LARGEST.get(node.op)
    start = make(program, group, value) if make else mover(program, node, value)
    if start is None or start.family not in _FAMILIES or start.attributes.get("mode") == "linear":
        return None
    if quantization is not None and start.attributes.get("kind") == "pad" and start.attributes["mode"] == "constant":
        start = _with_border(start, quantization, exact=not after)
    if start is None:
        return None
    tile = replace(start.tile, lanes=program.target.core.vector_bytes)  # as many bytes
    return replace(start, out=replace(start.out, dtype=start.operands[0].form.dtype), tile=tile)


def as_integers(value: Value) -> Value:
    """The integers themselves."""
    return as_floats(value, None)


def as_floats(value: Value, quantization: Quantization | None) -> Value:
    """The integers as what they stand for."""
    return Value(value.var, replace(value.form, quantization=quantization))


def times(value: Value, factor: float) -> Value:
    """The integers as what stands for as many times the numbers."""
    meaning = value.form.quantization
    return as_floats(value, replace(meaning, scale=meaning.scale * factor))


def _with_border(start: Anchor, quantization: Quantization, exact: bool) -> Anchor | None:
    """A Pad by the integer that stands for its value, or for the next number if it need not be `exact`."""
    number, limits = start.attributes["value"], np.iinfo(start.operands[0].form.dtype)
    steps = float(np.rint(number / quantization.scale)) + quantization.zero_point
    integer = min(max(steps, limits.min), limits.max)
    if exact and (integer - quantization.zero_point) * quantization.scale != number:
        return None
    return replace(start, attributes=start.attributes | {"value": integer})
