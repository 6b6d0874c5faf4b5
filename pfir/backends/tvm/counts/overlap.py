"""What the inner loops of a kernel count as on x86, where loads, multiply-adds and addresses run side by side.

A step of such a loop takes as many cycles as the slowest of what runs side by side: its multiply-adds, its loads, or
the latency of one multiply-add after another. Costs are sums over classes of instructions; so that a sum is right, a
step counts as the multiply-adds that could have run in its cycles, and its loads, which run beside them, as nothing.
What stands outside the inner loops counts as it is, and so does everything on Arm, where few cores overlap as much.

How many loads of one value or vector a core starts in a cycle was found from two products of 125 rows on a core with
AVX2 that multiplies two vectors a cycle. With 64 channels, by tiles of two vectors by six rows, a step of 12
multiply-adds and 8 loads took as long as with 56 channels, by tiles of one vector by nine rows, a step of 9 and 10:
1.6 loads a cycle. Of whole nets between 1.3 and 1.6 fit equally well. Each value is broadcast by a load of its own,
once for all vectors of its row (read from disassembly).
"""

from __future__ import annotations

from pfir.backends.tvm.schedule.tiles import by_lane
from pfir.target import Target

LOADS = 1.5
"""Loads that a core with AVX2 starts in a cycle beside multiply-adds."""
_LATENCY = 4  # cycles of a multiply-add


def step(rate: float, multiplies: float, loads: float, copies: float = 1) -> float:
    """The multiply-adds of whole vectors that a step counts as.

    Args:
        rate: Multiply-adds of whole vectors that start in a cycle.
        multiplies: Those of the step.
        loads: Values and vectors that it loads.
        copies: Steps between two that add to the same sums; less than one where a step adds to them several times.
    """
    return max(multiplies, rate * loads / LOADS, rate * _LATENCY / copies)


def beside(target: Target, multiplies: float, loads: float) -> tuple[float, float]:
    """What multiply-adds of whole vectors, and the loads among them, count as: on x86 those that could have run in the
    cycles of both, and no loads; on Arm both as they are."""
    if by_lane(target):
        return multiplies, loads
    return max(multiplies, target.macs_per_cycle / target.lanes * loads / LOADS), 0.0
