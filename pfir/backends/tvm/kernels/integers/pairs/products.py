"""Instructions that multiply bytes and add neighbouring products to lanes of int32, on cores without dot products.

Arm multiplies into 16 bits, where two products are added (weights within +-127 allow that), then neighbours: `smull`,
`smlal`, `sadalp`. x86 multiplies what is extended to 16 bits and adds neighbours: `pmaddwd`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from pfir.backends.tvm.schedule.integers.pair_blocks import PAIR_VECTORS, SMULL, SMULL_4, VMULL, PairVectors

_PMADDWD = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
# Bytes that an instruction of Arm multiplies.
_EIGHT = 8
Factors = tuple[Any, Any]
"""A vector of input values, two to a lane of the sums, and one of as many weights."""


@dataclass(frozen=True)
class PairProduct:
    """Such instructions.

    Args:
        vectors: Those that they add to.
        add: The sums, int32 of so many lanes, with the products added of at most as many factors as are chained.
        neighbours: Sums of two neighbouring lanes of what two vectors of so many int32 hold, side by side.
    """

    vectors: PairVectors
    add: Callable[[Any, list[Factors], int], Any]
    neighbours: Callable[[Any, Any, int], Any]


def _smull(total: Any, factors: list[Factors], lanes: int) -> Any:
    """The sum as LLVM's predicated one, of which all lanes count: of many plain ones it would take the last product
    first, and spill those that wait."""
    from tvm import tirx

    added = _arm("llvm.aarch64.neon.saddlp.v4i32.v8i16", _products("llvm.aarch64.neon.smull.v8i16", factors))
    every = tirx.Broadcast(tirx.const(True, "bool"), lanes)
    return _arm("llvm.vp.add.v4i32", total, added, every, tirx.const(lanes, "int32"))


def _vmull(total: Any, factors: list[Factors], lanes: int) -> Any:
    return _arm("llvm.arm.neon.vpadals.v4i32.v8i16", total, _products("llvm.arm.neon.vmulls.v8i16", factors))


def _products(name: str, factors: list[Factors]) -> Any:
    """The sums of products in 16 bits."""
    from tvm import tirx

    return reduce(add, (tirx.call_llvm_pure_intrin(f"int16x{_EIGHT}", name, *both) for both in factors))


def _arm(name: str, *arguments: Any) -> Any:
    from tvm import tirx

    return tirx.call_llvm_pure_intrin("int32x4", name, *arguments)


def _pmaddwd(total: Any, factors: list[Factors], lanes: int) -> Any:
    from tvm import tirx

    values, weights = (vector.astype(f"int16x{2 * lanes}") for vector in factors[0])
    return total + tirx.call_llvm_pure_intrin(f"int32x{lanes}", _PMADDWD[lanes], values, weights)


def _addp(first: Any, second: Any, lanes: int) -> Any:
    return _arm("llvm.aarch64.neon.addp.v4i32", first, second)


def _shuffled(first: Any, second: Any, lanes: int) -> Any:
    from tvm import tirx

    even, odd = (tirx.Shuffle([first, second], list(range(i, 2 * lanes, 2))) for i in (0, 1))
    return even + odd


_INSTRUCTIONS = {SMULL: (_smull, _addp), SMULL_4: (_smull, _addp), VMULL: (_vmull, _shuffled)}
PAIR_PRODUCTS = {
    name: PairProduct(vectors, *_INSTRUCTIONS.get(name, (_pmaddwd, _shuffled)))
    for name, vectors in PAIR_VECTORS.items()
}
"""By the names that kernels' attributes give them."""
