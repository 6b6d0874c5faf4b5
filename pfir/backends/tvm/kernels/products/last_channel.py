"""Dot products of a product's rows with the weights of its last column, vectors of input channels at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pfir.backends.tvm.kernels.common import split, tail, to_index
from pfir.backends.tvm.kernels.written import store
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.target import SINGLE

_LANES = FEWEST_LANES


class Dots:
    """Writes those of a tile's rows from `first` on, beside the vectors of a kernel."""

    together = _LANES

    def __init__(self, kernel: Any, first: Any, rows: int) -> None:
        from tvm.tirx.script import builder as T

        self.kernel, self.rows = kernel, rows
        self.sums = T.alloc_buffer((rows, _LANES), SINGLE, scope="local")
        data, inner, rest = kernel.data, kernel.inner, kernel.inner % _LANES
        for i in range(rows):
            store(
                self.sums,
                _LANES,
                lambda e, i=i: (
                    data[first + i, inner - _LANES + e] * self._weight(inner - rest + e) if rest else const(0),
                    [i, e],
                ),
            )

    def _weight(self, k: Any) -> Any:
        return self.kernel.operands[1].tensor[(self.kernel.columns - 1) * self.kernel.inner + k]

    def step(self, start: Any, value: Callable) -> None:
        """Add the products of a vector of input channels from `start` on."""
        for i in range(self.rows):
            store(self.sums, _LANES, lambda e, i=i: (self.sums[i, e] + value(i, e) * self._weight(start + e), [i, e]))

    def result(self, first: Any) -> None:
        """The sums of each vector's lanes, a vector of rows at a time, then the rest of the steps."""
        from tvm.tirx.script import builder as T

        kernel, column = self.kernel, self.kernel.columns - 1
        bias, steps = kernel.bias()
        for begin in range(0, self.rows, _LANES):
            total = T.alloc_buffer((_LANES,), SINGLE, scope="local")
            one, two, three, four = (self._vector(begin + i) for i in range(_LANES))
            T.buffer_store(total, _pairs(_pairs(one, two), _pairs(three, four)), [_all()])

            def result(e: Any, begin: int = begin, total: Any = total) -> tuple[Any, list[Any]]:
                row = first + begin + e
                index = to_index(kernel.spec.out, (*split(row, kernel.spec.out.memory[:-1]), column))
                value = total[e] if bias is None else total[e] + kernel.operands[bias].broadcast(index)
                return tail(steps, kernel.operands, index, value), [row, column]

            store(kernel.result, _LANES, result)

    def _vector(self, i: int) -> Any:
        from tvm import tirx

        return tirx.BufferLoad(self.sums, [i, _all()])


def _all() -> Any:
    from tvm import tirx

    return tirx.Ramp(0, 1, _LANES)


def _pairs(one: Any, other: Any) -> Any:
    """The sums of neighbours: those of one vector, then those of the other."""
    from tvm import tirx

    return tirx.call_llvm_pure_intrin("float32x4", "llvm.aarch64.neon.faddp", one, other)
