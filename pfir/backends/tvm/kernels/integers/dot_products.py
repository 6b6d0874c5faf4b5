"""Instructions that add the products of four neighbouring bytes to each lane of a vector of int32 sums."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.integers.groups import TOGETHER


@dataclass(frozen=True)
class DotProduct:
    """Such an instruction.

    Args:
        name: LLVM's name of it; `{}` stands for the bits of a vector.
        data: The type of input values; weights are int8.
        lanes: Sums of the vectors that there are, widest first.
        values_first: Whether input values are the first factor.
    """

    name: str
    data: str
    lanes: tuple[int, ...]
    values_first: bool

    def add(self, total: Any, value: Any, weights: Any, lanes: int) -> Any:
        """The sums with the products added.

        Args:
            total: int32 of `lanes` lanes.
            value: Four input values, as one int32.
            weights: int8 of four times as many lanes.
        """
        from tvm import tirx

        same = tirx.call_intrin(f"{self.data}x{TOGETHER * lanes}", "tirx.reinterpret", tirx.Broadcast(value, lanes))
        return self.add_each(total, same, weights, lanes)

    def add_each(self, total: Any, values: Any, weights: Any, lanes: int) -> Any:
        """As `add`, with values of each lane's own, of four times as many lanes as there are sums."""
        from tvm import tirx

        factors = (values, weights) if self.values_first else (weights, values)
        return tirx.call_llvm_pure_intrin(f"int32x{lanes}", self.name.format(32 * lanes), total, *factors)


SDOT = DotProduct("llvm.aarch64.neon.sdot.v4i32.v16i8", "int8", (4,), False)
VNNI = DotProduct("llvm.x86.avx512.vpdpbusd.{}", "uint8", (16, 8, 4), True)
DOT_PRODUCTS = {"sdot": SDOT, "vpdpbusd": VNNI}
"""By the names that kernels' attributes give them."""


def four(buffer: Any, index: list[Any]) -> Any:
    """Four neighbouring bytes as one int32."""
    return _integers(buffer, index, 1)


def fours(buffer: Any, index: list[Any], groups: int) -> Any:
    """So many groups of four neighbouring bytes as a vector of int32."""
    return _integers(buffer, index, groups)


def lone_four(buffer: Any, index: list[Any]) -> Any:
    """Four neighbouring bytes as one int32 in the first lane of a register.

    From a plain one LLVM would repeat the bytes as it loads them, by an instruction that takes no offset and a turn of
    the vector unit; a fence, which is no instruction, keeps it from seeing where the lane comes from.
    """
    from tvm import tirx

    value, zero = tirx.reinterpret("float32", four(buffer, index)), tirx.const(0.0, "float32")
    lanes = tirx.Shuffle([value, zero, zero, zero], [0, 1, 2, 3])
    fenced = tirx.call_llvm_pure_intrin("float32x4", "llvm.arithmetic.fence.v4f32", lanes)
    return tirx.Shuffle([tirx.reinterpret("int32x4", fenced)], [0])


def _integers(buffer: Any, index: list[Any], groups: int) -> Any:
    from tvm import tirx

    *outer, last = index
    found = tirx.BufferLoad(buffer, [*outer, tirx.Ramp(last, 1, TOGETHER * groups)])
    return tirx.call_intrin("int32" if groups == 1 else f"int32x{groups}", "tirx.reinterpret", found)
