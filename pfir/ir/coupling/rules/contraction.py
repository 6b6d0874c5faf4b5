"""Rules of operators that sum over channels: convolutions, matrix products, Einsum, recurrent inputs."""

from __future__ import annotations

import numpy as np

from pfir.ir.coupling.edits import Fill, Literal
from pfir.ir.coupling.op import Op, Unfollowed, not_too_wide
from pfir.ir.coupling.rules.elementwise import broadcast
from pfir.ir.coupling.trace import Labels

NOT_CONTRACTED = "the other side of the product keeps its size"


def conv(op: Op, summand: int = 0) -> None:
    """A convolution with W [O, I/g, *k], b [O]: out axis 1 is W axis 0, in axis 1 is W axis 1 (g times).

    Args:
        summand: Which input [N, O, *d] is added; 0 for none.
    """
    group, weight, bias = op.attr("group", 1), op.operator.weight.place, op.operator.bias
    made = op.labels(weight, 0)
    if summand and op.has(summand):
        op.tie(made, op.labels(summand, 1))
    op.know_shape(0, [op.shape(0)[0], op.shape(weight)[0], *[None] * (op.rank(0) - 2)])
    op.out(0, op.rank(0) - 1, None)
    op.out(0, 0, op.labels(0, 0))
    op.out(0, 1, made)
    op.produce(weight, 0, "weight")
    if bias is not None and op.has(bias):
        op.tie(made, op.labels(bias, 0))
        op.produce(bias, 0, "bias")
    taken, per_group = op.labels(0, 1), op.labels(weight, 1)
    if group == 1:
        op.tie(taken, per_group, NOT_CONTRACTED)
        op.consume(weight, 1, (0, 1))
    elif op.size(weight, 1) == 1:
        _depthwise(op, taken, made, group)
    else:
        _same_place_in_every_group(op, made, group)
        op.tie(None if taken is None else taken.reshape(group, -1), per_group, NOT_CONTRACTED)
        op.consume(weight, 1, (0, 1))


def _depthwise(op: Op, taken: Labels, made: Labels, group: int) -> None:
    """Channel c makes channels c*m .. c*m+m-1; `group` is the number of channels that stay."""
    op.tie(None if taken is None else taken[:, None], None if made is None else made.reshape(group, -1))
    _follow_group(op, group)


def _follow_group(op: Op, group: int) -> None:
    op.rewrite(Literal(op.key, "group", (group,), (Fill(0, (op.inputs[0], 1), 0, group),), scalar=True))


def _same_place_in_every_group(op: Op, labels: Labels, group: int) -> None:
    """All groups of a grouped convolution stay equally wide: the channels in one place of each go together."""
    if labels is not None:
        rows = labels.reshape(group, -1)
        op.tie(rows[:1], rows)


