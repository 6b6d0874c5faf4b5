"""What becomes of integer sums: floats, what follows the kernel, and bytes again where its last step rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.common import Operand, tail
from pfir.backends.tvm.kernels.integers.rounding import Rounding, rounding_last, store_rounded
from pfir.backends.tvm.kernels.written import fence, store
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.target import SINGLE

_PART = 8  # lanes that are rounded together where not all are
_MOST = 48  # values that are rounded together where registers are few


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


def write_vectors(
    spec: KernelSpec, operands: list[Operand], result: Any, lanes: int, vectors: list[Vector], crowded: bool = False
) -> None:
    """Write vectors of so many lanes. All are computed before one is stored, so that what they have in common is loaded
    once.

    Args:
        crowded: Whether sums leave few registers free, so that some lanes of some vectors are rounded after the other.
    """
    if not crowded:
        _write_together(spec, operands, result, lanes, vectors, False)
        return
    each = together(len(vectors), lanes, _adds_tensors(spec))
    for first in range(0, len(vectors), each):
        fence(first > 0, whole=True)
        _write_together(spec, operands, result, lanes, vectors[first : first + each], True)


def together(positions: int, lanes: int, adds_tensors: bool) -> int:
    """How many of the positions of a tile without free registers are rounded together; fewer where tensors as large as
    the result are added, whose values take registers, too."""
    parts = -(-positions * min(lanes, _PART) // (_MOST // 2 if adds_tensors else _MOST))
    return -(-positions // parts)


def _adds_tensors(spec: KernelSpec) -> bool:
    """Whether steps read tensors as large as the result."""
    return any(form.shape == spec.out.shape for form in spec.operands[1:])


def _write_together(
    spec: KernelSpec, operands: list[Operand], result: Any, lanes: int, vectors: list[Vector], crowded: bool
) -> None:
    """Write vectors side by side, `crowded` ones some lanes of all after the other."""
    steps, rounding = rounding_last(spec)
    places = [[at.batch, at.row, at.column, at.channel] for at in vectors]
    divisor = 1.0 if rounding is None else rounding.scale

    def floats(first: int, width: int) -> list[Any]:
        return [_floats(steps, operands, at, first, width, divisor) for at in vectors]

    width = min(lanes, _PART) if crowded else lanes
    if rounding is None:
        for first in range(0, lanes, width):
            fence(first > 0, whole=True)
            _store(result, places, first, width, floats(first, width))
    elif width < lanes:
        _in_parts(result, places, lanes, rounding, floats)
    else:
        store_rounded(result, places, floats(0, lanes), lanes, rounding, spec["by"] if lanes > 1 else "any")


def _floats(steps: KernelSpec, operands: list[Operand], at: Vector, first: int, width: int, divisor: float) -> Any:
    """So many lanes of a vector from the `first` on, with what follows the sums, divided."""
    from tvm.tirx.script import builder as T

    kept = T.alloc_buffer((width,), SINGLE, scope="local")

    def value(e: Any) -> Any:
        place = at.batch, at.channel + first + e, at.row, at.column
        found = tail(steps, operands, place, at.total(first + e).astype(SINGLE))
        return found if divisor == 1 else found / divisor

    store(kept, width, lambda e: (value(e), [e]))
    return kept


def _store(result: Any, places: list[list[Any]], first: int, width: int, floats: list[Any]) -> None:
    for (*outer, last), some in zip(places, floats, strict=True):
        store(result, width, lambda e, outer=outer, last=last, some=some: (some[e], [*outer, last + first + e]))


def _in_parts(
    result: Any, places: list[list[Any]], lanes: int, rounding: Rounding, floats: Callable[[int, int], list[Any]]
) -> None:
    """Write vectors of which some lanes of all are rounded before the next ones are."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    kept = T.alloc_buffer((len(places), lanes), rounding.dtype, scope="local")
    for first in range(0, lanes, _PART):
        fence(first > 0, whole=True)
        parts = [[i, first] for i in range(len(places))]
        store_rounded(kept, parts, floats(first, _PART), _PART, rounding, "neon")
    for (i, (*outer, last)), first in pairs(enumerate(places), range(0, lanes, _PART)):
        part = tirx.BufferLoad(kept, [i, tirx.Ramp(first, 1, _PART)])
        T.buffer_store(result, part, [*outer, tirx.Ramp(last + first, 1, _PART)])
