"""What becomes of integer sums: floats, what follows the kernel, and bytes again where its last step rounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pfir.backends.tvm.kernels.common import Operand, tail
from pfir.backends.tvm.kernels.integers.rounding import rounding_last, store_rounded
from pfir.backends.tvm.kernels.written import store
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.target import SINGLE


def write_vector(
    spec: KernelSpec,
    operands: list[Operand],
    result: Any,
    at: tuple[Any, Any, Any, Any],
    lanes: int,
    total: Callable[[Any], Any],
) -> None:
    """Write a vector of a position's channels.

    Args:
        at: Image, first channel, row and column.
        lanes: Of the vector.
        total: The int32 sum of a lane.
    """
    from tvm.tirx.script import builder as T

    steps, rounding = rounding_last(spec)
    b, first, y, x = at

    def value(e: Any) -> Any:
        return tail(steps, operands, (b, first + e, y, x), total(e).astype(SINGLE))

    if rounding is None:
        store(result, lanes, lambda e: (value(e), [b, y, x, first + e]))
        return
    scaled = T.alloc_buffer((lanes,), SINGLE, scope="local")
    store(scaled, lanes, lambda e: (value(e) / rounding.scale if rounding.scale != 1 else value(e), [e]))
    store_rounded(result, [b, y, x, first], scaled, lanes, rounding, spec["by"] if lanes > 1 else "any")
