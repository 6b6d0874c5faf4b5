"""Sums, means and extremes over whole axes, softmax and norms: kernels/reduce.py and rows.py, counted."""

from __future__ import annotations

from dataclasses import replace
from math import log2, prod

from pfir.backends.tvm.counts.loops import loop_over
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.counts.vectors import share_of_vector
from pfir.instructions import Instructions
from pfir.target import SINGLE, Target
from pfir.workload import Tail, Workload

_TOGETHER = 4  # vectors that are combined side by side
_EXP = (10.0, 15.0)  # multiply-adds, and others, of a vector of exponentials
# Constants that a vector of exponentials copies, since a multiply-add writes over them: where it is written out, or in
# a loop for one row; in a loop for each row; there, where folds are written out, generic code keeps constants in scalar
# registers; where the last vector overlaps the one before, it needs them again. A named core takes two vectors a round.
_COPIED, _COPIED_INSIDE, _COPIED_CROWDED, _COPIED_AGAIN = 2.0, (5.0, 3.5), (7.5, 3.5), (12.0, 6.0)
_FOLDED, _ADDRESS, _WRITTEN_NAMED = 50, 1.0, 16  # vectors of folds that are written out; a scalar of each; of exponents
_CALL = (5.0, 1.0)
_REACH = 65520  # bytes from an address that a load of a vector reaches
_ROW, _EVEN = (4.0, 1.0), 2.0  # scalar instructions and branches of a row of values; scalar ones of whole vectors
_WRITTEN, _WALK = 50, 30  # positions of an image, and of a row of one, up to which the loop over them is written out
_PAIRED, _UNPAIRED = 1024, 0.84  # bytes of positions that pairs reach; loads of a vector beyond them
_FAR, _ROUND, _LOOP, _BLOCK = 1.0, (2.2, 1.2), (2.0, 1.0), (8.0, 0.5)  # of a position far away, a round, a block
# Of a last block that is not whole: LLVM takes each of its channels by itself. Scalar instructions and branches of a
# position, and more for each channel; of float16 the instructions of each channel of all blocks.
_CUT, _CUT_EACH = (16.0, 20.0), (9.0, 4.2)
_CUT_HALF = Instructions(vector=1.64, load=1.58, load_bytes=3.2, store=0.8, store_bytes=1.6, scalar=4.8, branch=2.05)

# Of float16 of a block that is no power of two: each value is converted and added by itself; of its position.
_EACH_HALF = Instructions(vector=2.0, load_bytes=2.0)
_EACH_POSITION = Instructions(load=2.0, scalar=3.0, branch=1.0)


