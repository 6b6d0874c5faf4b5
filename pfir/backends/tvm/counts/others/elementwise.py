"""Element-wise chains, and copies into another order: kernels/affine.py, counted."""

from __future__ import annotations

from math import prod

from pfir.backends.tvm.counts.loops import loop_over
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import share_of_vector, side
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

# Scalar instructions and branches of a stretch of vectors; of a call.
_STRETCH, _CALL = (3.0, 1.0), (20.0, 4.0)
_HELD = 24  # vectors of constants that stay in registers


def elementwise(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a chain of element-wise nodes, all of which are the tail's operators.

    `tail.reads` are the operands as large as the result, beside the first; `tail.constants` those of one value a
    channel, constant or not. A chain without operators copies `data` into the order `into`.
    """
    inner, outer = _stretches(workload, tail)
    lanes = min(target.lanes, 1 << (inner.bit_length() - 1))
    whole, rest = divmod(inner, lanes)
    size, share = lanes * target.value_bytes, share_of_vector(target, lanes)
    vectors = whole + (rest > 0)
    each = tail_of_vector(tail, size, workload.dtype)
    if workload.into and workload.into != workload.order:
        return _gathered(target, workload, inner, outer) + each * (outer * vectors)
    loop = loop_over(target, whole, each.total + 3, size)
    side = bool(tail.constants) and workload.order[-1:] == (1,)
    constants = 0.0 if not side or (loop.written and whole <= _HELD) else tail.constants * vectors
    return Instructions(
        multiply=each.multiply * outer * vectors * share,
        half=each.half * outer * vectors * share,
        vector=each.vector * outer * vectors * share,
        load=outer * ((1 + tail.reads) * loop.moves(vectors) + constants + (0 if side else tail.constants)),
        load_bytes=outer * size * ((1 + tail.reads) * vectors + constants),
        store=outer * loop.moves(vectors),
        store_bytes=outer * size * vectors,
        scalar=outer * loop.scalar + (outer * _STRETCH[0] if outer > 1 else 0.0) + _CALL[0],
        branch=outer * loop.branch + (outer * _STRETCH[1] if outer > 1 else 0.0) + _CALL[1],
    )


def _stretches(workload: Workload, tail: Tail) -> tuple[int, int]:
    """Values side by side that are computed alike, and how many such stretches there are."""
    size, order = prod(workload.out), workload.order
    if workload.into and workload.into != workload.order:
        inner = side(workload, workload.into)
    elif tail.constants and len(workload.out) > 1:
        inner = prod(workload.out[axis] for axis in order[order.index(1) + (order[-1] != 1) :])
    else:
        inner = size
    return max(1, inner), size // max(1, inner)


def _gathered(target: Target, workload: Workload, inner: int, outer: int) -> Instructions:
    """A copy whose vectors are put together value by value, each from an address of its own."""
    lanes = min(target.lanes, 1 << (inner.bit_length() - 1))
    vectors, values = outer * -(-inner // lanes), outer * inner
    single = target.value_bytes == 4
    return Instructions(
        vector=vectors if single else 0.0,
        load=values,
        load_bytes=values * target.value_bytes,
        store=vectors,
        store_bytes=vectors * lanes * target.value_bytes,
        scalar=values + vectors + outer * _STRETCH[0],
        branch=vectors,
    )
