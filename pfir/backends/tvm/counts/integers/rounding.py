"""Instructions behind sums of integers: to floats, what follows, and rounded to eight bits."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail

_SSE, _AVX512 = 16, 64  # bytes of a vector
_FOUR = 4  # lanes that are rounded at once on Arm
# Of a vector of integers that are added as floats: half of a widening to 16 bits, one to 32 bits less their zero point,
# a conversion; they are multiplied as they are added.
_READ = 2.5


@lru_cache(maxsize=1 << 12)
def after_sums(target: Target, tail: Tail, lanes: int, rows: float) -> Instructions:
    """The instructions of a vector of so many int32 sums that become bytes: loads of a multiplier a channel and of what
    else is one value a channel, addresses of tensors that are read, and what `converted` tells.

    Args:
        rows: Positions of a tile, which share what is one value a channel.
    """
    vectors = -(-lanes // (target.core.vector_bytes // 4))
    multipliers = Instructions(load=vectors / 2 if by_lane(target) else vectors, load_bytes=4 * lanes)
    shared = multipliers * ((1 + tail.constants) / rows)
    return shared + Instructions(scalar=tail.reads) + converted(target, tail, lanes, rows > 1)


@lru_cache(maxsize=1 << 12)
def converted(target: Target, tail: Tail, lanes: int, in_pairs: bool = False) -> Instructions:
    """The instructions of a vector of so many int32 sums that become bytes, by multipliers that are at hand:
    conversion, the tail with its multiplication, rounding, `in_pairs` of fours where those are all, and the store."""
    vectors = -(-lanes // (target.core.vector_bytes // 4))
    follows = tail_of_vector(replace(saturating(tail), reads=0), target.core.vector_bytes)
    added = Instructions(multiply=1, vector=_READ - 1) * (vectors * tail.reads)
    loaded = Instructions(load=tail.reads, load_bytes=lanes * tail.reads)
    if tail.operators[-1:] == ("QuantizeLinear",):  # its division is the multiplication of the sums
        ends = rounded(target, lanes, in_pairs)
    else:
        ends = Instructions(vector=vectors) + _stored(target, lanes)
    return (Instructions(vector=1) + follows) * vectors + added + loaded + ends


def _stored(target: Target, lanes: int) -> Instructions:
    """The stores of so many floats, on Arm of two vectors by one instruction."""
    vectors = -(-lanes // (target.core.vector_bytes // 4))
    return Instructions(store=-(-vectors // 2) if by_lane(target) else vectors, store_bytes=4 * lanes)


def saturating(tail: Tail) -> Tail:
    """The tail without the bounds right before it is rounded, which saturation keeps."""
    *before, bound, last = ("", "", *tail.operators)
    bounded = last == "QuantizeLinear" and bound in ("Relu", "Clip")
    return replace(tail, operators=(*before[2:], last)) if bounded else tail


@lru_cache(maxsize=1 << 10)
def rounded(target: Target, lanes: int, in_pairs: bool = False) -> Instructions:
    """The instructions that round so many floats to bytes and store them; `in_pairs` of fours where those are all."""
    vectors = -(-lanes // (target.core.vector_bytes // 4))
    eights = -(-lanes // 8)
    if not by_lane(target) and target.core.vector_bytes < _AVX512:
        # A bound and the conversion of four; two narrowings and the zero point of eight, which AVX2 takes apart.
        apart = eights if target.core.vector_bytes > _SSE else 0
        return Instructions(vector=2 * -(-lanes // 4) + 3 * eights + apart, store=eights, store_bytes=lanes)
    if not by_lane(target):
        # A bound, conversion, zero point, bound, narrowing.
        return Instructions(vector=5 * vectors, store=vectors, store_bytes=lanes)
    if in_pairs and lanes <= _FOUR:
        # Half of the zero point and of a narrowing, and of what brings the second four to the front.
        return Instructions(vector=2 + 3 / 2, store=1, store_bytes=lanes)
    # Conversion and narrowing of four; zero point and narrowing of eight. Two are stored together.
    return Instructions(vector=2 * vectors + 2 * eights, store=-(-eights // 2), store_bytes=lanes)
