"""What moves values without computing: kernels/move.py and transpose.py, counted. Constants are read from
disassembly, and agree with the grid of benchmarks/estimator/grids/moves.py."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.loops import loop_over
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import side
from pfir.backends.tvm.kernels.transpose import groups_of
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

_CALLED = Instructions(scalar=5.0, branch=1.0)
_SINGLE = 4  # bytes of a float32, which is loaded into a register of its own and joined
_SHORT = 32  # bytes of a stretch that one load and one store copy, which move their addresses on themselves
_WRITTEN, _WRITTEN_TAIL = 32, 8  # vectors of a stretch that is written out, and of one that a tail follows
# Scalar instructions and branches of a stretch that is not, of a vector of it, and of one that is found inside.
_STRETCH, _ASKED, _INSIDE = (6.0, 2.0), (3.0, 2.0), (0.0, 1.0)
_ASKED_TAIL = 1.0  # scalar instructions of a vector whose address several operands share
# Of a Concat: of a vector of two parts, of which one is selected; of more of them, whichever it is of.
_SELECTED, _FOUND = (6.0, 1.0), (5.0, 2.0)
_APART = 0.1  # loads, or stores, of a byte where stretches fill no vectors
# Of a pixel of an image with a border: scalar instructions and branches of its loop and of the question for its row;
# of one in a row inside, whose column is found by a division, or a shift; of one inside, and of each load of it, whose
# offset is too far from the address of the pixel, unless all are computed from an address before it.
_PIXEL, _COLUMN, _SHIFTED = (6.0, 2.0), (7.5, 1.0), (3.0, 1.0)
_ADDRESS, _SHIFTED_ADDRESS = 2.0, 5.0
_NEAR = 4096  # bytes of an image's row and pixel, before which it begins, up to which an instruction subtracts them
_NARROW = (0.72, 0.57)  # loads and stores inside of a vector that is not a whole one: LLVM joins some
# Of the place of a nearest sample, whose coordinates are single floats: multiply-adds, others, scalar ones, branches.
_SAMPLE = (1.0, 12.0, 8.0, 1.05)
_QUARTER = 4  # values of each side of a block that is turned
# Vector instructions of a block; scalar ones of a round of blocks, and of a block where places are clamped to the last.
_TURNED, _ROUND, _CLAMPED = 9.0, 3.0, 7.0


def move(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a Concat, Pad, Slice, Resize (to the nearest) or another move; `kind` is ONNX's operator."""
    order = workload.into or workload.order
    inner = workload.out[order[-1]]
    outer = prod(workload.out) // inner
    lanes = next((n for n in (target.lanes, target.lanes // 2, target.lanes // 4) if n > 1 and inner % n == 0), 0)
    vectors = -(-inner // (lanes or target.lanes))
    written = vectors <= (_WRITTEN_TAIL if tail.operators else _WRITTEN)
    if workload.kind == "Concat":
        moved = _concat(target, workload, inner, outer, lanes, written)
    elif workload.kind == "Pad":
        moved = _pad(target, workload, inner, outer, lanes, written)
    elif workload.kind in ("Resize", "Upsample"):
        moved = _resize(target, inner, outer)
    else:
        moved = _slice(target, inner, outer)
    if tail.operators:
        moved += _followed(target, workload, tail, outer * vectors, written)
    return moved + _CALLED


def _followed(target: Target, workload: Workload, tail: Tail, vectors: int, written: bool) -> Instructions:
    """What a tail does to so many vectors. Where they are written out, its operands are loaded in pairs and its
    constants stay in registers."""
    after, size = tail_of_vector(tail, target.core.vector_bytes, workload.dtype), target.core.vector_bytes
    loads = -tail.reads / 2 if written else float(tail.constants)
    more = Instructions(
        load=loads, load_bytes=0.0 if written else tail.constants * size, scalar=0.0 if written else _ASKED_TAIL
    )
    return (after + more) * vectors


def _copied(target: Target, values: float, loads: float, stores: float) -> Instructions:
    """Loads and stores of so many values."""
    size = values * target.value_bytes
    return Instructions(load=loads, load_bytes=size, store=stores, store_bytes=size)


def _copies(target: Target, values: int) -> int:
    """Loads, or stores, of so many values side by side: pairs of vectors, then what is left, each half as wide."""
    size, pair = values * target.value_bytes, 2 * target.core.vector_bytes
    return size // pair + (size % pair).bit_count()


def _slice(target: Target, inner: int, outer: int) -> Instructions:
    if inner == 1:
        vectors = outer / target.lanes  # put together value by value
        joined = vectors if target.value_bytes == _SINGLE else 0.0
        others = Instructions(vector=joined, scalar=outer + vectors, branch=vectors)
        return _copied(target, outer, outer, vectors) + others
    moves = _copies(target, inner)
    loop = loop_over(target, -(-inner // target.lanes), 2)
    steps = 1 if inner * target.value_bytes <= _SHORT else 3
    others = Instructions(scalar=outer * (loop.scalar + steps), branch=outer * (loop.branch + 1))
    return _copied(target, outer * inner, outer * moves, outer * moves) + others


def _concat(target: Target, workload: Workload, inner: int, outer: int, lanes: int, written: bool) -> Instructions:
    parts = workload.parts or workload.data[1:2]
    if not written:
        return _asked(target, parts, inner // target.lanes, outer) + _copied(target, outer * inner, 0, 0)
    loads, stores = (float(sum(_copies(target, part) for part in each)) for each in (parts, (inner,)))
    if not lanes:
        loads = stores = inner * target.value_bytes * _APART
    inserted = any(part * target.value_bytes % target.core.vector_bytes for part in parts)
    others = Instructions(vector=outer * inserted, scalar=outer * (len(parts) + 2.0), branch=outer)
    return _copied(target, outer * inner, outer * loads, outer * stores) + others


def _asked(target: Target, parts: tuple[int, ...], vectors: int, outer: int) -> Instructions:
    """Of a Concat whose vectors ask for each part, in order, whether they lie there; vectors of a stretch."""
    last = len(parts) - 1
    scalar, branch = (vectors * cost for cost in (_SELECTED if last <= 1 else _FOUND))
    if last > 1:
        for i, part in enumerate(parts):
            asks, there = min(i, last - 1), i < last
            scalar += part / target.lanes * (2 * asks + 2 * there if i else 1)
            branch += part / target.lanes * (asks + there if i else 0)
    stretches = Instructions(scalar=scalar + _STRETCH[0] + 2, branch=branch + _STRETCH[1])
    return (stretches + Instructions(load=vectors, store=vectors)) * outer


def _pad(target: Target, workload: Workload, inner: int, outer: int, lanes: int, written: bool) -> Instructions:
    order = workload.into or workload.order
    kept = workload.data[order[-1]]
    if kept != inner:
        return _widened(target, kept, inner, outer, written)
    height, width = ((workload.data[axis], workload.out[axis]) for axis in (order[-3:-1] if len(order) > 2 else (0, 0)))
    rows = outer * height[0] // height[1]
    inside = prod(workload.data) // kept
    shifts, near = _is_power(width[1]), (width[0] + 1) * inner * target.value_bytes < _NEAR
    vectors = -(-inner // lanes) if lanes else inner.bit_count()
    border, loads, stores = _copies(target, inner), float(vectors), float(_copies(target, inner))
    if lanes and lanes < target.lanes:
        loads, stores = vectors * _NARROW[0], vectors * _NARROW[1]
    elif shifts:
        loads = stores
    column = _SHIFTED if shifts else _COLUMN
    return Instructions(
        load=inside * loads,
        load_bytes=inside * inner * target.value_bytes,
        store=(outer - inside) * border + inside * stores,
        store_bytes=outer * inner * target.value_bytes,
        scalar=outer * (_PIXEL[0] - (shifts and not _is_power(inner)))
        + rows * column[0]
        + inside * (_SHIFTED_ADDRESS if shifts else _ADDRESS + (loads if near else 0.0)),
        branch=outer * _PIXEL[1] + rows * column[1],
    )


def _is_power(number: int) -> bool:
    """Whether it is a power of two."""
    return number & (number - 1) == 0


def _widened(target: Target, kept: int, inner: int, outer: int, written: bool) -> Instructions:
    """Of a Pad along the innermost axis, from `kept` values to `inner`."""
    copied = Instructions(load_bytes=outer * kept * target.value_bytes, store_bytes=outer * inner * target.value_bytes)
    if written:
        moves = Instructions(load=_copies(target, kept), store=_copies(target, inner), scalar=3, branch=1)
        return copied + moves * outer
    vectors, inside = -(-inner // target.lanes), -(-kept // target.lanes)
    scalar, branch = (_STRETCH[i] + vectors * _ASKED[i] + inside * _INSIDE[i] for i in (0, 1))
    asked = Instructions(vector=vectors, load=inside, store=vectors, scalar=scalar, branch=branch)
    return copied + asked * outer


def _resize(target: Target, inner: int, outer: int) -> Instructions:
    moves = outer * _copies(target, inner)
    multiply, vector, scalar, branch = (outer * cost for cost in _SAMPLE)
    sample = Instructions(multiply=multiply, vector=vector, scalar=scalar, branch=branch)
    return _copied(target, outer * inner, moves, moves) + sample


def transpose(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a copy in blocks that are turned in registers, from `order` into another. As in
    kernels/transpose.py a round takes blocks beside each other along the shorter side."""
    source, result = (side(workload, order) for order in (workload.order, workload.into))
    first, second = sorted((source, result), reverse=target.threads > 1)
    values, (groups, beside) = prod(workload.data), groups_of(-(-first // _QUARTER), _QUARTER)
    rounds = values // (first * second) * groups * -(-second // _QUARTER)
    clamped = second % _QUARTER > 0 or (first % _QUARTER > 0 and groups > 1)
    blocks = rounds * (beside if clamped or groups > 1 else first / _QUARTER)
    single, paired = _QUARTER * blocks, _QUARTER * rounds * -(-beside // 2)
    aligned = first % _QUARTER == 0 and not clamped
    loads, stores = (paired if aligned and first == each else single for each in (source, result))
    turned = Instructions(
        vector=blocks * _TURNED,
        scalar=blocks * _CLAMPED if clamped else rounds * _ROUND,
        branch=rounds,
    )
    return _copied(target, values, loads, stores) + turned + _CALLED
