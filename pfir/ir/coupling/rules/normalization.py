"""Rules of normalisations: per channel they follow it, across channels they fix it."""

from __future__ import annotations

from pfir.ir.coupling.edits import Fill, Literal
from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.rules.elementwise import same

ACROSS = "it normalises over this axis, so every position counts in the others"
STATISTICS = "it normalises over this axis: its mean and variance count every position, even one that is always zero"


def batch_norm(op: Op) -> None:
    """Follow x [N, C, *d] with scale, shift, mean and variance [C]."""
    if len([n for n in op.outputs if n]) > 1:
        raise Unfollowed("it is in training mode")
    _per_channel(op, ("scale", "shift", "mean", "variance"))


def instance_norm(op: Op) -> None:
    """Follow x [N, C, *d] with scale and shift [C]; statistics are taken inside a channel."""
    for axis in range(2, op.rank(0)):
        op.pin(op.labels(0, axis), STATISTICS)
    _per_channel(op, ("scale", "shift"))


def _per_channel(op: Op, roles: tuple[str, ...]) -> None:
    op.know_shape(0, op.shape(0))
    for axis in range(op.rank(0)):
        op.out(0, axis, op.labels(0, axis))
    for i, role in enumerate(roles, start=1):
        op.tie(op.labels(0, 1), op.labels(i, 0))
        op.produce(i, 0, role)


def group_norm(op: Op) -> None:
    """Let whole runs of channels of x [N, C, *d] go, with their scale and shift [C] or [groups]."""
    groups = op.attr("num_groups")
    for axis in range(2, op.rank(0)):
        op.pin(op.labels(0, axis), STATISTICS)
    labels = op.labels(0, 1)
    op.know_shape(0, op.shape(0))
    op.out(0, op.rank(0) - 1, None)
    op.out(0, 0, op.labels(0, 0))
    op.out(0, 1, labels)
    runs = None if labels is None else labels.reshape(groups, -1)
    if runs is not None:
        op.tie(runs[:, :1], runs)
        op.rewrite(Literal(op.key, "num_groups", (groups,), (_runs(op, labels.size, groups),), scalar=True))
    for i, role in ((1, "scale"), (2, "shift")):
        per_run = op.size(i, 0) == groups and runs is not None
        op.tie(runs[:, 0] if per_run else labels, op.labels(i, 0))
        op.produce(i, 0, role)


def _runs(op: Op, channels: int, groups: int) -> Fill:
    return Fill(0, (op.inputs[0], 1), 0, channels, per=channels // groups)


def layer_norm(op: Op) -> None:
    """Fix the last axes, from `axis` on, over which the statistics are taken."""
    first = op.attr("axis", -1) % op.rank(0)
    _over(op, range(first, op.rank(0)), STATISTICS)


def softmax(op: Op) -> None:
    """Fix the axis that is normalised over; before opset 13 all from that axis on."""
    rank = op.rank(0)
    if op.trace.opset >= 13:
        _over(op, [op.attr("axis", -1) % rank])
    else:
        _over(op, range(op.attr("axis", 1) % rank, rank))


def mean_variance_norm(op: Op) -> None:
    _over(op, [a % op.rank(0) for a in op.attr("axes", [0, 2, 3])], STATISTICS)


def local_response_norm(op: Op) -> None:
    """Fix the channels, each of which is divided by what a window of its neighbours holds."""
    _over(op, [1])


def _over(op: Op, axes, reason: str = ACROSS) -> None:
    op.know_shape(0, op.shape(0))
    for axis in range(op.rank(0)):
        labels = op.labels(0, axis)
        if axis in axes:
            op.pin(labels, reason)
        op.out(0, axis, labels)
        for j in range(1, len(op.outputs)):
            op.out(j, axis, None if axis in axes else labels)


def lp_norm(op: Op) -> None:
    """Let positions go along the axis whose sum of powers divides: zeros add nothing to it."""
    same(op)
    op.consume(0, op.attr("axis", -1) % op.rank(0))
