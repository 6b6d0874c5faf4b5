"""Rules of operators that pick, order or write positions by numbers of a run: the axes beside those pass."""

from __future__ import annotations

from collections.abc import Iterable

from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.trace import Labels

BY_INDEX = "it picks positions of this axis by numbers of a run"


def _beside(op: Op, fixed: Iterable[int]) -> None:
    """Give all outputs the axes of input 0, of which the fixed ones stay."""
    fixed = set(fixed)
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis in fixed:
            op.pin(labels, BY_INDEX)
        for j in range(len(op.outputs)):
            op.out(j, axis, None if axis in fixed else labels)


def reverse_sequence(op: Op) -> None:
    """Fix the axes of batch and time, since each sequence is turned around up to a length of its own."""
    op.know_shape(0, op.shape(0))
    _beside(op, [op.attr("time_axis", 0), op.attr("batch_axis", 1)])


def top_k(op: Op) -> None:
    """Fix the axis along which the largest values are found, and where they were."""
    axis = op.attr("axis", -1) % op.rank(0)
    for j in range(len(op.outputs)):
        op.know_shape(j, [None if a == axis else dim for a, dim in enumerate(op.shape(0))])
    _beside(op, [axis])


def compress(op: Op) -> None:
    """Fix the axis whose positions are picked where a condition holds."""
    if op.attr("axis") is None:
        raise Unfollowed("it flattens its input")
    axis = op.attr("axis") % op.rank(0)
    op.know_shape(0, [None if a == axis else dim for a, dim in enumerate(op.shape(0))])
    _beside(op, [axis])


def triangle(op: Op) -> None:
    """Fix the last two axes, of which one side of the diagonal is kept."""
    op.know_shape(0, op.shape(0))
    _beside(op, [op.rank(0) - 2, op.rank(0) - 1])


def gather_elements(op: Op) -> None:
    """Follow all axes beside `axis`, on which an index [..] of the data's rank looks at its own position."""
    axis = op.attr("axis", 0) % op.rank(0)
    op.know_shape(0, op.shape(1))
    for a in range(op.rank(0)):
        data, indices = op.labels(0, a), op.labels(1, a)
        if a == axis or op.shape(0)[a] != op.shape(1)[a]:
            op.pin(data, BY_INDEX)
            op.pin(indices, BY_INDEX)
            op.out(0, a, None)
        else:
            op.out(0, a, op.join([data, indices]))


def scatter_elements(op: Op) -> None:
    """Follow all axes beside `axis`, on which an update [..] of the data's rank is written at its own position."""
    axis = op.attr("axis", 0) % op.rank(0)
    op.know_shape(0, op.shape(0))
    for a in range(op.rank(0)):
        parts = [op.labels(i, a) for i in range(3)]
        if a == axis or len({op.shape(i)[a] for i in range(3)}) > 1:
            for labels in parts:
                op.pin(labels, BY_INDEX)
            op.out(0, a, None)
        else:
            op.out(0, a, op.join(parts))


def gather_nd(op: Op) -> None:
    """Follow the axes behind those that indices [.., K] pick along, which are K axes behind those of the batch."""
    batch, picked = op.attr("batch_dims", 0), op.size(1, op.rank(1) - 1)
    for axis in range(batch + picked):
        op.pin(op.labels(0, axis), BY_INDEX)
    rest = range(batch + picked, op.rank(0))
    op.know_shape(0, [*op.shape(1)[:-1], *(op.shape(0)[a] for a in rest)])
    _behind(op, op.rank(1) - 1, [op.labels(0, a) for a in rest])


def scatter_nd(op: Op) -> None:
    """Follow the axes behind the first K, along which indices [.., K] say where the updates go."""
    picked = op.size(1, op.rank(1) - 1)
    for axis in range(picked):
        op.pin(op.labels(0, axis), BY_INDEX)
    op.know_shape(0, op.shape(0))
    shift = op.rank(1) - 1 - picked
    rest = [op.join([op.labels(0, a), op.labels(2, a + shift)]) for a in range(picked, op.rank(0))]
    _behind(op, picked, rest)


def _behind(op: Op, count: int, rest: list[Labels]) -> None:
    """The output's first `count` axes stay, the others are these."""
    for axis, labels in enumerate([*[None] * count, *rest]):
        op.out(0, axis, labels)


def sample(op: Op) -> None:
    """Follow the channels of [N, C, *d], which is looked at in places that another input gives: [M, C, *e]."""
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis != 1:
            op.pin(labels, "it looks at places along this axis")
        op.out(0, axis, labels if axis == 1 else None)
    op.know_shape(0, [op.shape(0)[1] if axis == 1 else None for axis in range(op.rank(0))])
