"""What becomes of integer sums: floats, what follows the kernel, and bytes again where its last step rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.common import Operand, tail
from pfir.backends.tvm.kernels.integers.rounding import rounding_last, store_rounded
from pfir.backends.tvm.kernels.written import store
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.target import SINGLE


@dataclass(frozen=True)
class Vector:
    """Where a vector of a position's channels goes.

    Args:
        batch, channel, row, column: Image, first channel, and position.
        total: The int32 sum of a lane.
    """

    batch: Any
    channel: Any
    row: Any
    column: Any
    total: Callable[[Any], Any]


def write_vectors(spec: KernelSpec, operands: list[Operand], result: Any, lanes: int, vectors: list[Vector]) -> None:
    """Write vectors of so many lanes. All are computed before one is stored, so that what they have in common is loaded
    once."""
    from tvm.tirx.script import builder as T

    steps, rounding = rounding_last(spec)
    divisor = 1.0 if rounding is None else rounding.scale
    floats = [T.alloc_buffer((lanes,), SINGLE, scope="local") for _ in vectors]

    def value(at: Vector, e: Any) -> Any:
        found = tail(steps, operands, (at.batch, at.channel + e, at.row, at.column), at.total(e).astype(SINGLE))
        return found if divisor == 1 else found / divisor

    for at, kept in zip(vectors, floats, strict=True):
        store(kept, lanes, lambda e, at=at: (value(at, e), [e]))
    if rounding is not None:
        indices = [[at.batch, at.row, at.column, at.channel] for at in vectors]
        store_rounded(result, indices, floats, lanes, rounding, spec["by"] if lanes > 1 else "any")
        return
    for at, kept in zip(vectors, floats, strict=True):
        store(result, lanes, lambda e, at=at, kept=kept: (kept[e], [at.batch, at.row, at.column, at.channel + e]))
