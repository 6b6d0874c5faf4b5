"""What moves values without computing: kernels/move.py and transpose.py, counted."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.loops import loop_over
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import pairs
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Found over the grid of benchmarks/estimator/grids/moves.py, scalar instructions and branches: of a call, and of a
# stretch along the innermost axis.
_CALLED, _STRETCH = Instructions(scalar=30.0, branch=5.0), (4.5, 1.3)
_PART_OF_STRETCH = 3.0  # scalar instructions of a stretch that is cut from a longer one
_WRITTEN = 32  # vectors of a stretch of a Concat that is written out
# Of a vector of a longer one, which asks for each part whether it lies there: these, and these for each part.
_ASKED, _EACH_PART = (2.1, -3.9), (2.2, 2.5)
_APART = 0.4  # loads, or stores, of a value where stretches fill no vectors
_BORDER = (15.0, 3.05)  # of a stretch that may lie in a border
_BORDER_LOADS, _BORDER_STORES = 0.6, 0.5  # of a vector
# Of the place of a nearest sample, whose coordinates are single floats: multiply-adds, others, scalar ones, branches.
_SAMPLE = (1.0, 12.0, 8.0, 1.05)
_GATHERED = (1.26, 0.26)  # of a value that is taken by itself
# Of a block of 4 x 4 values that is turned: vectors, loads, stores, scalar instructions, branches; more scalar ones
# where blocks overlap.
_BLOCK, _OVERLAP = (9.0, 3.6, 4.3, 1.4, 0.7), 7.0


def move(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a Concat, Pad, Slice, Resize (to the nearest) or another move; `kind` is ONNX's operator."""
    order = workload.into or workload.order
    inner = workload.out[order[-1]]
    outer = prod(workload.out) // inner
    lanes = next((n for n in (target.lanes, target.lanes // 2, target.lanes // 4) if n > 1 and inner % n == 0), 0)
    count = {"Concat": _concat, "Pad": _pad, "Resize": _resize, "Upsample": _resize}.get(workload.kind, _slice)
    vectors = outer * -(-inner // (lanes or target.lanes))
    moved = count(target, workload, inner, outer, lanes) + _CALLED
    return moved + tail_of_vector(tail, target.core.vector_bytes, workload.dtype) * vectors if tail.operators else moved


def _copied(target: Target, values: float, loads: float, stores: float) -> Instructions:
    """Loads and stores of so many values."""
    size = values * target.value_bytes
    return Instructions(load=loads, load_bytes=size, store=stores, store_bytes=size)


def _slice(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    if inner == 1:
        scalar, branch = (outer * cost for cost in _GATHERED)
        return _copied(target, outer, outer, outer / target.lanes) + Instructions(scalar=scalar, branch=branch)
    vectors = -(-inner // min(target.lanes, 1 << (inner.bit_length() - 1)))
    loop = loop_over(target, vectors, 2)
    moves = outer * loop.moves(vectors)
    others = Instructions(scalar=outer * (loop.scalar + _PART_OF_STRETCH), branch=outer * (loop.branch + 1))
    return _copied(target, outer * inner, moves, moves) + others


def _concat(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    vectors = -(-inner // (lanes or target.lanes))
    parts = workload.parts or workload.data[1:2]
    stretch = Instructions(scalar=outer * _STRETCH[0], branch=outer * _STRETCH[1])
    if not lanes:
        return _copied(target, outer * inner, outer * inner * _APART, outer * inner * _APART) + stretch
    if vectors <= _WRITTEN:
        moves = outer * sum(pairs(part // target.lanes) + (part % target.lanes > 0) for part in parts)
        return _copied(target, outer * inner, moves, moves) + stretch
    scalar, branch = (outer * vectors * (_ASKED[i] + _EACH_PART[i] * len(parts)) for i in (0, 1))
    asked = Instructions(scalar=scalar, branch=max(branch, outer * vectors))
    return _copied(target, outer * inner, outer * vectors, outer * vectors) + asked + stretch


def _pad(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    rows, vectors = prod(workload.data) // workload.data[workload.order[-1]], _vectors(target, inner)
    copied = _copied(target, rows * inner, rows * vectors * _BORDER_LOADS, outer * vectors * _BORDER_STORES)
    return copied + Instructions(scalar=outer * _BORDER[0], branch=outer * _BORDER[1])


def _resize(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    moves = outer * (inner // target.lanes / 2 + (inner % target.lanes).bit_count())
    multiply, vector, scalar, branch = (outer * cost for cost in _SAMPLE)
    sample = Instructions(multiply=multiply, vector=vector, scalar=scalar, branch=branch)
    return _copied(target, outer * inner, moves, moves) + sample


def _vectors(target: Target, inner: int) -> int:
    """Vectors, and those of what is left, each half as wide as the one before."""
    return inner // target.lanes + 2 * (inner % target.lanes).bit_count()


def transpose(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a copy in blocks that are turned in registers, from `order` into another."""
    sides = _side(workload, workload.order), _side(workload, workload.into)
    values = prod(workload.data)
    blocks = values // prod(sides) * prod(-(-side // 4) for side in sides)
    vectors, loads, stores, scalar, branch = (each * blocks for each in _BLOCK)
    overlap = blocks * _OVERLAP if any(side % 4 for side in sides) else 0.0
    turned = Instructions(vector=vectors, scalar=scalar + overlap, branch=branch)
    return _copied(target, values, loads, stores) + turned + _CALLED


def _side(workload: Workload, order: tuple[int, ...]) -> int:
    """Values along the innermost axes in one order that lie beside each other in the other one, too."""
    other = workload.into if order == workload.order else workload.order
    side, place = workload.data[order[-1]], other.index(order[-1])
    for axis in order[-2::-1]:
        if place == 0 or other[place - 1] != axis:
            break
        side, place = side * workload.data[axis], place - 1
    return side
