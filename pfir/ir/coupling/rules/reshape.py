"""Rules of Reshape and Flatten: which axis carries the channels on, where axes are merged and split."""

from __future__ import annotations

from collections import Counter
from math import gcd, lcm

import numpy as np

from pfir.ir.coupling.components import components
from pfir.ir.coupling.edits import Fill, Literal
from pfir.ir.coupling.op import Op, Unfollowed
from pfir.ir.coupling.rules.reduction import entries

_LARGEST_BLOCK = 1 << 22
_MOST_AXES = 64


def flatten(op: Op) -> None:
    """Follow [d0 .. dn] -> [d0*..*d(axis-1), d(axis)*..*dn]."""
    axis = op.attr("axis", 1)
    axis = axis + op.rank(0) if axis < 0 else axis
    dims = op.shape(0)
    _follow(op, dims, [_product(dims[:axis]), _product(dims[axis:])])


def _product(dims):
    """A product as an int, a symbol, or a unique unknown."""
    if all(isinstance(d, int) for d in dims):
        return int(np.prod(dims, dtype=np.int64))
    rest = [d for d in dims if d != 1]
    return rest[0] if len(rest) == 1 else ("product", *sorted(map(str, rest)))


def reshape(op: Op) -> None:
    """Match blocks of axes with equal products; inside a block one axis on either side carries the labels."""
    dims = op.shape(0)
    target = op.literal(1) if op.has(1) else np.asarray(op.attr("shape", ()), dtype=object)
    if target is None:
        raise Unfollowed("its shape is known only at run time")
    wanted = _resolve(list(dims), target.ravel().tolist(), op.attr("allowzero", 0))
    labelled = _follow(op, dims, wanted)
    fills = tuple(Fill(a, (op.outputs[0], a), 0, n) for a, n in labelled if target.ravel()[a] != -1)
    # A zero copies the input's size at that place, which may be another one by then.
    plain = [w if t == 0 and isinstance(w, int) else t for t, w in zip(target.ravel().tolist(), wanted, strict=True)]
    values = entries(np.array([*plain, None], dtype=object)[:-1])
    op.rewrite(Literal(op.key, 1 if op.has(1) else "shape", values, fills))


def _resolve(dims: list, target: list, allow_zero: int) -> list:
    """The output dimensions: ints, symbols, or unique unknowns."""
    wanted = [dims[i] if d == 0 and not allow_zero else d for i, d in enumerate(target)]
    wanted = [("?", i) if d is None else d for i, d in enumerate(wanted)]
    if -1 in wanted:
        at = wanted.index(-1)
        wanted[at] = _rest(dims, wanted[:at] + wanted[at + 1 :], at)
    return wanted


