"""Nodes whose output equals their input, found and bypassed."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.fold import dims, slice_bounds
from pfir.ir.edit import array, bypass, cut, held, is_op, operand, opset, producer, sweep


def remove_no_ops(graph: gs.Graph) -> int:
    """Bypass what changes nothing, shapes being inferred; the number of nodes that went."""
    holding = held(graph)
    count = 0
    for node in list(graph.nodes):
        rule = _RULES.get(node.op) if is_op(node, node.op) else None
        if rule is None or not node.inputs or not node.outputs:
            continue
        index = rule(node)
        if index is not None and _unread(node, holding) and bypass(node, holding, index):
            count += 1
    sweep(graph)
    return count


def _unread(node: gs.Node, holding: set[str]) -> bool:
    """Whether nobody reads more than the first output (a Dropout's mask)."""
    return not any(t.outputs or t.name in holding for t in node.outputs[1:])


def _always(node: gs.Node) -> int | None:
    return 0


def _single(node: gs.Node) -> int | None:
    return 0 if len(node.inputs) == 1 else None


def _joined(node: gs.Node) -> int | None:
    """The only operand of a Concat that has elements."""
    full = [i for i, t in enumerate(node.inputs) if array(t) is None or array(t).size]
    return full[0] if len(full) == 1 else None


def _dropout(node: gs.Node) -> int | None:
    training = operand(node, 2)
    if training is None:
        return 0
    value = array(training)
    return 0 if value is not None and not value.any() else None


def _cast(node: gs.Node) -> int | None:
    source, result = node.inputs[0].dtype, node.outputs[0].dtype
    return 0 if source is not None and source == result else None


def _same_shape(node: gs.Node) -> int | None:
    """Whether a Reshape, Flatten, Squeeze, Unsqueeze or Expand leaves the sizes, and so everything, as it is."""
    before = dims(node.inputs[0])
    if before is None:
        return None
    if node.op == "Reshape" and _keeps(before, array(node.inputs[1]), node.attrs.get("allowzero", 0)):
        return 0
    after = dims(node.outputs[0])
    # A symbol on both sides is the same size; one for "unknown here" names its own tensor and never matches.
    return 0 if after is not None and before == after else None


def _keeps(before: list, target: np.ndarray | None, allowzero: int) -> bool:
    """Whether a Reshape to this target keeps every size."""
    if target is None or target.size != len(before) or allowzero:
        return False
    sizes = [int(t) for t in target.ravel()]
    same = [t == 0 or t == b for t, b in zip(sizes, before, strict=True)]
    # One -1 is what the other sizes leave.
    return all(same) or (same.count(False) == 1 and sizes[same.index(False)] == -1)


def _transpose(node: gs.Node) -> int | None:
    order = node.attrs.get("perm")
    return 0 if order is not None and list(order) == list(range(len(order))) else None


def _pad(node: gs.Node) -> int | None:
    pads = np.asarray(node.attrs["pads"]) if "pads" in node.attrs else array(operand(node, 1))
    return 0 if pads is not None and not pads.any() else None


def _slice(node: gs.Node) -> int | None:
    bounds, shape = slice_bounds(node), dims(node.inputs[0])
    if not bounds or shape is None:
        return None
    whole = (-len(shape) <= axis < len(shape) and _is_whole(bound, shape[axis]) for axis, bound in bounds.items())
    return 0 if all(whole) else None


def _is_whole(bound: tuple[int, int, int], size: object) -> bool:
    start, end, step = bound
    largest = np.iinfo(np.int32).max
    return start == 0 and step == 1 and (end >= largest or (isinstance(size, int) and end >= size))


def _tile(node: gs.Node) -> int | None:
    repeats = array(operand(node, 1))
    return 0 if repeats is not None and bool((repeats == 1).all()) else None


def _neutral(node: gs.Node) -> int | None:
    """x + 0, x - 0, x * 1, x / 1, where the constant does not make x larger."""
    neutral = 0 if node.op in ("Add", "Sub") else 1
    for index in (0, 1) if node.op in ("Add", "Mul") else (0,):
        value = array(node.inputs[1 - index])
        shape = node.inputs[index].shape
        if value is None or value.size > 1 << 20 or isinstance(node.inputs[index], gs.Constant) or shape is None:
            continue
        if value.dtype.kind in "fiu" and bool((value == neutral).all()) and _fits_inside(value.shape, shape):
            return index
    return None


def _fits_inside(small: tuple[int, ...], shape: list) -> bool:
    if len(small) > len(shape):
        return False
    tail = list(shape)[len(shape) - len(small) :]
    return all(s == 1 or s == d for s, d in zip(small, tail, strict=True))


_RULES = {
    "Identity": _always,
    "Dropout": _dropout,
    "Cast": _cast,
    "Reshape": _same_shape,
    "Flatten": _same_shape,
    "Squeeze": _same_shape,
    "Unsqueeze": _same_shape,
    "Expand": _same_shape,
    "Transpose": _transpose,
    "Pad": _pad,
    "Slice": _slice,
    "Tile": _tile,
    "Concat": _joined,
    "Sum": _single,
    "Max": _single,
    "Min": _single,
    "Mean": _single,
    "Add": _neutral,
    "Sub": _neutral,
    "Mul": _neutral,
    "Div": _neutral,
}


def join_reshapes(graph: gs.Graph) -> int:
    """Let a Reshape behind another one (or Flatten, Squeeze, Unsqueeze) read what that one read.

    Only where its target is constant and holds no 0, which would mean a size of the tensor in between.
    """
    count = 0
    for node in graph.nodes:
        if not is_op(node, "Reshape") or node.attrs.get("allowzero", 0):
            continue
        before = producer(node.inputs[0])
        target = array(node.inputs[1])
        if before is None or target is None or not target.all():
            continue
        if is_op(before, "Reshape", "Flatten", "Squeeze", "Unsqueeze") and before.inputs[0] is not node.inputs[0]:
            node.inputs[0] = before.inputs[0]
            count += 1
    return count


def join_dense(graph: gs.Graph) -> int:
    """Make one Gemm, under the MatMul's name, of MatMul [M, K] x [K, N] and the Add of a bias [N] behind it."""
    holding = held(graph)
    count = 0
    for node in list(graph.nodes):
        add = _bias_behind(node, holding) if is_op(node, "MatMul") and opset(graph) >= 7 else None
        if add is None:
            continue
        bias = next(t for t in add.inputs if isinstance(t, gs.Constant))
        result = add.outputs[0]
        cut(add)
        node.op, node.attrs = "Gemm", {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
        node.inputs.append(bias)
        node.outputs = [result]
        count += 1
    sweep(graph)
    return count


def _bias_behind(node: gs.Node, holding: set[str]) -> gs.Node | None:
    left, weight = node.inputs
    result = node.outputs[0]
    if array(weight) is None or weight.values.ndim != 2 or weight.values.dtype.kind != "f":
        return None
    if isinstance(left, gs.Constant) or left.shape is None or len(left.shape) != 2:
        return None
    if len(result.outputs) != 1 or result.name in holding or not is_op(result.outputs[0], "Add"):
        return None
    add = result.outputs[0]
    biases = [t.values for t in add.inputs if isinstance(t, gs.Constant)]
    width = weight.values.shape[1]
    fits = len(biases) == 1 and biases[0].shape in ((width,), (1, width)) and biases[0].dtype == weight.values.dtype
    return add if fits else None
