"""Rules of operators that pick, order or write positions by numbers of a run: the axes beside those pass."""

from __future__ import annotations

from collections.abc import Iterable

from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.trace import Labels

BY_INDEX = "it picks positions of this axis by numbers of a run"


def _beside(op: Op, fixed: Iterable[int]) -> None:
    """All outputs have the axes of input 0; the fixed ones stay."""
    fixed = set(fixed)
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis in fixed:
            op.pin(labels, BY_INDEX)
        for j in range(len(op.outputs)):
            op.out(j, axis, None if axis in fixed else labels)


def reverse_sequence(op: Op) -> None:
    """Each sequence of a batch is turned around up to a length of its own."""
    op.know_shape(0, op.shape(0))
    _beside(op, [op.attr("time_axis", 0), op.attr("batch_axis", 1)])


def top_k(op: Op) -> None:
    """The largest values along an axis, and where they were."""
    axis = op.attr("axis", -1) % op.rank(0)
    for j in range(len(op.outputs)):
        op.know_shape(j, [None if a == axis else dim for a, dim in enumerate(op.shape(0))])
    _beside(op, [axis])


def compress(op: Op) -> None:
    """The positions of an axis where a condition holds."""
    if op.attr("axis") is None:
        raise Unfollowed("it flattens its input")
    axis = op.attr("axis") % op.rank(0)
    op.know_shape(0, [None if a == axis else dim for a, dim in enumerate(op.shape(0))])
    _beside(op, [axis])


def triangle(op: Op) -> None:
    """One side of the diagonal over the last two axes."""
    op.know_shape(0, op.shape(0))
    _beside(op, [op.rank(0) - 2, op.rank(0) - 1])


def gather_elements(op: Op) -> None:
    """Indices [..] of the data's rank: beside `axis`, an index looks at its own position."""
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
    """Updates and their indices [..] of the data's rank: beside `axis`, each is written at its own position."""
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
    """Indices [.., K] pick along K axes of the data, behind those of the batch; the axes behind them pass."""
    batch, picked = op.attr("batch_dims", 0), op.size(1, op.rank(1) - 1)
    for axis in range(batch + picked):
        op.pin(op.labels(0, axis), BY_INDEX)
    rest = range(batch + picked, op.rank(0))
    op.know_shape(0, [*op.shape(1)[:-1], *(op.shape(0)[a] for a in rest)])
    _behind(op, op.rank(1) - 1, [op.labels(0, a) for a in rest])


def scatter_nd(op: Op) -> None:
    """Indices [.., K] say where along the first K axes of the data the updates go; the axes behind them pass."""
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
    """[N, C, *d] looked at in places that another input gives: [M, C, *e]."""
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis != 1:
            op.pin(labels, "it looks at places along this axis")
        op.out(0, axis, labels if axis == 1 else None)
    op.know_shape(0, [op.shape(0)[1] if axis == 1 else None for axis in range(op.rank(0))])
