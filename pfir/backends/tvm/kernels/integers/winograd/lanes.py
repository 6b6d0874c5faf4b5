"""Vectors of int32 whose sums LLVM takes in the order in which they are written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.lowering.expressions import const

COUNT = 4
TYPE = "int32"


@dataclass(frozen=True)
class Lanes:
    """Four integers side by side.

    LLVM takes sums of integers apart, and powers of two that multiply them, until more of them wait than registers
    hold. It leaves its predicated operations as they are, of which all lanes count.

    Args:
        vector: The expression.
        ordered: Whether they are such operations.
    """

    vector: Any
    ordered: bool

    @property
    def ty(self) -> str:
        """The type of one of them."""
        return TYPE

    def __add__(self, other: Lanes) -> Lanes:
        return self._with("add", other.vector)

    def __sub__(self, other: Lanes) -> Lanes:
        return self._with("sub", other.vector)

    def __mul__(self, power: Any) -> Lanes:
        """Times a power of two."""
        from tvm import tirx

        return self._with("shl", tirx.Broadcast(const(int(power).bit_length() - 1, TYPE), COUNT))

    def kept(self) -> Lanes:
        """The same in a register, so that it is not computed again."""
        from tvm.tirx.script import builder as T

        cell = T.alloc_buffer((COUNT,), TYPE, scope="local")
        T.buffer_store(cell, self.vector, [_all()])
        return Lanes(loaded(cell), self.ordered)

    def _with(self, operation: str, other: Any) -> Lanes:
        from tvm import tirx

        if not self.ordered:
            return Lanes(_PLAIN[operation](self.vector, other), False)
        every, count = tirx.Broadcast(const(1, "bool"), COUNT), const(COUNT, TYPE)
        name = f"llvm.vp.{operation}.v{COUNT}i32"
        return Lanes(tirx.call_llvm_pure_intrin(f"{TYPE}x{COUNT}", name, self.vector, other, every, count), True)


def loaded(buffer: Any, *place: Any) -> Any:
    """The vector of a buffer at a place, whose last index is the first of its lanes."""
    from tvm import tirx

    *outer, first = place or (0,)
    return tirx.BufferLoad(buffer, [*outer, _all(first)])


def _all(first: Any = 0) -> Any:
    from tvm import tirx

    return tirx.Ramp(first, 1, COUNT)


_PLAIN = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "shl": lambda a, b: a << b}
