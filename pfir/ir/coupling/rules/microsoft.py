"""Rules of ONNX Runtime's own operators, which its graph optimizer writes in place of standard ones."""

from __future__ import annotations

import numpy as np

from pfir.ir.coupling.edits import Fill, Literal
from pfir.ir.coupling.op import Op, Unfollowed, not_too_wide
from pfir.ir.coupling.rules.contraction import NOT_CONTRACTED, conv, matmul
from pfir.ir.coupling.rules.integers import OTHER_POINT, demand_scalars, follow_columns, weight_places
from pfir.ir.coupling.rules.normalization import STATISTICS
from pfir.ir.coupling.trace import Labels
from pfir.ir.coupling.zero_points import zero_stays_zero


def fused_conv(op: Op) -> None:
    """A convolution, then the sum with Z [N, O, *d], then an activation."""
    conv(op, summand=3)


def fused_matmul(op: Op) -> None:
    """A matrix product whose factors may be transposed."""
    if op.attr("transBatchA", 0) or op.attr("transBatchB", 0):
        raise Unfollowed("it transposes a batch")
    matmul(op, bool(op.attr("transA", 0)), bool(op.attr("transB", 0)))


def skip_layer_norm(op: Op) -> None:
    """Two inputs [N, S, E], and a bias [E], are added and normalised over E, which stays; so does the sum."""
    rank = op.rank(0)
    given = [i for i in range(len(op.inputs)) if op.has(i)]
    for axis in range(rank):
        places = [(i, axis - rank + op.rank(i)) for i in given if axis - rank + op.rank(i) >= 0]
        labels = op.join([op.labels(i, a) for i, a in places if op.shape(i)[a] != 1])
        if axis == rank - 1:
            op.pin(labels, STATISTICS)
        for j in (0, 3):
            op.out(j, axis, labels)
        for j in (1, 2):
            op.out(j, axis, None if axis == rank - 1 else labels)
    op.know_shape(0, op.shape(0))


def attention(op: Op) -> None:
    """Attention of x [N, S, E] with W [E, 3*H*D] and b [3*H*D] for q, k and v at once, in H heads: whole heads go."""
    if any(op.has(i) for i in range(4, len(op.inputs))) or op.attr("qkv_hidden_sizes"):
        raise Unfollowed("it has a past, a bias of scores, or widths of their own for q, k and v")
    _attend(op)


def quantized_attention(op: Op) -> None:
    """As `attention`, x and W being integers with scale and zero point each, those of W may be [3*H*D]."""
    if op.has(8):
        raise Unfollowed("it has a past")
    demand_scalars(op, op.operator.data)
    if not zero_stays_zero(op.node, 0):
        op.pin(op.labels(0, 2), OTHER_POINT)
    _attend(op)
    follow_columns(op, 1, 1, weight_places(op))


def _attend(op: Op) -> None:
    op.tie(op.labels(0, 2), op.labels(1, 0), NOT_CONTRACTED)
    op.consume(1, 0, (0, 2))
    heads = _heads(op, [(1, 1), *([(2, 0)] if op.has(2) else [])], parts=3)
    op.produce(1, 1, "weight")
    if op.has(2):
        op.produce(2, 0, "bias")
    _give_heads(op, op.size(1, 1) // 3, heads)


def multi_head_attention(op: Op) -> None:
    """Attention of q [N, S, H*D], k [N, T, H*D] and v [N, T, H*V] in H heads: whole heads go."""
    if any(op.has(i) for i in range(3, len(op.inputs))) or not (op.has(1) and op.has(2)):
        raise Unfollowed("it has a bias, a mask or a past, or gets q, k and v packed together")
    heads = _heads(op, [(0, 2), (1, 2), (2, 2)], parts=1)
    _give_heads(op, op.size(2, 2), heads)


def _heads(op: Op, places: list[tuple[int, int]], parts: int) -> Labels:
    """The labels of one position a head, after all positions of a head have been tied; None where they must stay."""
    count, joined = op.attr("num_heads"), None
    found = [op.labels(i, axis) for i, axis in places]
    if any(labels is None for labels in found):
        for labels in found:
            op.pin(labels, "it meets an axis that keeps its size")
        return None
    for labels in found:
        rows = labels.reshape(parts, count, -1).swapaxes(0, 1).reshape(count, -1)
        op.tie(rows[:, :1], rows)
        if joined is not None:
            op.tie(joined, rows[:, 0])
        joined = rows[:, 0]
    return joined


def _give_heads(op: Op, width: int, heads: Labels) -> None:
    """The output [N, S, width] in whole heads, whose number follows."""
    op.know_shape(0, [*op.shape(0)[:2], width])
    for axis in range(2):
        op.out(0, axis, op.labels(0, axis))
    count = op.attr("num_heads")
    op.out(0, 2, None if heads is None else np.repeat(heads, not_too_wide(heads.size * (width // count)) // heads.size))
    if heads is not None:
        fill = Fill(0, (op.outputs[0], 2), 0, width, width // count)
        op.rewrite(Literal(op.key, "num_heads", (count,), (fill,), scalar=True))
