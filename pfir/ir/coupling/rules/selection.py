"""Rules of operators that join, cut, pick, pad or repeat along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pfir.ir.coupling.edits import Fill, Literal, Remap
from pfir.ir.coupling.op import Op, Unfollowed, not_too_wide
from pfir.ir.coupling.rules.reduction import entries
from pfir.ir.coupling.trace import Labels
from pfir.ir.coupling.values import is_known, slice_bounds

_FAR = 1 << 30
"""Bounds beyond this mean the end of an axis, however long it is."""


def concat(op: Op, places: Sequence[int] | None = None) -> None:
    """Join the labels of the inputs (all, or those at these places) end to end.

    A part that must keep its size holds only itself.
    """
    given = range(len(op.inputs)) if places is None else places
    rank = op.rank(given[0])
    joint = op.attr("axis", 1) % rank
    op.know_shape(0, [None if axis == joint else dim for axis, dim in enumerate(op.shape(given[0]))])
    for axis in range(rank):
        parts = [op.labels(i, axis) for i in given]
        whole = _end_to_end(op, dict(zip(given, parts, strict=True)), axis) if axis == joint else op.join(parts)
        op.out(0, axis, whole)


def _end_to_end(op: Op, parts: dict[int, Labels], axis: int) -> Labels:
    if all(p is None for p in parts.values()):
        return None
    whole = []
    for i, part in parts.items():
        if part is None:
            part = op.trace.new(op.size(i, axis))
            op.pin(part, f"{op.inputs[i]} keeps its size")
        whole.append(part)
    not_too_wide(sum(part.size for part in whole))
    return np.concatenate(whole)


def split(op: Op) -> None:
    """Give each output its run of the axis; the sizes become what is left of each run."""
    cut = op.attr("axis", 0) % op.rank(0)
    labels = op.labels(0, cut)
    for j in range(len(op.outputs)):
        op.know_shape(j, [None if axis == cut else dim for axis, dim in enumerate(op.shape(0))])
    for axis in range(op.rank(0)):
        if axis != cut:
            for j in range(len(op.outputs)):
                op.out(j, axis, op.labels(0, axis))
    if labels is None:
        for j in range(len(op.outputs)):
            op.out(j, cut, None)
        return
    sizes = _split_sizes(op, labels.size)
    ends = np.cumsum(sizes)
    for j, (size, end) in enumerate(zip(sizes, ends, strict=True)):
        op.out(j, cut, labels[end - size : end])
    site = (op.inputs[0], cut)
    fills = tuple(Fill(j, site, int(e - s), int(e)) for j, (s, e) in enumerate(zip(sizes, ends, strict=True)))
    place = 1 if op.trace.opset >= 13 else "split"
    op.rewrite(Literal(op.key, place, tuple(sizes), fills, drop="num_outputs"))


def _split_sizes(op: Op, width: int) -> list[int]:
    if op.has(1):
        return op.need_literal(1, "sizes")
    if op.attr("split"):
        return list(op.attr("split"))
    count = op.attr("num_outputs", len(op.outputs))
    each = -(-width // count)
    return [min(each, width - each * j) for j in range(count)]


def slice_(op: Op) -> None:
    """Follow runs of step one on any axis; other steps fix their axis."""
    bounds = slice_bounds(op) or _partial_bounds(op)
    cut = {axis % op.rank(0): (k, start, end, step) for k, (axis, start, end, step) in enumerate(bounds)}
    op.know_shape(0, [None if axis in cut else dim for axis, dim in enumerate(op.shape(0))])
    fills: list[tuple[Fill, Fill]] = []
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if labels is not None and axis in cut:
            labels, pair = _cut(op, axis, labels, *cut[axis])
            fills.extend(pair)
        op.out(0, axis, labels)
    if fills:
        _rewrite_bounds(op, bounds, fills)


def _partial_bounds(op: Op) -> list[tuple]:
    """The bounds as `slice_bounds` gives them; None stands for what only a run can know."""
    axes = op.need_literal(3, "axes") if op.has(3) else list(range(op.size(1, 0)))
    steps = op.need_literal(4, "steps") if op.has(4) else [1] * len(axes)
    starts, ends = (_entries_or_unknown(op, i, len(axes)) for i in (1, 2))
    return list(zip(axes, starts, ends, steps, strict=True))


def _entries_or_unknown(op: Op, i: int, count: int) -> tuple[int | None, ...]:
    found = op.literal(i)
    return (None,) * count if found is None else entries(found)


def _cut(op: Op, axis: int, labels: np.ndarray, k: int, start: int | None, end: int | None, step: int):
    if start is None or end is None:
        op.pin(labels, "its bounds are known only at run time")
        return None, []
    if step != 1:
        return _stepped(op, labels, start, end, step), []
    low, high, _ = slice(start, end, 1).indices(labels.size)
    site = (op.inputs[0], axis)
    return labels[low:high], [(Fill(k, site, 0, low), Fill(k, site, 0, max(low, high)))]


def _stepped(op: Op, labels: np.ndarray, start: int, end: int, step: int) -> Labels:
    """Keep runs of `step` positions together, so that every `step`-th of what is left is picked as before."""
    picked = labels[slice(start, end, step)]
    # An end far beyond the axis means all of it, however long it is once positions have gone.
    far = end > _FAR if step > 0 else end < -_FAR
    if step == -1 and start == -1 and far:  # turned around, what is left is what was left, turned around
        return picked
    if labels.size % step or not 0 <= start < step or not far:
        op.pin(labels, f"it takes every {step}th position of this axis")
        return None
    runs = labels.reshape(-1, step)
    op.tie(runs[:, :1], runs)
    return picked


def _rewrite_bounds(op: Op, bounds, fills) -> None:
    by_attribute = "starts" in op.node.attrs
    starts, ends = (tuple(b[n] for b in bounds) for n in (1, 2))
    op.rewrite(Literal(op.key, "starts" if by_attribute else 1, starts, tuple(f[0] for f in fills)))
    op.rewrite(Literal(op.key, "ends" if by_attribute else 2, ends, tuple(f[1] for f in fills)))


def gather(op: Op) -> None:
    """Let literal indices take their positions with them; indices of a run fix the axis (an embedding's rows)."""
    axis = op.attr("axis", 0) % op.rank(0)
    taken, rank = op.labels(0, axis), op.rank(1)
    op.know_shape(0, [*op.shape(0)[:axis], *op.shape(1), *op.shape(0)[axis + 1 :]])
    for other in range(op.rank(0)):
        if other != axis:
            op.out(0, other if other < axis else other + rank - 1, op.labels(0, other))
            if op.is_constant(0):
                op.produce(0, other, "weight")
    for place in range(rank):
        if not is_known(op.literal(1)) or taken is None or rank != 1:
            op.out(0, axis + place, None)
        op.pin(op.labels(1, place), "indices stay")
    if taken is None:
        return
    if not is_known(op.literal(1)):
        op.pin(taken, "its indices are known only at run time")
        return
    _by_literal(op, axis, taken, rank)


def _by_literal(op: Op, axis: int, taken: np.ndarray, rank: int) -> None:
    indices = np.asarray(op.literal(1).astype(np.int64)) % taken.size
    picked = taken[indices]
    target = (op.outputs[0], axis) if rank == 1 and indices.size > 1 else None
    if target:
        op.out(0, axis, picked)
    else:
        op.pin(picked.ravel(), "it is picked by its index")
    op.rewrite(Remap(op.key, 1, indices, (op.inputs[0], axis), target))


def pad(op: Op) -> None:
    """Make channels of their own of constant padding beside channels; they may go."""
    rank = op.rank(0)
    pads = op.literal(1) if op.has(1) else np.asarray(op.attr("pads", ()), dtype=object)
    if not is_known(pads):
        raise Unfollowed("its pads are known only at run time")
    pads = [int(v) for v in pads.ravel()]
    axes = [a % rank for a in op.need_literal(3, "axes")] if op.has(3) else list(range(rank))
    fills: list[Fill] = []
    for axis in range(rank):
        labels = op.labels(0, axis)
        if labels is not None and axis in axes:
            k = axes.index(axis)
            labels, more = _padded(op, axis, labels, k, len(axes), pads[k], pads[k + len(axes)])
            fills.extend(more)
        op.out(0, axis, labels)
    if fills:
        op.rewrite(Literal(op.key, 1 if op.has(1) else "pads", tuple(pads), tuple(fills)))


def _padded(op: Op, axis: int, labels: np.ndarray, k: int, count: int, before: int, after: int):
    if not before and not after:
        return labels, []
    if op.attr("mode", "constant") != "constant" or before < 0 or after < 0:
        op.pin(labels, "it crops, reflects or repeats this axis")
        return None, []
    whole = np.concatenate([op.trace.new(before), labels, op.trace.new(after)])
    site = (op.outputs[0], axis)
    return whole, [Fill(k, site, 0, before), Fill(k + count, site, whole.size - after, whole.size)]


def expand(op: Op) -> None:
    """Make channels of their own where an axis of one is repeated; other axes pass."""
    target = op.literal(1)
    if target is None:
        raise Unfollowed("its shape is known only at run time")
    dims, rank = target.ravel().tolist(), max(op.rank(0), target.size)
    fills: list[Fill] = []
    for axis in range(rank):
        from_input, k = axis - (rank - op.rank(0)), axis - (rank - len(dims))
        dim = op.shape(0)[from_input] if from_input >= 0 else 1
        labels = op.labels(0, from_input) if from_input >= 0 else None
        wanted = dims[k] if k >= 0 else 1
        if labels is None and dim == 1 and isinstance(wanted, int) and wanted > 1:
            labels = op.trace.new(wanted)
        if labels is not None and wanted == labels.size and k >= 0:
            fills.append(Fill(k, (op.outputs[0], axis), 0, labels.size))
        elif labels is not None and wanted != 1:
            op.pin(labels, "its new size is known only at run time")
        op.out(0, axis, labels)
    op.rewrite(Literal(op.key, 1, entries(target), tuple(fills)))


def tile(op: Op) -> None:
    """Let copies live or die with their original; copies of a single position are channels of their own."""
    repeats = op.need_literal(1, "repeats")
    fills: list[Fill] = []
    for axis, count in enumerate(repeats):
        labels = op.labels(0, axis)
        if labels is not None:
            labels = np.tile(labels, not_too_wide(labels.size * count) // labels.size)
        elif op.shape(0)[axis] == 1 and count > 1:
            labels = op.trace.new(count)
            fills.append(Fill(axis, (op.outputs[0], axis), 0, count))
        op.out(0, axis, labels)
    op.rewrite(Literal(op.key, 1, tuple(repeats), tuple(fills)))


def constant_of_shape(op: Op) -> None:
    """A filled tensor is as wide as is asked of it."""
    dims = op.literal(0)
    if dims is None:
        raise Unfollowed("its shape is known only at run time")
    fills: list[Fill] = []
    for axis, dim in enumerate(dims.ravel().tolist()):
        labels = op.trace.new(int(dim)) if isinstance(dim, (int, np.integer)) and dim > 1 else None
        if labels is not None:
            fills.append(Fill(axis, (op.outputs[0], axis), 0, labels.size))
        op.out(0, axis, labels)
    op.rewrite(Literal(op.key, 0, entries(dims), tuple(fills)))
