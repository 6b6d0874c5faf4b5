"""Instructions of what finds the range of floats and rounds them by it."""

from __future__ import annotations

from dataclasses import replace

from pfir.backends.tvm.counts.integers.elements import elements_int8
from pfir.backends.tvm.counts.others.reduce import reduce
from pfir.instructions import Instructions
from pfir.target import INT8, Target
from pfir.workload import Tail, Workload

SMALL_CALLS = 5
"""Kernels that compute a scale and a zero point, each a few numbers."""


def range_int8(target: Target, workload: Workload, tail: Tail) -> Instructions:
    """The instructions of the extremes of all values, and of rounding each; those of small kernels' calls apart."""
    del tail
    ones = (1,) * len(workload.data)
    extremes = [replace(workload, out=ones, kind=kind, dtype=target.arithmetic.data) for kind in ("max", "min")]
    rounded = Workload("elementwise", workload.data, workload.data, workload.order, dtype=INT8)
    after = Tail(operators=("Mul", "Add", "QuantizeLinear"))
    found = [reduce(target, extreme, Tail()) for extreme in extremes]
    return found[0] + found[1] + elements_int8(target, rounded, after)
