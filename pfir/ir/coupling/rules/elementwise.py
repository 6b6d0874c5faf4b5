"""Rules of operators that work position by position, with broadcasting."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.trace import Labels

ROLES = {"Add": "shift", "Sub": "shift", "Mul": "scale", "Div": "scale", "PRelu": "slope", "BiasGelu": "shift"}


def elementwise(op: Op, places: Sequence[int] | None = None) -> None:
    """Align the inputs (all, or those at these places) at the last axis; axes of length one broadcast."""
    given = [i for i in (range(len(op.inputs)) if places is None else places) if op.has(i)]
    rank = max((op.rank(i) for i in given), default=0)
    aligned = [[(i, op.rank(i) + axis - rank) for i in given if op.rank(i) + axis >= rank] for axis in range(rank)]
    op.know_shape(0, [broadcast(op, found) for found in aligned])
    for axis in range(rank):
        joined = op.join([labels for i in given for labels in _at(op, i, axis - rank)])
        for j in range(len(op.outputs)):
            op.out(j, axis, joined)
    for i in given:
        _note_role(op, i)


def broadcast(op: Op, places: list[tuple[int, int]]) -> int | str | None:
    """What is known of the size that these (input, axis) broadcast to."""
    dims = [op.shape(i)[axis] for i, axis in places]
    longer = [d for d in dims if d != 1]
    return 1 if not longer else longer[0] if len(set(longer)) == 1 else None


def _at(op: Op, i: int, from_end: int) -> list[Labels]:
    """The labels of input i on an axis, counted from the end, unless the input broadcasts there."""
    axis = op.rank(i) + from_end
    if axis < 0 or op.shape(i)[axis] == 1:
        return []
    return [op.labels(i, axis)]


def _note_role(op: Op, i: int) -> None:
    role = ROLES.get(op.kind)
    if role and op.is_constant(i):
        for axis in range(op.rank(i)):
            op.produce(i, axis, role)


def same(op: Op) -> None:
    """Follow the input position by position; further inputs are scalars or switches."""
    op.know_shape(0, op.shape(0))
    for axis in range(op.rank(0)):
        for j in range(len(op.outputs)):
            op.out(j, axis, op.labels(0, axis))


def dropout(op: Op) -> None:
    """Follow as `same` does, if nothing is dropped: what goes at random depends on how many positions there are."""
    training = op.literal(2) if op.has(2) else False
    if training is None or np.any(training):
        raise Unfollowed("it may drop numbers at random")
    same(op)


def carry(op: Op) -> None:
    """Follow as `same` does; an initializer goes on to be one behind the node."""
    same(op)
    op.carry_origin()


def like(op: Op) -> None:
    """Follow as `carry` does; of the second input only the type counts."""
    carry(op)
    for axis in range(op.rank(1)):
        op.labels(1, axis)


def quantize(op: Op) -> None:
    """Follow QuantizeLinear or its inverse, whose scale and zero point are scalars, or vectors along `axis`."""
    if op.attr("block_size", 0):
        raise Unfollowed("its scales are given block by block")
    same(op)
    axis = op.attr("axis", 1)
    for i in (1, 2):
        if op.has(i) and op.rank(i) == 1 and op.shape(i)[0] != 1:
            op.tie(op.labels(0, axis), op.labels(i, 0))
    op.carry_origin()


def running_sum(op: Op) -> None:
    """Zeros add nothing to the positions after them."""
    same(op)
    for axis in range(op.rank(0)):
        op.consume(0, axis)
