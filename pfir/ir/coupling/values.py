"""Numbers in tensors that are known before a run: sizes, axes, pads, indices; symbols where a size is dynamic."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.op import Op

Value = np.ndarray | None
"""An object array of ints and floats, of strings (a symbolic size) and None (unknown)."""

_LITERAL_SIZE = 4096


def constant_value(tensor: gs.Constant) -> Value:
    """The numbers of a small constant."""
    shape = tuple(tensor.shape)
    if not _small(int(np.prod(shape, dtype=np.int64))):
        return None
    values = np.asarray(tensor.values)
    return values.astype(object) if values.dtype.kind in "iufb" else None


def _small(size: int) -> bool:
    """Whether a constant may serve as a literal: weights are not looked into."""
    return size <= _LITERAL_SIZE


def evaluate(op: Op) -> Value:
    """The first output's numbers, if they follow from literals and sizes."""
    rule = _EVALUATE.get(op.kind) if op.node.domain in (None, "", "ai.onnx") else None
    if rule is None or any(op.has(i) and op.literal(i) is None for i in range(len(op.inputs)) if op.kind != "Shape"):
        return None
    result = rule(op)
    return result if result is not None and _small(result.size) else None


def is_known(value: Value) -> bool:
    """Whether all entries are numbers."""
    return value is not None and all(isinstance(v, (int, float, bool, np.number)) for v in value.ravel().tolist())


def _shape(op: Op) -> Value:
    dims = op.trace.shapes.get(op.inputs[0])
    if dims is None:
        return None
    return _array(dims[op.attr("start", 0) : op.attr("end", None)])


def _array(values) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = list(values)
    return result


def _axes(op: Op) -> list[int] | None:
    if op.has(1):
        return [int(v) for v in op.literal(1).ravel()]
    return op.attr("axes")


def _squeeze(op: Op) -> Value:
    axes = _axes(op)
    return op.literal(0).squeeze(tuple(axes) if axes else None)


def _unsqueeze(op: Op) -> Value:
    value = op.literal(0)
    axes = _axes(op)
    rank = value.ndim + len(axes)
    for axis in sorted(a % rank for a in axes):
        value = np.expand_dims(value, axis)
    return value


def _gather(op: Op) -> Value:
    if not is_known(op.literal(1)):
        return None
    axis = op.attr("axis", 0)
    if not _small(op.literal(1).size * (op.literal(0).size // op.literal(0).shape[axis])):
        return None
    value = np.take(op.literal(0), op.literal(1).astype(np.int64), axis=axis)
    return value if isinstance(value, np.ndarray) else _scalar(value)


def _scalar(value) -> np.ndarray:
    result = np.empty((), dtype=object)
    result[()] = value
    return result


def _slice(op: Op) -> Value:
    value = op.literal(0)
    bounds = slice_bounds(op)
    if bounds is None:
        return None
    index = [slice(None)] * value.ndim
    for axis, start, end, step in bounds:
        index[axis % value.ndim] = slice(start, None if step < 0 and end < -value.shape[axis] else end, step)
    return value[tuple(index)]


def slice_bounds(op: Op) -> list[tuple[int, int, int, int]] | None:
    """The (axis, start, end, step) of a Slice as written; None if they are known only at run time."""
    if "starts" in op.node.attrs:
        starts, ends = op.attr("starts"), op.attr("ends")
        return [(a, s, e, 1) for a, s, e in zip(op.attr("axes") or range(len(starts)), starts, ends, strict=True)]
    given = [op.literal(i) for i in range(1, len(op.inputs)) if op.has(i)]
    if any(not is_known(v) for v in given):
        return None
    starts, ends = (op.literal(i).ravel().tolist() for i in (1, 2))
    axes = op.literal(3).ravel().tolist() if op.has(3) else list(range(len(starts)))
    steps = op.literal(4).ravel().tolist() if op.has(4) else [1] * len(starts)
    return [tuple(int(v) for v in row) for row in zip(axes, starts, ends, steps, strict=True)]


def _concat(op: Op) -> Value:
    parts = [op.literal(i) for i in range(len(op.inputs))]
    if any(part is None for part in parts):  # an input that is left out, which no runtime takes
        return None
    return np.concatenate(parts, axis=op.attr("axis", 1)) if _small(sum(p.size for p in parts)) else None


def _reshape(op: Op) -> Value:
    target = op.literal(1) if op.has(1) else _array(op.attr("shape", ()))
    return op.literal(0).reshape([int(v) for v in target.ravel()]) if is_known(target) else None


def _constant_of_shape(op: Op) -> Value:
    if not is_known(op.literal(0)):
        return None
    dims = [int(v) for v in op.literal(0).ravel()]
    given = op.attr("value")
    if not _small(int(np.prod(dims, dtype=np.int64))):
        return None
    return np.full(dims, given.values.ravel()[0] if given is not None else 0.0).astype(object)


def _transpose(op: Op) -> Value:
    return op.literal(0).transpose(op.attr("perm"))


def _arithmetic(op: Op) -> Value:
    a, b = op.literal(0), op.literal(1)
    if not (is_known(a) and is_known(b)) or any(isinstance(v, float) for v in (*a.ravel(), *b.ravel())):
        return None
    if any(abs(v) >= 1 << 31 for v in (*a.ravel(), *b.ravel())) or not _small(np.broadcast(a, b).size):
        return None
    if op.kind == "Div" and (b == 0).any():
        return None
    # ONNX divides integers towards zero; sizes are never negative, so floor division agrees where it matters.
    if op.kind == "Div" and ((a < 0).any() or (b < 0).any()):
        return None
    return np.asarray(_ARITHMETIC[op.kind](a, b), dtype=object)


def _cast(op: Op) -> Value:
    kind = np.dtype(op.attr("to")).kind if not isinstance(op.attr("to"), int) else _KINDS.get(op.attr("to"), "")
    value = op.literal(0)
    if kind == "i" and is_known(value):
        return np.asarray(np.trunc(value.astype(np.float64)).astype(np.int64), dtype=object)
    return value if kind == "i" else None


_KINDS = {6: "i", 7: "i"}
_ARITHMETIC = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.floor_divide}

_EVALUATE = {
    "Shape": _shape,
    "Identity": lambda op: op.literal(0),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Reshape": _reshape,
    "ConstantOfShape": _constant_of_shape,
    "Transpose": _transpose,
    "Cast": _cast,
    **dict.fromkeys(_ARITHMETIC, _arithmetic),
}
