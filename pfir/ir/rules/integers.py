"""Rules of products of integers: what is zero before it is quantized must count as zero in the sum."""

from __future__ import annotations

from pfir.ir.rules.contraction import conv, matmul
from pfir.ir.rules.elementwise import same
from pfir.ir.rules.op import Op, Unfollowed


def dynamic_quantize(op: Op) -> None:
    """Scale and zero point follow from the range of the input with zero in it, so zeros may go."""
    same(op)
    for j in (1, 2):
        op.scalar(j)


def matmul_integer(op: Op) -> None:
    """[.., M, K] x [K, N] with a zero point each: a scalar for the first, a scalar or [N] for the second."""
    _demand_zero(op)
    matmul(op)
    _tie_zero_points(op, op.rank(1) - 1)


def conv_integer(op: Op) -> None:
    """A convolution without bias, with zero points as in `matmul_integer`, the second one a scalar or [O]."""
    _demand_zero(op)
    conv(op, bias=False)
    _tie_zero_points(op, 0)


def _demand_zero(op: Op) -> None:
    """Return only if the first factor was quantized with the zero point that is taken from it here."""
    made = op.node.inputs[0].inputs[0] if op.node.inputs[0].inputs else None
    point = op.node.inputs[2] if op.has(2) else None
    if made is not None and point is not None:
        if made.op == "DynamicQuantizeLinear" and made.outputs[2] is point:
            return
        if made.op == "QuantizeLinear" and len(made.inputs) > 2 and made.inputs[2] is point:
            return
    raise Unfollowed("its first factor has another zero point than it was quantized with")


def _tie_zero_points(op: Op, axis: int) -> None:
    if op.has(3) and op.rank(3) == 1 and op.size(3, 0) > 1:
        op.tie(op.labels(1, axis), op.labels(3, 0))
