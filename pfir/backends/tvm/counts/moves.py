"""What moves values without computing: kernels/move.py and transpose.py, counted."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.loops import loop_over
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import pairs
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

_CALL = (30.0, 5.0)
_STRETCH = (3.0, 1.3)  # scalar instructions and branches of a stretch along the innermost axis
_WRITTEN = 32  # vectors of a stretch of a Concat that is written out
# Of a vector of a longer one, which asks for each part whether it lies there: a load, a store, and these for each part.
_ASKED, _PART = (2.1, -3.9), (2.2, 2.5)
_BORDER = 7.0  # scalar instructions of a vector that may lie in a border
# Of a block of 4 x 4 values that is turned: vectors, loads and stores, scalar instructions, branches.
_BLOCK = (9.0, 2.2, 4.0, 1.2, 0.4)
_SAMPLE = (12.0, 1.0, 5.0)  # of the place of a nearest sample: vectors and multiply-adds on single values, scalar ones


def move(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a Concat, Pad, Slice, Resize (to the nearest) or another move; `kind` is ONNX's operator."""
    order = workload.into or workload.order
    inner = workload.out[order[-1]]
    outer = prod(workload.out) // inner
    lanes = next((n for n in (target.lanes, target.lanes // 2, target.lanes // 4) if n > 1 and inner % n == 0), 0)
    count = {"Concat": _concat, "Pad": _pad, "Resize": _resize, "Upsample": _resize}.get(workload.kind, _slice)
    vectors = outer * -(-inner // (lanes or target.lanes))
    tails = tail_of_vector(tail, target.core.vector_bytes, workload.dtype) * vectors
    return count(target, workload, inner, outer, lanes) + tails + Instructions(scalar=_CALL[0], branch=_CALL[1])


def _copied(target: Target, values: float, loads: float, stores: float) -> Instructions:
    """Loads and stores of so many values."""
    size = values * target.value_bytes
    return Instructions(load=loads, load_bytes=size, store=stores, store_bytes=size)


def _slice(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    vectors = -(-inner // min(target.lanes, 1 << (inner.bit_length() - 1)))
    loop = loop_over(target, vectors, 2)
    moves = outer * loop.moves(vectors)
    others = Instructions(scalar=outer * (loop.scalar + _STRETCH[0]), branch=outer * (loop.branch + 1))
    return _copied(target, outer * inner, moves, moves) + others


def _concat(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    vectors = -(-inner // (lanes or target.lanes))
    parts = workload.parts or workload.data[1:2]
    stretch = Instructions(scalar=outer * _STRETCH[0], branch=outer * _STRETCH[1])
    if vectors <= _WRITTEN:
        moves = outer * sum(pairs(part // target.lanes) + (part % target.lanes > 0) for part in parts)
        return _copied(target, outer * inner, moves, moves) + stretch
    scalar, branch = (outer * vectors * (_ASKED[i] + _PART[i] * len(parts)) for i in (0, 1))
    asked = Instructions(scalar=scalar, branch=max(branch, outer * vectors))
    return _copied(target, outer * inner, outer * vectors, outer * vectors) + asked + stretch


def _pad(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    rows = prod(workload.data) // workload.data[workload.order[-1]]
    vectors = inner / (lanes or target.lanes)
    ask = _BORDER if lanes >= 2 else _BORDER * 2
    written = loop_over(target, int(vectors), 2).written
    share = 0.5 if written and lanes == target.lanes else 1.0
    copied = _copied(target, rows * inner, rows * vectors * share, outer * vectors * share)
    return copied + Instructions(scalar=outer * (ask + vectors), branch=outer * 1.5)


def _resize(target: Target, workload: Workload, inner: int, outer: int, lanes: int) -> Instructions:
    vectors = outer * -(-inner // (lanes or target.lanes))
    moves = vectors / 2
    sample = Instructions(multiply=_SAMPLE[1], vector=_SAMPLE[0], scalar=_SAMPLE[2], branch=1.0) * outer
    return _copied(target, outer * inner, moves, moves) + sample


def transpose(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a copy in blocks that are turned in registers, from `order` into another."""
    along = workload.data[workload.into[-1]]
    values = prod(workload.data)
    blocks = values / 16
    vectors, loads, stores, scalar, branch = (each * blocks for each in _BLOCK)
    del along
    return Instructions(
        vector=vectors,
        load=loads,
        load_bytes=values * target.value_bytes,
        store=stores,
        store_bytes=values * target.value_bytes,
        scalar=scalar + _CALL[0],
        branch=branch + _CALL[1],
    )
