"""Matrix products with a constant right side, written out: dense layers, and 1x1 convolutions over flattened positions.

Vectors of columns stand as `products.plan` says; the last tile of rows overlaps the one before it: nothing is padded,
and no predicate makes a vector scalar. Where a tile has few accumulators, its steps take turns among several of them,
added up at the end in a fixed order. Sums that are too long for float16 go in parts that float32 adds up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product as pairs
from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.common import as_float, bias_first, split, tail, to_index
from pfir.backends.tvm.kernels.products.last_channel import Dots
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, argument, fence, start, store
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.products import Blocks, Vector, plan
from pfir.backends.tvm.schedule.tile_kinds import DottedTile, ProductTile
from pfir.target import HALF, HALF_TERMS, SINGLE

# Accumulators that hide the latency of a multiply-add: four cycles on two pipes.
_ENOUGH = 8
_REGISTER_BYTES = 16


def product(spec: KernelSpec, tile: ProductTile) -> Any:
    """A kernel as a function of TensorIR; the data's last memory axis is summed, the result's holds the columns.

    Attributes: whether it multiplies `by_lane`, as 64-bit Arm does, and how many vector `registers` there are.
    """
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, spec.dtype) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, spec.out.dtype)
        *leading, inner = spec.operands[0].memory
        data = T.decl_buffer((prod(leading), inner), spec.operands[0].dtype, data=operands[0].tensor.data)
        result = T.decl_buffer((prod(leading), spec.out.memory[-1]), spec.out.dtype, data=out.tensor.data)
        _Writer(spec, tile, operands, data, result).write()
    return ib.get()


@dataclass(frozen=True)
class _Writer:
    """Writes the statements of one kernel."""

    spec: KernelSpec
    tile: ProductTile
    operands: list[Any]
    data: Any
    result: Any

    @property
    def rows(self) -> int:
        return int(self.data.shape[0])

    @property
    def inner(self) -> int:
        return int(self.data.shape[1])

    @property
    def columns(self) -> int:
        return int(self.result.shape[1])

    @property
    def rounds(self) -> int:
        """Rounds of `unroll` steps each, behind which fewer steps may be left."""
        return self.inner // self.tile.unroll

    @property
    def parts(self) -> int:
        """How many parts a sum over all rounds is cut into: the fewest that float16 bears, a single one in float32."""
        return 1 if self.spec.dtype == SINGLE else -(-self.rounds // (HALF_TERMS // self.tile.unroll))

    def write(self) -> None:
        """All blocks, each over all rows."""
        packed = 0
        for blocks in plan(self.columns, self.tile):
            self._tiles(blocks, packed)
            packed += blocks.count * blocks.width

    def _tiles(self, blocks: Blocks, packed: int) -> None:
        """Blocks before which so many values are packed for each input channel."""
        from tvm.tirx.script import builder as T

        rows = blocks.rows(self.rows, self.tile)
        rounds = -(-self.rows // rows)
        with (T.parallel if self.tile.threads > 1 else T.serial)(0, blocks.count * rounds) as n:
            further = n // rounds * blocks.width
            row = start(n % rounds, rounds, rows, self.rows)
            _RegisterTile(self, blocks, further, (packed + further) * self.inner, row, rows).write()

    def bias(self) -> tuple[int | None, KernelSpec]:
        """The operand that sums start from, if there is one, and the kernel without that step."""
        return bias_first(self.spec) if self.spec.out.order[-1] == 1 else (None, self.spec)


@dataclass(frozen=True)
class _RegisterTile:
    """Writes one tile: rows from `first` on of a block `further` columns on, whose weights begin at `weights`."""

    kernel: _Writer
    blocks: Blocks
    further: Any
    weights: Any
    first: Any
    rows: int

    @property
    def vectors(self) -> tuple[Vector, ...]:
        return self.blocks.vectors

    @property
    def places(self) -> list[tuple[int, int]]:
        """Rows and vectors of the sums."""
        return list(pairs(range(self.rows), range(len(self.vectors))))

    @property
    def registers(self) -> list[tuple[int, int]]:
        """The registers that hold the sums, by number and vector; those that rows share come last, which is faster."""
        found = [(i, j) for i, j in self.places if i * self.vectors[j].rows < self.rows]
        return sorted(found, key=lambda place: self.vectors[place[1]].rows)

    @property
    def copies(self) -> int:
        """The copies of the registers: enough to hide the latency, while they fill no more than half of the core's."""
        count, room = len(self.registers), self.kernel.spec["registers"] // 2
        return max(1, min(self.kernel.tile.unroll, -(-_ENOUGH // count), room // count))

    def write(self) -> None:
        """The sums of each place, started from the bias, then what follows."""
        from tvm.tirx.script import builder as T

        kernel, unroll = self.kernel, self.kernel.tile.unroll
        sums = self._allocated(self.copies)
        if kernel.parts > 1:
            self._results(self._by_parts(sums))
            return
        dotted = Dots(kernel, self.first, self.rows) if isinstance(kernel.tile, DottedTile) else None
        self._clear(sums, self._begin)
        with T.serial(0, kernel.rounds) as outer:
            self._steps(sums, outer * unroll, unroll, dotted)
        self._steps(sums, kernel.rounds * unroll, kernel.inner % unroll, dotted)
        self._results(lambda i, j, e: self._sum(sums, j, self._cell(i, j, e)))
        if dotted is not None:
            dotted.result(self.first)

    def _allocated(self, count: int) -> list[Any]:
        """Memory for `count` copies of the registers of each vector, as `[count, register, lane]`."""
        from tvm.tirx.script import builder as T

        return [
            T.alloc_buffer((count, self.rows // vector.rows, vector.width), self.kernel.spec.dtype, scope="local")
            for vector in self.vectors
        ]

    def _by_parts(self, sums: list[Any]) -> Callable[[int, int, Any], Any]:
        """The sums as float32, by row, vector and lane."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        kernel, unroll = self.kernel, self.kernel.tile.unroll
        rest, each = kernel.inner % unroll, -(-kernel.rounds // kernel.parts)
        count = -(-kernel.rounds // each)
        lanes, every = kernel.tile.lanes, count + (rest > 0)
        parts = T.alloc_buffer((every, self.rows, len(self.vectors), lanes), kernel.spec.dtype, scope="local")

        def keep(part: Any) -> None:
            for i, j in self.registers:
                store(parts, lanes, lambda e, i=i, j=j: (self._sum(sums, j, [i, e]), [part, i, j, e]))

        with T.serial(0, count) as part:
            self._clear(sums)
            left = kernel.rounds - part * each  # of the last part fewer than of the others
            with T.serial(0, tirx.min(left, each) if kernel.rounds % each else each) as outer:
                self._steps(sums, (part * each + outer) * unroll, unroll)
            keep(part)
        if rest:
            self._clear(sums)
            self._steps(sums, kernel.rounds * unroll, rest)
            keep(count)

        def total(i: int, j: int, e: Any) -> Any:
            kept = (as_float(parts[part, i, j, e], SINGLE) for part in range(every))
            return sum(kept, as_float(self._begin(j, e), SINGLE))

        return total

    def _clear(self, sums: list[Any], begin: Callable[[int, Any], Any] | None = None) -> None:
        """Let the first copy's sums start from `begin`, by vector and lane, if it is given, all others from zero."""
        zero = const(0, self.kernel.spec.dtype)
        for copy in range(self.copies):
            for i, j in self.places:
                vector, first = self.vectors[j], begin is not None and copy == 0
                # A vector wider than all columns gets its bias in pieces, which leave its last lanes as they are.
                if not first or vector.columns < vector.lanes:
                    store(sums[j], vector.lanes, lambda e, copy=copy, i=i, j=j: (zero, [copy, *self._cell(i, j, e)]))
                for lane, lanes in vector.pieces if first else ():
                    store(
                        sums[j],
                        lanes,
                        lambda e, i=i, j=j, lane=lane: (begin(j, lane + e), [0, *self._cell(i, j, lane + e)]),
                    )

    def _cell(self, i: int, j: int, e: Any) -> list[Any]:
        """The register and its lane that hold a sum."""
        vector = self.vectors[j]
        return [i // vector.rows, i % vector.rows * vector.lanes + e]

    def _steps(self, sums: list[Any], start: Any, count: int, dotted: Dots | None = None) -> None:
        """Multiply `count` input channels from `start` on."""
        spec, inner = self.kernel.spec, self.kernel.inner
        for begin, some in _loads(count, spec.dtype):
            # Between the loads of a round, and between the rounds of a loop that LLVM would unroll.
            fence(spec["by_lane"] and (begin > 0 or inner * len(self.registers) <= WRITTEN_OUT))
            value = self._values(start + begin, some)
            if dotted is not None and some == dotted.together:
                dotted.step(start + begin, value)
            for k in range(some):
                self._step(sums, start + begin + k, (begin + k) % self.copies, lambda i, k=k, value=value: value(i, k))

    def _step(self, sums: list[Any], channel: Any, copy: int, value: Callable[[int], Any]) -> None:
        """Multiply an input channel, whose values are given by row."""
        weights = self.weights + channel * self.blocks.width
        begins = [sum(vector.width for vector in self.vectors[:j]) for j in range(len(self.vectors))]
        for i, j in self.registers:
            store(
                sums[j],
                self.vectors[j].width,
                lambda e, i=i, j=j: (
                    sums[j][copy, i, e]
                    + self._of_rows(value, i, j, e) * self.kernel.operands[1].tensor[weights + begins[j] + e],
                    [copy, i, e],
                ),
            )

    def _of_rows(self, value: Callable[[int], Any], i: int, j: int, e: Any) -> Any:
        """The value of a register's row, or of its two for as many lanes each."""
        from tvm import tirx

        vector = self.vectors[j]
        return value(i) if vector.rows == 1 else tirx.Select(e < vector.lanes, value(2 * i), value(2 * i + 1))

    def _values(self, start: Any, count: int) -> Callable[[Any, Any], Any]:
        """Value `k` of `count` from `start` on in each row, as `(row, k)`; loaded together where that is a vector from
        whose lanes they multiply."""
        from tvm.tirx.script import builder as T

        data, spec = self.kernel.data, self.kernel.spec
        if count & (count - 1) or not spec["by_lane"]:
            return lambda i, k: as_float(data[self.first + i, start + k], spec.dtype)
        cells = T.alloc_buffer((self.rows, count), spec.dtype, scope="local")
        for i in range(self.rows):
            store(cells, count, lambda e, i=i: (as_float(data[self.first + i, start + e], spec.dtype), [i, e]))
        return lambda i, k: cells[i, k]

    def _column(self, j: int, e: Any) -> Any:
        """The column of a lane."""
        from tvm import tirx

        place, last = self.vectors[j].first + self.further, self.blocks.last
        if j == len(self.vectors) - 1 and last < self.vectors[j].first + (self.blocks.count - 1) * self.blocks.width:
            place = tirx.min(place, last)
        return place + e

    def _begin(self, j: int, e: Any) -> Any:
        """The bias of a lane, or zero."""
        bias, _ = self.kernel.bias()
        if bias is None:
            return const(0, self.kernel.spec.dtype)
        form = self.kernel.spec.operands[bias]
        return self.kernel.operands[bias](*(self._column(j, e) if size > 1 else 0 for size in form.shape))

    def _sum(self, sums: list[Any], j: int, cell: list[Any]) -> Any:
        """The sum over all copies."""
        total = sums[j][(0, *cell)]
        for copy in range(1, self.copies):
            total = total + sums[j][(copy, *cell)]
        return total

    def _results(self, total: Callable[[int, int, Any], Any]) -> None:
        """What follows the sums, which are given by row, vector and lane."""
        (_, steps), kernel, out = self.kernel.bias(), self.kernel, self.kernel.spec.out

        def result(i: int, j: int, e: Any) -> tuple[Any, list[Any]]:
            row, column = self.first + i, self._column(j, e)
            index = to_index(out, (*split(row, out.memory[:-1]), column))
            return tail(steps, kernel.operands, index, total(i, j, e)), [row, column]

        for i, j in self.places:
            for begin, lanes in self.vectors[j].pieces:
                store(kernel.result, lanes, lambda e, i=i, j=j, begin=begin: result(i, j, begin + e))


def _loads(count: int, dtype: str) -> Iterator[tuple[int, int]]:
    """First and number of the input channels that each load brings: a register full, of halves that are left over as
    many as a register's part holds."""
    most = _REGISTER_BYTES // np.dtype(dtype).itemsize
    begin = 0
    while begin < count:
        some = min(most, count - begin)
        some = 1 << (some.bit_length() - 1) if dtype == HALF else some
        yield begin, some
        begin += some
