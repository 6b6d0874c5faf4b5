"""Instructions of moves of integers of eight bits, which become floats for what follows them."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from pfir.backends.tvm.counts.integers.elements import THROUGH_FLOATS
from pfir.backends.tvm.counts.others.moves import move
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload


def move_int8(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of a move; what follows it computes on floats, and rounds them."""
    floats = move(target, replace(workload, dtype=target.arithmetic.data), tail)
    vectors = prod(workload.out) / target.lanes if tail.operators else 0
    return floats + Instructions(vector=THROUGH_FLOATS) * vectors
