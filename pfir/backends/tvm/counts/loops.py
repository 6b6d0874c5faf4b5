"""Loops over vectors, as LLVM writes them for Arm: unrolled where they are short, else by the cheapest counter."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.backends.tvm.counts.vectors import pairs
from pfir.target import Target

_UNROLLED = 300  # instructions that a loop may have when it is written out
_BESIDE = 3  # of a round's instructions, as LLVM counts them, those of its counter
_COMPARED = 4096
_VECTOR = 16


@dataclass(frozen=True)
class Loop:
    """What a loop over vectors takes beside its body.

    Args:
        scalar, branch: Instructions.
        written: Whether it is written out, so that neighbours are loaded and stored in pairs.
    """

    scalar: float
    branch: float
    written: bool

    def moves(self, vectors: float) -> float:
        """Loads, or stores, of so many vectors side by side."""
        return pairs(int(vectors)) if self.written else vectors


def loop_over(target: Target, rounds: int, body: float, vector_bytes: int = _VECTOR) -> Loop:
    """The loop of so many rounds, each of which has `body` instructions and moves on by a vector."""
    if rounds * (body + _BESIDE) <= _UNROLLED:
        return Loop(0.0, 0.0, True)
    if target.cpu == "cortex-a55" and target.arm64:
        times = 16 if body <= _SHORT else 4
        return Loop(3 * rounds / times, rounds / times, True)
    return Loop(rounds * _counter(rounds, rounds * vector_bytes), float(rounds), False)


def copies_of(rounds: int, size: float) -> int:
    """How often LLVM writes out a loop of so many rounds and instructions for a core that it schedules for.

    Source: LLVM's LoopUnrollPass, `computeUnrollCount`, with remainders allowed and a runtime count of four.
    """
    copies = max(1, min(rounds, int((_UNROLLED - _STEERED) / (size - _STEERED))))
    while rounds % copies:
        copies -= 1
    if copies > 1:
        return copies
    return next((some for some in (4, 2) if (size - _STEERED) * some + _STEERED <= _UNROLLED), 1)


_STEERED = 2  # of a round's instructions that are not repeated
_SHORT = 8  # instructions of a body that LLVM writes out sixteen times for a core that it schedules for


def _counter(rounds: int, size: int) -> int:
    """Scalar instructions of a round: by bytes it adds and compares, by rounds it shifts, too; where no comparison with
    a constant holds the number, it counts down to zero and both addresses move on by themselves."""
    if _comparable(size):
        return 2
    return 3 if _comparable(rounds) else 1


def _comparable(number: int) -> bool:
    """Whether an instruction compares with it: twelve bits, or as many above twelve zeros."""
    return number < _COMPARED or (number % _COMPARED == 0 and number < _COMPARED * _COMPARED)
