"""Matrix products on Arm, written out: dense layers, and 1x1 convolutions over flattened positions.

The last vector of output channels overlaps the one before it, and the last tile of rows the one before it: nothing is
padded, and no predicate makes a vector scalar. Packed weights are `[O / b, I, b]` one block after the other, flat; the
last block is as narrow as what is left. Where a tile has few accumulators, its steps take turns among several of them,
added up at the end in a fixed order. Sums that are too long for float16 go in parts that float32 adds up. A single
channel that is left behind few vectors is a dot product of each row, whose weights, in whole vectors of input channels,
come last: the last of them starts earlier and has zeros instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product as pairs
from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import as_float, bias_first, split, tail, to_index
from pfir.backends.tvm.kernels.dots import Dots, pack_dots
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, argument, fence, store
from pfir.backends.tvm.tiles import Tile, rest_rows
from pfir.target import FLOAT16, FLOAT32, HALF_TERMS, Target

# Accumulators that hide the latency of a multiply-add: four cycles on two pipes.
_ENOUGH = 8
_REGISTER_BYTES = 16


def covers(target: Target, channels: int, tile: Tile) -> bool:
    """Whether the kernel can be made: the last vector needs channels before it."""
    return (target.arm64 or target.arithmetic == FLOAT16) and channels >= tile.lanes


def dots(channels: int, tile: Tile, dtype: str) -> bool:
    """Whether the tile leaves the last channel to dot products."""
    return dtype == FLOAT32 and channels == tile.block + 1 and tile.rows % tile.lanes == 0


def pack(weight: np.ndarray, tile: Tile, dtype: str) -> np.ndarray:
    """`[I, O]` -> `[O / b, I, b]` one block after the other, flat; the last vector ends with the last channel, unless
    that is a dot product."""
    channels = weight.shape[1]
    if dots(channels, tile, dtype):
        return np.concatenate([weight[:, :-1].reshape(-1), pack_dots(weight[:, -1])])
    columns = [[min(v * tile.lanes, channels - tile.lanes) + e for v in vectors for e in range(tile.lanes)]
               for vectors in _blocks(channels, tile, dtype)]  # fmt: skip
    return np.concatenate([weight[:, those].reshape(-1) for those in columns])


def product(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR; the data's last memory axis is summed, the result's holds the output
    channels. Attribute: whether it is `fenced`."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, spec.dtype) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        *leading, inner = spec.operands[0].memory
        data = T.decl_buffer((prod(leading), inner), spec.operands[0].dtype, data=operands[0].tensor.data)
        _Writer(spec, tile, operands, data, result).write()
    return ib.get()


def _blocks(channels: int, tile: Tile, dtype: str) -> list[range]:
    """The vectors of each block."""
    vectors = tile.vectors if dots(channels, tile, dtype) else -(-channels // tile.lanes)
    return [range(v, min(v + tile.vectors, vectors)) for v in range(0, vectors, tile.vectors)]


@dataclass(frozen=True)
class _Writer:
    """Writes the statements of one kernel."""

    spec: KernelSpec
    tile: Tile
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
    def channels(self) -> int:
        return self.spec.out.memory[-1]

    @property
    def dots(self) -> bool:
        return dots(self.channels, self.tile, self.spec.dtype)

    @property
    def rounds(self) -> int:
        """Of `unroll` steps each, behind which fewer may be left."""
        return self.inner // self.tile.unroll

    @property
    def parts(self) -> int:
        """How many of them a sum over all rounds goes in: the fewest that float16 bears, one of float32."""
        return 1 if self.spec.dtype == FLOAT32 else -(-self.rounds // (HALF_TERMS // self.tile.unroll))

    def write(self) -> None:
        """Blocks of whole tiles, then the narrower one that is left, whose tiles have rows instead."""
        blocks, most = _blocks(self.channels, self.tile, self.spec.dtype), self.tile.vectors
        whole = sum(len(block) == most for block in blocks)
        if whole:
            self._tiles(0, whole, most, min(self.rows, self.tile.rows))
        if whole < len(blocks):
            self._tiles(whole, 1, len(blocks[-1]), rest_rows(self.rows, len(blocks[-1]), self.tile))

    def _tiles(self, first: int, blocks: int, vectors: int, rows: int) -> None:
        """Tiles of so many rows and vectors over all rows of `blocks` blocks from block `first` on."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        rounds = -(-self.rows // rows)
        with (T.parallel if self.tile.threads > 1 else T.serial)(0, blocks * rounds) as n:
            block, start = first + n // rounds, n % rounds * rows
            start = tirx.min(start, self.rows - rows) if self.rows % rows else start
            _RegisterTile(self, block * self.tile.vectors, vectors, start, rows).write()

    def bias(self) -> tuple[int | None, KernelSpec]:
        """The operand that sums start from, if there is one, and the kernel without that step."""
        return bias_first(self.spec) if self.spec.out.order[-1] == 1 else (None, self.spec)


