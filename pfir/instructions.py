"""Instructions by class: what a kernel executes, told apart by what it costs a core."""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import add


@dataclass(frozen=True)
class Instructions:
    """How many instructions of each class are executed, and the bytes that loads and stores move.

    Counts of one kernel are whole numbers; averages over its tiles need not be.

    Args:
        multiply: Multiply-adds of vectors of float32.
        half: Multiply-adds of vectors of float16.
        dot: Dot products of bytes, and products of their matrices.
        widening: Products of integers that are twice as wide, and sums of neighbours.
        vector: Other instructions of the vector unit, on single floats too.
        load, store: Each counts once, however many registers it names.
        load_bytes, store_bytes: What those move.
        scalar: Of addresses, counters, and moves of whole registers.
        branch: Taken or not.
    """

    multiply: float = 0.0
    half: float = 0.0
    dot: float = 0.0
    widening: float = 0.0
    vector: float = 0.0
    load: float = 0.0
    load_bytes: float = 0.0
    store: float = 0.0
    store_bytes: float = 0.0
    scalar: float = 0.0
    branch: float = 0.0

    @property
    def total(self) -> float:
        """All instructions."""
        return sum(value for name, value in zip(CLASSES, self.values, strict=True) if name not in BYTES)

    @property
    def values(self) -> tuple[float, ...]:
        """In the order of `CLASSES`."""
        return tuple(vars(self).values())

    def __add__(self, other: Instructions) -> Instructions:
        return Instructions(*map(add, self.values, other.values))

    def __mul__(self, times: float) -> Instructions:
        return Instructions(*[times * value for value in self.values])


NOTHING = Instructions()
CLASSES = tuple(field.name for field in fields(Instructions))
"""The names of its fields, in order."""
BYTES = ("load_bytes", "store_bytes")
