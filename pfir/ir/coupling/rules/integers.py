"""Rules of operators on quantized integers: a channel that goes is one that stands for zero.

Where positions are summed up, the sum must take for zero what its summands were made with.
"""

from __future__ import annotations

from collections.abc import Iterable

from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.rules.contraction import NOT_CONTRACTED, conv, gemm, give_states, matmul, tie_cell, tie_gates
from pfir.ir.coupling.rules.elementwise import elementwise, same
from pfir.ir.coupling.rules.reduction import pool
from pfir.ir.coupling.rules.selection import concat
from pfir.ir.coupling.zero_points import zero_stays_zero
from pfir.ir.operators.records import Integers

OTHER_POINT = "it takes another zero point than its input was quantized with"


def dynamic_quantize(op: Op) -> None:
    """Scale and zero point follow from the range of the input with zero in it: zeros may go, other numbers count."""
    same(op)
    for axis in range(op.rank(0)):
        op.consume(0, axis)
    for j in (1, 2):
        op.scalar(j)


def quantized_matmul(op: Op) -> None:
    """The product [.., M, K] x [K, N] with one scale and zero point for the data, and for the result.

    Those of the second factor may be [N], as is a bias; an operator that counts in steps has no scales.
    """
    demand_scalars(op, op.operator.data)
    second = op.operator.weight.place
    if not any(zero_stays_zero(op.node, i) for i in (0, second)):
        op.pin(op.labels(0, -1), OTHER_POINT)
    matmul(op)
    _follow_columns(op, op.rank(second) - 1)


def matmul_quantizing(op: Op) -> None:
    """The product [.., M, K] x [K, N] and a bias [N]; the first factor is quantized in the range of the run.

    Zero is always in that range, so zeros may go, while other numbers count.
    """
    matmul(op)
    for axis in range(op.rank(0)):
        op.consume(0, axis)
    _follow_columns(op, op.rank(op.operator.weight.place) - 1)


def recurrent_quantizing(op: Op) -> None:
    """An LSTM with weights as in `recurrent` but W [D, I, 4*H] and R [D, H, 4*H], a scale and a zero point for each.

    X and the states are quantized in the range of the run or the step, with zero in it.
    """
    given, state = op.operator.weights
    hidden, width = op.labels(state.place, state.inputs), op.attr("hidden_size")
    op.tie(op.labels(0, 2), op.labels(given.place, given.inputs), NOT_CONTRACTED)
    op.consume(given.place, given.inputs, (0, 2))
    for axis in range(op.rank(0)):
        op.consume(0, axis)
    tie_cell(op, hidden)
    for i in (place for said in op.operator.integers.values() for place in (said.scale, said.zero_point)):
        if op.has(i) and op.rank(i) == 2:
            tie_gates(op, hidden, i, len(op.operator.cell.gates))
    op.consume(state.place, state.inputs)
    op.count(hidden)
    last = [op.shape(state.place)[0], op.shape(0)[1], width]
    for j, dims in enumerate(([op.shape(0)[0], *last], last, last)):
        op.know_shape(j, dims)
    give_states(op, hidden, (op.inputs[state.place], state.inputs), width)


def quantized_gemm(op: Op) -> None:
    """The product of A [M, K] and B [K, N], either transposed, and C [N]; scale and zero point of B may be [N]."""
    demand_scalars(op, op.operator.data)
    if not zero_stays_zero(op.node, 0):
        op.pin(op.labels(0, 0 if op.attr("transA", 0) else 1), OTHER_POINT)
    gemm(op)
    follow_columns(op, op.operator.weight.place, 0 if op.attr("transB", 0) else 1, weight_places(op))


def quantized_conv(op: Op) -> None:
    """A convolution of integers; scale and zero point of W may be [O]."""
    _demand_channels_first(op)
    demand_scalars(op, op.operator.data)
    if not zero_stays_zero(op.node, 0):
        op.pin(op.labels(0, 1), OTHER_POINT)
    conv(op)
    follow_columns(op, op.operator.weight.place, 0, weight_places(op))


def _follow_columns(op: Op, axis: int) -> None:
    """Tie the scale and the zero point of a product's second factor, and a bias, to its columns."""
    bias = () if op.operator.bias is None else (op.operator.bias,)
    follow_columns(op, op.operator.weight.place, axis, (*weight_places(op), *bias))


def weight_places(op: Op) -> tuple[int, ...]:
    """The inputs that hold the scale and the zero point of the weight."""
    return _places(op.operator.integers.get(op.operator.weight.place))


def _places(said: Integers | None) -> tuple[int, ...]:
    return () if said is None else tuple(i for i in (said.scale, said.zero_point) if i is not None)


def follow_columns(op: Op, weight: int, axis: int, vectors: tuple[int, ...]) -> None:
    """Tie scales, zero points and biases of single output channels to the axis of the weights that makes them."""
    for i in vectors:
        if op.has(i) and any(dim != 1 for dim in op.shape(i)):
            if op.rank(i) != 1:
                raise Unfollowed(f"{op.inputs[i]} is neither one number nor one for each output channel")
            op.tie(op.labels(weight, axis), op.labels(i, 0))


def demand_scalars(op: Op, *inputs: int) -> None:
    """Return only if the scales and zero points of these inputs, and those of the result, are one number each.

    Raises:
        Unfollowed: One is not.
    """
    said = [op.operator.integers.get(i) for i in inputs]
    _demand_one_number(op, [place for each in (*said, op.operator.result) for place in _places(each)])


def _demand_one_number(op: Op, places: Iterable[int]) -> None:
    for i in places:
        if op.has(i) and any(dim != 1 for dim in op.shape(i)):
            raise Unfollowed(f"{op.inputs[i]} is not one number")


def _demand_channels_first(op: Op) -> None:
    if op.attr("channels_last", 0):
        raise Unfollowed("its channels come last")


def quantized_sum(op: Op) -> None:
    """The sum or product of A and B, position by position, with scale and zero point each."""
    demand_scalars(op, *op.operator.integers)
    elementwise(op, tuple(op.operator.integers))


def quantized_unary(op: Op) -> None:
    """A function of x, position by position, with a scale and a zero point."""
    demand_scalars(op, op.operator.data)
    same(op)


def quantized_pool(op: Op) -> None:
    """A pool over x with a scale and a zero point."""
    _demand_channels_first(op)
    demand_scalars(op, op.operator.data)
    pool(op)


def quantized_concat(op: Op) -> None:
    """Parts side by side: scale and zero point of the result come first, then each part with its own."""
    parts = range(op.operator.data, len(op.inputs), 3)
    _demand_one_number(op, [i for i in range(len(op.inputs)) if i not in parts])
    concat(op, parts)