def _rest(dims: list, others: list, at: int):
    number, symbols = _key(dims)
    divisor, taken = _key(others)
    left = Counter(symbols)
    left.subtract(Counter(taken))
    if min(left.values(), default=0) < 0 or not divisor or number % divisor:
        return ("rest", at)
    names = sorted(left.elements(), key=str)
    if not names:
        return number // divisor
    return names[0] if len(names) == 1 and number == divisor else ("product", number // divisor, *names)


def _key(dims) -> tuple[int, tuple]:
    """A product in a form that can be compared: its number, and its symbols in order."""
    number, symbols = 1, []
    for place, dim in enumerate(dims):
        if isinstance(dim, (int, np.integer)):
            number *= int(dim)
        elif isinstance(dim, tuple) and dim[0] == "product":
            number *= dim[1] if isinstance(dim[1], int) else 1
            symbols += [d for d in dim[1:] if not isinstance(d, int)]
        else:
            symbols.append(dim if dim is not None else ("unknown", place))
    return number, tuple(sorted(symbols, key=str))


def _blocks(dims, wanted) -> list[tuple[range, range]]:
    """Runs of input and output axes whose products are equal, as short as can be."""
    before = [_key(dims[:i]) for i in range(len(dims) + 1)]
    after = [_key(wanted[:j]) for j in range(len(wanted) + 1)]
    found, i, j = [], 0, 0
    for end in range(1, len(dims) + 1):
        match = next((k for k in range(j + 1, len(wanted) + 1) if after[k] == before[end]), None)
        if match is not None:
            found.append((range(i, end), range(j, match)))
            i, j = end, match
    if i < len(dims) or j < len(wanted):
        found.append((range(i, len(dims)), range(j, len(wanted))))
    return found


def _follow(op: Op, dims, wanted) -> list[tuple[int, int]]:
    """Give the output its labels; returns the labelled output axes with their widths."""
    if max(len(dims), len(wanted)) > _MOST_AXES:
        raise Unfollowed(f"it has {len(wanted)} axes")
    op.know_shape(0, wanted)
    for axis in range(len(wanted)):
        op.out(0, axis, None)
    result = []
    for ins, outs in _blocks(dims, wanted):
        labelled = [(i, op.labels(0, i)) for i in ins]
        labelled = [(i, labels) for i, labels in labelled if labels is not None]
        found = _through(op, labelled, [dims[i] for i in ins], ins, [wanted[j] for j in outs], outs)
        if found:
            op.out(0, found[0], found[1])
            result.append((found[0], found[1].size))
    return result


def _through(op: Op, labelled, in_dims, ins: range, out_dims, outs: range) -> tuple[int, np.ndarray] | None:
    if not labelled:
        return None
    in_long = [d for d in in_dims if d != 1]
    out_long = [j for j, d in zip(outs, out_dims, strict=True) if d != 1]
    # But for axes of length one, the axis is handed on as it is, whatever its size.
    if len(in_long) == 1 and len(out_long) == 1:
        return out_long[0], labelled[0][1]
    if not all(isinstance(d, (int, np.integer)) for d in (*in_dims, *out_dims)):
        return _beside_dynamic(op, labelled, ins, out_dims, outs)
    if int(np.prod(in_dims)) != int(np.prod(out_dims)):
        _pin_all(op, labelled, "its sizes do not match")
        return None
    return _static(op, labelled, [int(d) for d in in_dims], ins, [int(d) for d in out_dims], outs)


def _pin_all(op: Op, labelled, reason: str) -> None:
    for _, labels in labelled:
        op.pin(labels, reason)


def _beside_dynamic(op: Op, labelled, ins: range, out_dims, outs: range) -> tuple[int, np.ndarray] | None:
    """Match the last axes, or the first ones, beside dynamic sizes, where one size divides the other."""
    for end in (-1, 0):
        width = out_dims[end] if out_dims else None
        found = next((labels for axis, labels in labelled if axis == ins[end]), None)
        if found is None or not isinstance(width, int) or width < 2 or max(width, found.size) % min(width, found.size):
            continue
        _pin_all(op, [(a, b) for a, b in labelled if a != ins[end]], "it mixes this axis with another with channels")
        made = op.trace.new(width)
        _tie_multiples(op, found, made, end)
        return outs[end], made
    _pin_all(op, labelled, "it mixes this axis with one whose size is dynamic")
    return None


def _tie_multiples(op: Op, a: np.ndarray, b: np.ndarray, end: int) -> None:
    """Tie two axes one of which is a multiple of the other: last ones repeat the shorter, first ones stretch it."""
    short, long = sorted((a, b), key=len)
    if end == 0:
        op.tie(short[:, None], long.reshape(short.size, -1))
    else:
        op.tie(short[None], long.reshape(-1, short.size))


def _static(op: Op, labelled, in_dims, ins: range, out_dims, outs: range) -> tuple[int, np.ndarray] | None:
    """The pair of axes, one on each side, that leaves most channels apart; a split by its purpose."""
    targets = [j for j in range(len(out_dims)) if out_dims[j] > 1]
    choices = []
    for i, labels in labelled:
        for j in targets:
            a, b = _pairs(in_dims, i - ins[0], out_dims, j)
            roots = components(labels.size + out_dims[j], a, b + labels.size)
            # So many components, so many channels that can go one by one; a single one ties all of them.
            choices.append((len(np.unique(roots)), i, j, labels, a, b))
    useful = [c for c in choices if c[0] > 1]
    if not useful:
        _pin_all(op, labelled, "it mixes this axis with another")
        return None
    _, i, j, labels, a, b = _choose(op, useful)
    others = [(k, other) for k, other in labelled if k != i]
    _pin_all(op, others, "it mixes this axis with another that carries channels")
    made = op.trace.new(out_dims[j])
    op.tie(labels[a], made[b])
    return outs[j], made


def _choose(op: Op, useful: list):
    """The factor that carries the labels, of several.

    It is whole heads or norm groups where a product or a norm follows, and the minor one in a shuffle.
    """
    if len({c[1] for c in useful}) > 1 or len(useful) == 1:
        return max(useful, key=lambda c: c[0])
    # One axis is split: each of the others is a factor of it, the outermost first, and any could carry the labels.
    op.trace.ambiguous = True
    mode = op.trace.split if op.trace.split in ("major", "minor", "first") else _mode(op)
    if mode == "first":
        return useful[0]
    return useful[-2] if mode == "major" else useful[-1]


_HEADS = ("MatMul", "Einsum", "Softmax", "Attention")
_NORM_GROUPS = ("InstanceNormalization", "LayerNormalization", "ReduceMean", "ReduceMax")
_REACH = 8


def _mode(op: Op) -> str:
    """Which factor goes, told from the first operator behind that mixes positions; whole heads, unless told not to."""
    front = [op.node]
    for _ in range(_REACH):
        front = [n for node in front for out in node.outputs for n in out.outputs]
        if any(n.op in _HEADS for n in front):
            return "minor" if op.trace.split == "within" else "major"
        if any(n.op in _NORM_GROUPS for n in front):
            return "major"
        if not front or any(n.op in ("Reshape", "Flatten", "Conv") for n in front):
            return "minor"
    return "minor"


def _pairs(in_dims, i: int, out_dims, j: int) -> tuple[np.ndarray, np.ndarray]:
    """Which positions of input axis i and output axis j hold a common element, each pair once."""
    total = int(np.prod(in_dims, dtype=np.int64))
    step_in = int(np.prod(in_dims[i + 1 :], dtype=np.int64))
    step_out = int(np.prod(out_dims[j + 1 :], dtype=np.int64))
    # Both coordinates repeat after the common period and stand still between multiples of the common step.
    period = min(total, lcm(step_in * in_dims[i], step_out * out_dims[j]))
    step = gcd(step_in, step_out)
    if period // step > _LARGEST_BLOCK or in_dims[i] * out_dims[j] > 1 << 62:
        raise Unfollowed("it mixes too many positions")
    flat = np.arange(0, period, step)
    a, b = flat // step_in % in_dims[i], flat // step_out % out_dims[j]
    unique = np.unique(a * out_dims[j] + b)
    return unique // out_dims[j], unique % out_dims[j]