@dataclass(frozen=True)
class _RegisterTile:
    """Writes one tile: rows from `first` on of `vectors` vectors of channels from `vector` on."""

    kernel: _Writer
    vector: Any
    vectors: int
    first: Any
    rows: int

    @property
    def places(self) -> list[tuple[int, int]]:
        return list(pairs(range(self.rows), range(self.vectors)))

    @property
    def turns(self) -> int:
        """Accumulators of each place."""
        return max(1, min(self.kernel.tile.unroll, -(-_ENOUGH // len(self.places))))

    def write(self) -> None:
        """The sums of each place, started from the bias, then what follows."""
        from tvm.tirx.script import builder as T

        kernel, unroll = self.kernel, self.kernel.tile.unroll
        sums = T.alloc_buffer((self.turns, self.rows, self.vectors, kernel.tile.lanes), kernel.spec.dtype,
                              scope="local")  # fmt: skip
        if kernel.parts > 1:
            self._results(self._by_parts(sums))
            return
        dotted = Dots(kernel, self.first, self.rows) if kernel.dots else None
        self._clear(sums, self._begin)
        with T.serial(0, kernel.rounds) as outer:
            self._steps(sums, outer * unroll, unroll, dotted)
        self._steps(sums, kernel.rounds * unroll, kernel.inner % unroll, dotted)
        self._results(lambda i, j, e: self._sum(sums, i, j, e))
        if dotted is not None:
            dotted.result(self.first)

    def _by_parts(self, sums: Any) -> Callable[[int, int, Any], Any]:
        """The sums as float32, by row, vector and lane."""
        from tvm import tirx
        from tvm.tirx.script import builder as T

        kernel, unroll, (_, *shape) = self.kernel, self.kernel.tile.unroll, sums.shape
        rest, each = kernel.inner % unroll, -(-kernel.rounds // kernel.parts)
        count = -(-kernel.rounds // each)
        parts = T.alloc_buffer((count + (rest > 0), *shape), kernel.spec.dtype, scope="local")

        def keep(part: Any) -> None:
            for i, j in self.places:
                store(parts, kernel.tile.lanes, lambda e, i=i, j=j: (self._sum(sums, i, j, e), [part, i, j, e]))

        with T.serial(0, count) as part:
            self._clear(sums)
            left = kernel.rounds - part * each
            with T.serial(0, tirx.min(left, each) if kernel.rounds % each else each) as outer:
                self._steps(sums, (part * each + outer) * unroll, unroll)
            keep(part)
        if rest:
            self._clear(sums)
            self._steps(sums, kernel.rounds * unroll, rest)
            keep(count)

        def total(i: int, j: int, e: Any) -> Any:
            start = as_float(self._begin(j, e), FLOAT32)
            return sum((as_float(parts[part, i, j, e], FLOAT32) for part in range(count + (rest > 0))), start)

        return total

    def _clear(self, sums: Any, begin: Callable[[int, Any], Any] | None = None) -> None:
        """Let the first turn's sums start from `begin`, by vector and lane, if it is given, all others from zero."""
        zero = const(0, self.kernel.spec.dtype)
        for turn in range(self.turns):
            for i, j in self.places:
                store(sums, self.kernel.tile.lanes, lambda e, turn=turn, i=i, j=j: (
                    zero if turn or begin is None else begin(j, e), [turn, i, j, e]))  # fmt: skip

    def _steps(self, sums: Any, start: Any, count: int, dotted: Dots | None = None) -> None:
        """Multiply `count` input channels from `start` on."""
        spec, inner = self.kernel.spec, self.kernel.inner
        for begin, some in _loads(count, spec.dtype):
            fence(spec["fenced"] and (begin > 0 or inner * len(self.places) <= WRITTEN_OUT))
            value = self._values(start + begin, some)
            if dotted is not None and some == dotted.together:
                dotted.step(start + begin, value)
            for k in range(some):
                self._step(sums, start + begin + k, (begin + k) % self.turns, lambda i, k=k, value=value: value(i, k))

    def _step(self, sums: Any, channel: Any, turn: int, value: Callable[[int], Any]) -> None:
        """Multiply an input channel, whose values are given by row."""
        lanes = self.kernel.tile.lanes
        weight = (self.vector * self.kernel.inner + channel * self.vectors) * lanes
        for i, j in self.places:
            store(sums, lanes, lambda e, i=i, j=j: (
                sums[turn, i, j, e] + value(i) * self.kernel.operands[1].tensor[weight + j * lanes + e],
                [turn, i, j, e]))  # fmt: skip

    def _values(self, start: Any, count: int) -> Callable[[Any, Any], Any]:
        """Value `k` of `count` from `start` on in each row, as `(row, k)`; loaded together where that is a vector."""
        from tvm.tirx.script import builder as T

        data, dtype = self.kernel.data, self.kernel.spec.dtype
        if count & (count - 1):
            return lambda i, k: as_float(data[self.first + i, start + k], dtype)
        cells = T.alloc_buffer((self.rows, count), dtype, scope="local")
        for i in range(self.rows):
            store(cells, count, lambda e, i=i: (as_float(data[self.first + i, start + e], dtype), [i, e]))
        return lambda i, k: cells[i, k]

    def _channel(self, j: int, e: Any) -> Any:
        """The channel of a lane: the very last vector starts early enough to end with the last channel."""
        from tvm import tirx

        lanes, channels = self.kernel.tile.lanes, self.kernel.channels
        start = (self.vector + j) * lanes
        if channels % lanes and j == self.vectors - 1 and not self.kernel.dots:
            start = tirx.min(start, channels - lanes)
        return start + e

    def _begin(self, j: int, e: Any) -> Any:
        """The bias of a lane, or zero."""
        bias, _ = self.kernel.bias()
        if bias is None:
            return const(0, self.kernel.spec.dtype)
        form = self.kernel.spec.operands[bias]
        return self.kernel.operands[bias](*(self._channel(j, e) if size > 1 else 0 for size in form.shape))

    def _sum(self, sums: Any, i: int, j: int, e: Any) -> Any:
        """Over all turns."""
        total = sums[0, i, j, e]
        for turn in range(1, self.turns):
            total = total + sums[turn, i, j, e]
        return total

    def _results(self, total: Callable[[int, int, Any], Any]) -> None:
        """What follows the sums, which are given by row, vector and lane."""
        (_, steps), kernel, out = self.kernel.bias(), self.kernel, self.kernel.spec.out

        def result(i: int, j: int, e: Any) -> tuple[Any, list[Any]]:
            memory = (*split(self.first + i, out.memory[:-1]), self._channel(j, e))
            return tail(steps, kernel.operands, to_index(out, memory), total(i, j, e)), list(memory)

        for i, j in self.places:
            store(kernel.result, kernel.tile.lanes, lambda e, i=i, j=j: result(i, j, e))


def _loads(count: int, dtype: str) -> Iterator[tuple[int, int]]:
    """First and number of the input channels that each load brings: a register full, of halves that are left over as
    many as a register's part holds."""
    most = _REGISTER_BYTES // np.dtype(dtype).itemsize
    begin = 0
    while begin < count:
        some = min(most, count - begin)
        some = 1 << (some.bit_length() - 1) if dtype == FLOAT16 else some
        yield begin, some
        begin += some