def conv_transpose(op: Op) -> None:
    """A transposed convolution with W [I, O/g, *k], b [O]: in axis 1 is W axis 0, out axis 1 is W axis 1 (g times)."""
    group = op.attr("group", 1)
    taken, rows, columns = op.labels(0, 1), op.labels(1, 0), op.labels(1, 1)
    op.out(0, op.rank(0) - 1, None)
    op.out(0, 0, op.labels(0, 0))
    op.tie(taken, rows, NOT_CONTRACTED)
    if group == 1:
        made = columns
        op.consume(1, 0, (0, 1))
        op.produce(1, 1, "weight")
    elif op.size(1, 0) == group:
        made = None if rows is None else np.repeat(rows, not_too_wide(rows.size * op.size(1, 1)) // rows.size)
        op.pin(columns, "every group makes the same number of channels")
        op.produce(1, 0, "weight")
        _follow_group(op, group)
    else:
        _same_place_in_every_group(op, rows, group)
        made = None if columns is None else np.tile(columns, not_too_wide(columns.size * group) // columns.size)
        op.consume(1, 0, (0, 1))
        op.produce(1, 1, "weight")
    op.out(0, 1, made)
    if op.has(2):
        op.tie(made, op.labels(2, 0))
        op.produce(2, 0, "bias")


def gemm(op: Op) -> None:
    """The product of A [M, K] and B [K, N], either transposed, and C broadcast to [M, N]."""
    right, bias = op.operator.weight.place, op.operator.bias
    m, k = (1, 0) if op.attr("transA", 0) else (0, 1)
    k_too, n = (1, 0) if op.attr("transB", 0) else (0, 1)
    op.tie(op.labels(0, k), op.labels(right, k_too), NOT_CONTRACTED)
    rows, columns = op.labels(0, m), op.labels(right, n)
    op.contract((0, k), (right, k_too))
    op.produce(right, n, "weight")
    op.produce(0, m, "weight")
    op.out(0, 0, rows)
    op.out(0, 1, columns)
    if op.has(bias):
        _add_bias(op, bias, (rows, columns))


def _add_bias(op: Op, bias: int, result: tuple[Labels, Labels]) -> None:
    rank = op.rank(bias)
    for axis in range(rank):
        labels = op.labels(bias, axis)
        if op.shape(bias)[axis] != 1:
            op.tie(result[axis + 2 - rank], labels)
            op.produce(bias, axis, "bias")


def matmul(op: Op, turned_left: bool = False, turned_right: bool = False) -> None:
    """The product [*batch, M, K] x [*batch, K, N].

    Either side may be constant, stacked, one vector, or have its axes swapped.
    """
    second = op.operator.weight.place
    left, right = op.rank(0), op.rank(second)
    if not left or not right:
        raise Unfollowed("a factor is a scalar")
    m, k = (left - 1, left - 2) if turned_left and left > 1 else (left - 2, left - 1)
    k_too, n = (right - 1, right - 2) if turned_right or right == 1 else (right - 2, right - 1)
    op.tie(op.labels(0, k), op.labels(second, k_too), NOT_CONTRACTED)
    op.contract((0, k), (second, k_too))
    batch = max(left, right, 2) - 2
    places = [_batch_places(op, axis - batch, second) for axis in range(batch)]
    rows, columns = op.shape(0)[m : m + 1] if left > 1 else (), op.shape(second)[n : n + 1] if right > 1 else ()
    op.know_shape(0, [*(broadcast(op, p) for p in places), *rows, *columns])
    for axis, found in enumerate(places):
        op.out(0, axis, op.join([op.labels(i, a) for i, a in found if op.shape(i)[a] != 1]))
    axis = batch
    if left > 1:
        op.out(0, axis, op.labels(0, m))
        op.produce(0, m, "weight")
        axis += 1
    if right > 1:
        op.out(0, axis, op.labels(second, n))
        op.produce(second, n, "weight")


def _batch_places(op: Op, from_end: int, second: int) -> list[tuple[int, int]]:
    """(input, axis) of a batch axis, in the factors that have it."""
    return [(i, op.rank(i) - 2 + from_end) for i in (0, second) if op.rank(i) - 2 + from_end >= 0]


def einsum(op: Op) -> None:
    """Axes of one letter live together; a letter that the result lacks is summed over."""
    terms, result = letters(op)
    places: dict[str, list[tuple[int, int]]] = {}
    for i, term in enumerate(terms):
        for axis, letter in enumerate(term):
            places.setdefault(letter, []).append((i, axis))
    # An axis of length one broadcasts.
    joined = {
        letter: op.join([op.labels(i, axis) for i, axis in found if op.shape(i)[axis] != 1])
        for letter, found in places.items()
    }
    for letter, found in places.items():
        if letter not in result:
            _consume_letter(op, found)
            continue
        for i, axis in found:
            op.produce(i, axis, "weight")
    op.know_shape(0, [broadcast(op, places[letter]) for letter in result])
    for axis, letter in enumerate(result):
        op.out(0, axis, joined[letter])


def _consume_letter(op: Op, places: list[tuple[int, int]]) -> None:
    """Weights are what contracts; without any, the activations contract with each other."""
    weights = [p for p in places if op.is_constant(p[0])]
    data = next((p for p in places if p not in weights), places[0])
    for i, axis in weights or places:
        op.consume(i, axis, data)


def letters(op: Op) -> tuple[list[list[str]], list[str]]:
    """The names of the axes of each input, and of the result; an ellipsis stands for those called ".1", ".2", ..."""
    left, arrow, right = op.attr("equation").replace(" ", "").partition("->")
    texts = left.split(",")
    if len(texts) != len(op.inputs):
        raise Unfollowed("its equation does not fit its inputs")
    spare = [op.rank(i) - len(text.replace("...", "")) for i, text in enumerate(texts)]
    terms = [_named_axes(text, count) for text, count in zip(texts, spare, strict=True)]
    if any(len(set(term)) < len(term) for term in terms):
        raise Unfollowed("its equation takes a diagonal")
    if any(len(term) != op.rank(i) for i, term in enumerate(terms)):
        raise Unfollowed("its equation does not fit its inputs")
    if not arrow:
        once = (c for c in set(left) - set(".,") if left.count(c) == 1)
        right = "..." * ("..." in left) + "".join(sorted(once))
    return terms, _named_axes(right, max((n for n, text in zip(spare, texts, strict=True) if "." in text), default=0))


def _named_axes(text: str, count: int) -> list[str]:
    """The names of the axes of a term, letter by letter; the ellipsis becomes `count` names, aligned at its end."""
    before, _, after = text.partition("...")
    dots = [f".{k}" for k in range(count, 0, -1)] if "..." in text else []
    return [*before, *dots, *after]


def recurrent(op: Op) -> None:
    """A layer with X [S, B, I], W [D, G*H, I], R [D, G*H, H], B [D, 2*G*H], states [D, B, H], P [D, 3*H].

    I and H may shrink; a hidden unit goes from all gates and both directions at once.
    """
    if op.attr("hidden_size") is None:
        raise Unfollowed("it has no hidden_size")
    given, state = op.operator.weights
    op.tie(op.labels(0, 2), op.labels(given.place, given.inputs), NOT_CONTRACTED)
    op.consume(given.place, given.inputs, (0, 2))
    hidden = op.labels(state.place, state.inputs)
    tie_cell(op, hidden)
    op.consume(state.place, state.inputs)
    give_states(op, hidden, (op.inputs[state.place], state.inputs), op.attr("hidden_size"))


def tie_cell(op: Op, hidden: Labels) -> None:
    """Tie all that has rows for hidden units: weights and biases of the gates, peepholes, states to begin with."""
    operator, cell = op.operator, op.operator.cell
    gates = len(cell.gates)
    for weight in operator.weights:
        tie_gates(op, hidden, weight.place, gates, weight.outputs)
    tie_gates(op, hidden, operator.bias, 2 * gates)
    if cell.peepholes is not None:
        tie_gates(op, hidden, cell.peepholes, sum(gate.peephole is not None for gate in cell.gates))
    for i in cell.states:
        op.tie(hidden, op.labels(i, 2) if op.has(i) else hidden)


def give_states(op: Op, hidden: Labels, site: tuple[str, int], width: int) -> None:
    """Make the outputs sequences [S, D, B, H], then last states [D, B, H]; the size H is that of an axis of R."""
    op.rewrite(Literal(op.key, "hidden_size", (width,), (Fill(0, site, 0, width),), scalar=True))
    for j in range(len(op.outputs)):
        op.out(j, 3 if j == 0 else 2, hidden)


def tie_gates(op: Op, hidden: Labels, i: int, gates: int, axis: int = 1) -> None:
    """Tie an axis of an input that holds as many rows for each hidden unit as there are gates."""
    if not op.has(i):
        return
    rows = op.labels(i, axis)
    op.tie(None if hidden is None else hidden[None], None if rows is None else rows.reshape(gates, -1))
    weights = [weight.place for weight in op.operator.weights]
    op.produce(i, axis, "weight" if i in weights else "bias")
