"""Vectors as instructions see them."""

from __future__ import annotations

from pfir.target import Target
from pfir.workload import Workload

_LEAST = 0.5


def share_of_vector(target: Target, lanes: int) -> float:
    """What an instruction on so many lanes counts as: on Arm one, on x86 its share of the widest, at least half."""
    return 1.0 if target.arm64 or lanes >= target.lanes else max(_LEAST, lanes / target.lanes)


def pairs(vectors: int) -> int:
    """Loads of so many vectors side by side, two of which are one instruction."""
    return (vectors + 1) // 2


def side(workload: Workload, order: tuple[int, ...]) -> int:
    """Values along the innermost axes in one order that lie beside each other in the other one, too."""
    other = workload.into if order == workload.order else workload.order
    values, place = workload.data[order[-1]], other.index(order[-1])
    for axis in order[-2::-1]:
        if place == 0 or other[place - 1] != axis:
            break
        values, place = values * workload.data[axis], place - 1
    return values
