"""Vectors as instructions see them."""

from __future__ import annotations

from pfir.target import Target

_LEAST = 0.5


def share_of_vector(target: Target, lanes: int) -> float:
    """What an instruction on so many lanes counts as: on Arm one, on x86 its share of the widest, at least half."""
    return 1.0 if target.arm64 or lanes >= target.lanes else max(_LEAST, lanes / target.lanes)


def pairs(vectors: int) -> int:
    """Loads of so many vectors side by side, two of which are one instruction."""
    return (vectors + 1) // 2