def reduce(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a reduction from `data` to `out`, which keeps the axes with size 1."""
    over = [axis for axis, (size, left) in enumerate(zip(workload.data, workload.out, strict=True)) if size != left]
    walk = [axis for axis in workload.order if workload.data[axis] != 1]
    n, rows = prod(workload.data[axis] for axis in over), prod(workload.out)
    if set(walk[len(walk) - len(over) :]) == set(over):
        return _rows(target, workload, tail, n, rows)
    return _columns(target, workload, tail, n, walk)


def _rows(target: Target, workload: Workload, tail: Tail, n: int, rows: int) -> Instructions:
    """Of `rows` rows of `n` values side by side."""
    one = _fold(target, n, 2 if workload.kind in ("max", "min") else 1, target.lanes, workload.dtype != SINGLE)
    ends = tail_of_vector(replace(tail, reads=0, constants=0), 4, SINGLE)
    finish = Instructions(
        vector=1.0, store=1, store_bytes=4, scalar=_ROW[0] if n % target.lanes else _EVEN, branch=_ROW[1]
    )
    return (one + finish + ends) * rows + Instructions(scalar=_CALL[0], branch=_CALL[1])


def _fold(target: Target, n: int, operations: float, most: int, half: bool = False) -> Instructions:
    """The combination of a row's values, of vectors in turn and then of the lanes of one."""
    lanes = min(most, 1 << (n.bit_length() - 1))
    whole, rest = divmod(n, lanes)
    together = min(_TOGETHER, whole)
    wide = lanes * 4 / target.core.vector_bytes if half else 1.0  # float32 vectors of one that is read
    loop = loop_over(target, max(0, whole // together - 1), together * (1 + operations * wide))
    vectors = whole + (rest > 0)
    combined = (whole - together + (rest > 0)) * operations * wide + (together - 1) * operations * wide
    share = share_of_vector(target, lanes)
    return Instructions(
        vector=(combined + (2 * vectors if half else 0) + (2 if rest else 0)) * share + 1.5 * log2(lanes * wide or 1),
        load=vectors / 2 if whole > 1 else vectors,
        load_bytes=vectors * lanes * target.value_bytes,
        scalar=loop.scalar if loop.written else 2 * whole / together,
        branch=loop.branch,
    )


def _columns(target: Target, workload: Workload, tail: Tail, n: int, walk: list[int]) -> Instructions:
    """Of values that lie apart: vectors along the innermost axis, which is kept, several of them at a time."""
    kept, half = workload.data[walk[-1]], workload.dtype != SINGLE
    outer = prod(workload.out) // kept
    block = min(_TOGETHER * target.lanes, kept)
    whole, rest = divmod(kept, block)
    parts = rest if rest % target.lanes else 1
    cut = parts if rest and (half or whole > 1) else 0  # of two blocks of float32 the second is written out by itself
    vectors = outer * (whole * -(-block // target.lanes) + -(-rest // target.lanes))
    blocks, size = outer * (whole + (rest > 0)), target.core.vector_bytes
    last = workload.data[walk[-2]]
    walked = 1 if last > _WALK else n if n <= _WRITTEN else last  # positions that are written out
    apart = kept * target.value_bytes
    loads = vectors * n * (_UNPAIRED if apart * walked > _PAIRED else 0.5)
    operations = 4.0 if half else 2.0 if workload.kind in ("max", "min") else 1.0
    rounds = blocks * n / walked
    if half and cut:
        return _CUT_HALF * (blocks * n * block)
    if half and block & (block - 1):
        return _EACH_HALF * (blocks * n * block) + _EACH_POSITION * (blocks * n)
    each = _ROUND if walked > 1 else _LOOP
    if walked == 1 and 0 < rest <= 2 * target.lanes:
        each = each[0] - 1 / (whole + 1), each[1]  # a pair, whose load moves on its address
    position = rounds * (max(0.0, walked - _REACH / apart) * _FAR + each[0])
    others = Instructions(
        vector=vectors * (operations * n + (4 if half else 1)),
        load=loads,
        load_bytes=vectors * n * size,
        store=vectors,
        store_bytes=vectors * size,
        scalar=position + blocks * _BLOCK[0] + _CALL[0],
        branch=rounds * each[1] + blocks * _BLOCK[1] + _CALL[1],
    )
    if cut:
        scalar, branch = (outer * n * (_CUT[i] + cut * _CUT_EACH[i]) for i in (0, 1))
        others += Instructions(vector=outer * n * cut * 6, load=outer * n * cut * 4.5, scalar=scalar, branch=branch)
    return others + tail_of_vector(tail, size, workload.dtype) * vectors


def softmax(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of e^x over the sum of its row; rows lie along the last axis in memory, in float32."""
    n = workload.data[workload.order[-1]]
    rows = prod(workload.data) // n
    lanes = min(target.core.vector_bytes // 4, 1 << (n.bit_length() - 1))
    whole, rest = divmod(n, lanes)
    vectors = whole + (rest > 0)
    exponents = loop_over(target, whole, _EXP[0] + _EXP[1] + 3)
    written = exponents.written or (target.arm64 and target.cpu != "generic" and whole <= _WRITTEN_NAMED)
    crowded = rows > 1 and not written and whole <= _FOLDED
    rounds = 0.0 if written else 0.5 if target.arm64 and target.cpu != "generic" else 1.0
    scale = loop_over(target, whole, 3)
    folds = _fold(target, n, 2, lanes) + _fold(target, n, 1, lanes)
    one = folds + Instructions(
        multiply=vectors * _EXP[0],
        vector=vectors * (_EXP[1] + 1) + whole + rest + 2 + _constants(target, written, crowded, rows, rest) * whole,
        load=(0 if exponents.written else vectors + scale.moves(whole)) + rest,
        load_bytes=16 * (vectors + whole) + 4 * rest,
        store=vectors + scale.moves(whole) + rest,
        store_bytes=16 * (vectors + whole) + 4 * rest,
        scalar=(exponents.scalar + scale.scalar) * rounds
        + (_ROW[0] / 2 if written else _ROW[0] * 2)
        + crowded * whole * _ADDRESS,
        branch=(exponents.branch + scale.branch) * rounds + _ROW[1],
    )
    return one * rows + Instructions(scalar=_CALL[0], branch=_CALL[1])


def _constants(target: Target, written: bool, crowded: bool, rows: int, rest: int) -> float:
    """Those that a vector of exponentials copies; on x86 instructions write to registers of their own."""
    if not target.arm64:
        return 0.0
    if written or rows == 1:
        return _COPIED
    return (_COPIED_AGAIN if crowded and rest else _COPIED_CROWDED if crowded else _COPIED_INSIDE)[
        target.cpu != "generic"
    ]


def norm(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a norm of rows of as many values as lie along the last axes, in float32."""
    n = workload.data[workload.order[-1]]
    rows = prod(workload.data) // n
    lanes = min(target.core.vector_bytes // 4, 1 << (n.bit_length() - 1))
    whole, rest = divmod(n, lanes)
    vectors = whole + (rest > 0)
    loop = loop_over(target, whole, 10)
    folds = _fold(target, n, 1, lanes) + _fold(target, n, 1, lanes)
    one = folds + Instructions(
        multiply=max(0, whole - _TOGETHER) + vectors,
        vector=whole + min(whole, _TOGETHER) + 2 * vectors + 8 - max(0, whole - _TOGETHER),
        load=(2 if loop.written else 3) * loop.moves(vectors),
        load_bytes=3 * 16 * vectors,
        store=loop.moves(vectors),
        store_bytes=16 * vectors,
        scalar=2 * loop.branch + _ROW[0],
        branch=loop.branch + _ROW[1],
    )
    return one * rows + Instructions(scalar=_CALL[0], branch=_CALL[1])
