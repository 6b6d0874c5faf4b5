"""Rules of operators on quantized integers: a channel that goes is one that stands for zero.

Where positions are summed up, the sum must take for zero what its summands were made with.
"""

from __future__ import annotations

from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.rules.contraction import NOT_CONTRACTED, conv, gemm, give_states, matmul, tie_gates
from pfir.ir.coupling.rules.elementwise import elementwise, same
from pfir.ir.coupling.rules.reduction import pool
from pfir.ir.coupling.rules.selection import concat
from pfir.ir.coupling.zero_points import zero_stays_zero

OTHER_POINT = "it takes another zero point than its input was quantized with"


def dynamic_quantize(op: Op) -> None:
    """Scale and zero point follow from the range of the input with zero in it: zeros may go, other numbers count."""
    same(op)
    for axis in range(op.rank(0)):
        op.consume(0, axis)
    for j in (1, 2):
        op.scalar(j)


def matmul_integer(op: Op) -> None:
    """[.., M, K] x [K, N] with a zero point each: a scalar for the first, a scalar or [N] for the second."""
    _matmul(op, 1, scalars=(2,), vectors=(3,))


def matmul_integer_to_float(op: Op) -> None:
    """As `matmul_integer`, with scales and a bias [N]."""
    _matmul(op, 1, scalars=(2, 4), vectors=(3, 5, 6))


def matmul_quantizing(op: Op) -> None:
    """[.., M, K] x [K, N]: the first factor is quantized in the range of the run, with zero in it; a bias [N]."""
    matmul(op)
    for axis in range(op.rank(0)):
        op.consume(0, axis)
    follow_columns(op, 1, op.rank(1) - 1, (2, 3, 4))


def recurrent_quantizing(op: Op) -> None:
    """An LSTM with weights as in `recurrent` but W [D, I, 4*H] and R [D, H, 4*H], a scale and a zero point for each.

    X and the states are quantized in the range of the run or the step, with zero in it.
    """
    hidden, width = op.labels(2, 1), op.attr("hidden_size")
    op.tie(op.labels(0, 2), op.labels(1, 1), NOT_CONTRACTED)
    op.consume(1, 1, (0, 2))
    for axis in range(op.rank(0)):
        op.consume(0, axis)
    for i in (1, 2):
        tie_gates(op, hidden, i, 4, 2)
    for i, gates in ((3, 8), (7, 3)):
        tie_gates(op, hidden, i, gates)
    for i in (8, 9, 10, 11):
        if op.has(i) and op.rank(i) == 2:
            tie_gates(op, hidden, i, 4)
    for i in (5, 6):
        op.tie(hidden, op.labels(i, 2) if op.has(i) else hidden)
    op.consume(2, 1)
    op.count(hidden)
    last = [op.shape(2)[0], op.shape(0)[1], width]
    for j, dims in enumerate(([op.shape(0)[0], *last], last, last)):
        op.know_shape(j, dims)
    give_states(op, hidden, (op.inputs[2], 1), width)


def quantized_matmul(op: Op) -> None:
    """a [.., M, K], b [.., K, N] with scale and zero point each, those of b may be [N]; then those of the result."""
    _matmul(op, 3, scalars=(1, 2, 6, 7), vectors=(4, 5))


def _matmul(op: Op, second: int, scalars: tuple[int, ...], vectors: tuple[int, ...]) -> None:
    demand_scalars(op, scalars)
    if not any(zero_stays_zero(op.node, i) for i in (0, second)):
        op.pin(op.labels(0, -1), OTHER_POINT)
    matmul(op, second=second)
    follow_columns(op, second, op.rank(second) - 1, vectors)


def quantized_gemm(op: Op) -> None:
    """A [M, K], B [K, N], either transposed, with scale and zero point each, those of B may be [N]; C [N], and more."""
    demand_scalars(op, (1, 2, 7, 8))
    if not zero_stays_zero(op.node, 0):
        op.pin(op.labels(0, 0 if op.attr("transA", 0) else 1), OTHER_POINT)
    gemm(op, 3, 6)
    follow_columns(op, 3, 0 if op.attr("transB", 0) else 1, (4, 5))


def conv_integer(op: Op) -> None:
    """A convolution without bias, with zero points as in `matmul_integer`, the second one a scalar or [O]."""
    _conv(op, 1, 0, scalars=(2,), vectors=(3,))


def quantized_conv(op: Op) -> None:
    """x and W with scale and zero point each, those of W may be [O]; then those of the result, and a bias [O]."""
    _demand_channels_first(op)
    _conv(op, 3, 8, scalars=(1, 2, 6, 7), vectors=(4, 5))


def _conv(op: Op, weight: int, bias: int, scalars: tuple[int, ...], vectors: tuple[int, ...]) -> None:
    demand_scalars(op, scalars)
    if not zero_stays_zero(op.node, 0):
        op.pin(op.labels(0, 1), OTHER_POINT)
    conv(op, weight, bias)
    follow_columns(op, weight, 0, vectors)


def follow_columns(op: Op, weight: int, axis: int, vectors: tuple[int, ...]) -> None:
    """Scales, zero points and biases of single output channels go with the weights' axis."""
    for i in vectors:
        if op.has(i) and any(dim != 1 for dim in op.shape(i)):
            if op.rank(i) != 1:
                raise Unfollowed(f"{op.inputs[i]} is neither one number nor one for each output channel")
            op.tie(op.labels(weight, axis), op.labels(i, 0))


def demand_scalars(op: Op, places: tuple[int, ...]) -> None:
    for i in places:
        if op.has(i) and any(dim != 1 for dim in op.shape(i)):
            raise Unfollowed(f"{op.inputs[i]} is not one number")


def _demand_channels_first(op: Op) -> None:
    if op.attr("channels_last", 0):
        raise Unfollowed("its channels come last")


def quantized_sum(op: Op) -> None:
    """A and B with scale and zero point each, position by position."""
    demand_scalars(op, (1, 2, 4, 5, 6, 7))
    elementwise(op, (0, 3))


def quantized_unary(op: Op) -> None:
    demand_scalars(op, (1, 2, 3, 4))
    same(op)


def quantized_pool(op: Op) -> None:
    _demand_channels_first(op)
    demand_scalars(op, (1, 2, 3, 4))
    pool(op)


def quantized_concat(op: Op) -> None:
    """Scale and zero point of the result, then of each part after it."""
    demand_scalars(op, tuple(i for i in range(len(op.inputs)) if i < 2 or i % 3 != 2))
    concat(op, range(2, len(op.inputs), 3))
