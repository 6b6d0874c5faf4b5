"""Rules of operators that move axes, add or drop those of length one, or put space into channels and back."""

from __future__ import annotations

import numpy as np

from pfir.ir.coupling.edits import Freeze, Literal
from pfir.ir.coupling.op import Op, Unfollowed, not_too_wide
from pfir.ir.coupling.rules.reduction import entries


def transpose(op: Op) -> None:
    perm = tuple(op.attr("perm") or range(op.rank(0))[::-1])
    op.know_shape(0, [op.shape(0)[p] for p in perm])
    for axis, source in enumerate(perm):
        op.out(0, axis, op.labels(0, source))
    op.carry_origin(perm)


def squeeze(op: Op) -> None:
    rank = op.rank(0)
    axes = op.need_literal(1, "axes") if op.has(1) else op.attr("axes")
    dropped = {a % rank for a in axes} if axes else {a for a, dim in enumerate(op.shape(0)) if dim == 1}
    kept = [a for a in range(rank) if a not in dropped]
    op.know_shape(0, [op.shape(0)[a] for a in kept])
    for axis, source in enumerate(kept):
        op.out(0, axis, op.labels(0, source))
    if not axes:
        _name_axes(op, sorted(dropped), kept)
    op.carry_origin(tuple(kept))


def _name_axes(op: Op, dropped: list[int], kept: list[int]) -> None:
    """Without named axes it would drop channels too, once a single one is left."""
    if not all(isinstance(op.shape(0)[a], int) for a in kept):
        raise Unfollowed("it drops whatever has length one, and some sizes are dynamic")
    also = tuple((op.inputs[0], a) for a in kept if op.labels(0, a) is not None)
    place = 1 if op.trace.opset >= 13 else "axes"
    op.rewrite(Literal(op.key, place, tuple(dropped), (), also=also))


def unsqueeze(op: Op) -> None:
    axes = op.need_literal(1, "axes") if op.has(1) else op.attr("axes")
    rank = op.rank(0) + len(axes)
    added = {a % rank for a in axes}
    dims = iter(op.shape(0))
    op.know_shape(0, [1 if axis in added else next(dims) for axis in range(rank)])
    sources = iter(range(op.rank(0)))
    for axis in range(rank):
        op.out(0, axis, None if axis in added else op.labels(0, next(sources)))


def depth_to_space(op: Op) -> None:
    """Keep together the b^2 channels that make one: [N, C, H, W] -> [N, C/b^2, bH, bW]."""
    block = op.attr("blocksize") ** 2
    labels = op.labels(0, 1)
    op.out(0, 3, None)
    op.out(0, 0, op.labels(0, 0))
    if labels is None:
        return
    rows = labels.reshape(block, -1) if op.attr("mode", "DCR") == "DCR" else labels.reshape(-1, block).T
    op.tie(rows[:1], rows)
    op.out(0, 1, rows[0])


def space_to_depth(op: Op) -> None:
    """Let every channel make b^2, a whole run of C apart: [N, C, bH, bW] -> [N, C*b^2, H, W]."""
    labels = op.labels(0, 1)
    op.out(0, 3, None)
    op.out(0, 0, op.labels(0, 0))
    block = op.attr("blocksize") ** 2
    op.out(0, 1, None if labels is None else np.tile(labels, not_too_wide(labels.size * block) // labels.size))


def columns_to_image(op: Op) -> None:
    """Keep together the k rows of a block that make one channel: [N, C*k, L] -> [N, C, *image]."""
    block = int(np.prod(op.need_literal(2, "block sizes")))
    labels = op.labels(0, 1)
    op.out(0, 1 + op.size(1, 0), None)
    op.out(0, 0, op.labels(0, 0))
    if labels is None:
        return
    rows = labels.reshape(-1, block)
    op.tie(rows[:, :1], rows)
    op.out(0, 1, rows[:, 0])


def shape(op: Op) -> None:
    """Let whoever asks for sizes go on to get the old ones (`Freeze`)."""
    sites = tuple((op.inputs[0], a) for a in range(op.rank(0)) if op.labels(0, a) is not None)
    values = op.trace.values.get(op.outputs[0])
    if sites and values is None:
        raise Unfollowed("its result is not known")
    if sites:
        op.rewrite(Freeze(op.key, entries(values), sites))
