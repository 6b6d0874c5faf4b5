"""Matrix products on Arm, written out: dense layers, and 1x1 convolutions over flattened positions.

The last vector of output channels overlaps the one before it, and the last tile of rows the one before it: nothing is
padded, and no predicate makes a vector scalar. Packed weights are `[O / b, I, b]` one block after the other, flat; the
last block is as narrow as what is left. Where a tile has few accumulators, its steps take turns among several of them,
added up at the end in a fixed order. A single channel that is left behind few vectors is a dot product of each row,
whose weights, in whole vectors of input channels, come last: the last of them starts earlier and has zeros instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import KernelSpec
from pfir.backends.tvm.kernels.common import bias_first, split, tail, to_index
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, argument, fence, store
from pfir.backends.tvm.tiles import Tile, rest_rows
from pfir.target import FLOAT32

# Accumulators that hide the latency of a multiply-add: four cycles on two pipes.
_ENOUGH = 8
_LOADED = 4  # input channels of a row that one load brings


def covers(target: Any, channels: int) -> bool:
    """Whether the kernel can be made: the last vector needs channels before it."""
    return target.arm64 and target.arithmetic == FLOAT32 and channels >= target.lanes


def dots(channels: int, tile: Tile) -> bool:
    """Whether the tile leaves the last channel to dot products."""
    return channels == tile.block + 1 and tile.rows % tile.lanes == 0


def pack(weight: np.ndarray, tile: Tile) -> np.ndarray:
    """`[I, O]` -> `[O / b, I, b]` one block after the other, flat; the last vector ends with the last channel, unless
    that is a dot product."""
    inner, channels = weight.shape
    if dots(channels, tile):
        last = weight[:, -1]
        whole = inner // _LOADED * _LOADED
        rest = [np.zeros(whole + _LOADED - inner, last.dtype), last[whole:]] if inner > whole else []
        return np.concatenate([weight[:, :-1].reshape(-1), last[:whole], *rest])
    blocks = _blocks(channels, tile)
    columns = [[min(v * tile.lanes, weight.shape[1] - tile.lanes) + e for v in vectors for e in range(tile.lanes)]
               for vectors in blocks]  # fmt: skip
    return np.concatenate([weight[:, those].reshape(-1) for those in columns])


def product(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR; the data's last memory axis is summed, the result's holds the output
    channels."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, FLOAT32) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, FLOAT32))
        *leading, inner = spec.operands[0].memory
        rows = prod(leading)
        data = T.decl_buffer((rows, inner), FLOAT32, data=operands[0].tensor.data)
        _Writer(spec, tile, operands, data, result).write()
    return ib.get()


def _blocks(channels: int, tile: Tile) -> list[range]:
    """The vectors of each block."""
    vectors = tile.vectors if dots(channels, tile) else -(-channels // tile.lanes)
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
        return dots(self.channels, self.tile)

    def write(self) -> None:
        """Blocks of whole tiles, then the narrower one that is left, whose tiles have rows instead."""
        blocks, most = _blocks(self.channels, self.tile), self.tile.vectors
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
            self._tile(block * self.tile.vectors, vectors, start, rows)

    def _tile(self, vector: Any, vectors: int, first: Any, rows: int) -> None:
        """Rows from `first` on of so many vectors of channels."""
        from tvm.tirx.script import builder as T

        lanes, inner, unroll = self.tile.lanes, self.inner, self.tile.unroll
        places = list(pairs(range(rows), range(vectors)))
        turns = max(1, min(unroll, -(-_ENOUGH // len(places))))
        sums = T.alloc_buffer((turns, rows, vectors, lanes), FLOAT32, scope="local")
        dotted = _Dots(self, first, rows) if self.dots else None
        for turn in range(turns):
            for i, j in places:
                store(sums, lanes, lambda e, turn=turn, i=i, j=j: (
                    const(0) if turn else self._begin(vector, vectors, j, e), [turn, i, j, e]))  # fmt: skip

        def step(start: Any, k: int, turn: int, value: Callable) -> None:
            weight = (vector * inner + (start + k) * vectors) * lanes
            for i, j in places:
                store(sums, lanes, lambda e, i=i, j=j: (
                    sums[turn, i, j, e] + value(i, k) * self.operands[1].tensor[weight + j * lanes + e],
                    [turn, i, j, e]))  # fmt: skip

        def steps(start: Any, count: int) -> None:
            for begin in range(0, count, _LOADED):
                fence(begin > 0 or inner * len(places) <= WRITTEN_OUT)
                some = min(_LOADED, count - begin)
                value = self._values(first, rows, start + begin, some)
                if dotted is not None and some == _LOADED:
                    dotted.step(start + begin, value)
                for k in range(some):
                    step(start + begin, k, (begin + k) % turns, value)

        whole, rest = divmod(inner, unroll)
        with T.serial(0, whole) as outer:
            steps(outer * unroll, unroll)
        if rest:
            steps(whole * unroll, rest)
        for i, j in places:
            self._result(sums, turns, vector, vectors, first, i, j)
        if dotted is not None:
            dotted.result(first)

    def _channel(self, vector: Any, vectors: int, j: int, e: Any) -> Any:
        """The channel of a lane: the very last vector starts early enough to end with the last channel."""
        from tvm import tirx

        start = (vector + j) * self.tile.lanes
        if self.channels % self.tile.lanes and j == vectors - 1 and not self.dots:
            start = tirx.min(start, self.channels - self.tile.lanes)
        return start + e

    def bias(self) -> tuple[int | None, KernelSpec]:
        """The operand that sums start from, if there is one, and the kernel without that step."""
        return bias_first(self.spec) if self.spec.out.order[-1] == 1 else (None, self.spec)

    def _begin(self, vector: Any, vectors: int, j: int, e: Any) -> Any:
        bias, _ = self.bias()
        if bias is None:
            return const(0)
        form = self.spec.operands[bias]
        index = tuple(self._channel(vector, vectors, j, e) if size > 1 else 0 for size in form.shape)
        return self.operands[bias](*index)

    def _values(self, first: Any, rows: int, start: Any, count: int) -> Callable[[Any, Any], Any]:
        """Value `k` of `count` from `start` on in each row, as `(row, k)`; loaded together where that is a vector."""
        from tvm.tirx.script import builder as T

        if count & (count - 1):
            return lambda i, k: self.data[first + i, start + k]
        cells = T.alloc_buffer((rows, count), FLOAT32, scope="local")
        for i in range(rows):
            store(cells, count, lambda e, i=i: (self.data[first + i, start + e], [i, e]))
        return lambda i, k: cells[i, k]

    def _result(self, sums: Any, turns: int, vector: Any, vectors: int, first: Any, i: int, j: int) -> None:
        _, steps = self.bias()

        def result(e: Any) -> tuple[Any, list[Any]]:
            total = sums[0, i, j, e]
            for turn in range(1, turns):
                total = total + sums[turn, i, j, e]
            memory = (*split(first + i, self.spec.out.memory[:-1]), self._channel(vector, vectors, j, e))
            return tail(steps, self.operands, to_index(self.spec.out, memory), total), list(memory)

        store(self.result, self.tile.lanes, result)


class _Dots:
    """Writes the dot products of a tile's rows with the weights of the last channel, vectors of input channels at a
    time."""

    def __init__(self, writer: _Writer, first: Any, rows: int) -> None:
        from tvm.tirx.script import builder as T

        self.writer, self.rows = writer, rows
        self.sums = T.alloc_buffer((rows, _LOADED), FLOAT32, scope="local")
        data, inner, rest = writer.data, writer.inner, writer.inner % _LOADED
        for i in range(rows):
            store(self.sums, _LOADED, lambda e, i=i: (
                data[first + i, inner - _LOADED + e] * self._weight(inner - rest + e) if rest else const(0),
                [i, e]))  # fmt: skip

    def _weight(self, k: Any) -> Any:
        return self.writer.operands[1].tensor[(self.writer.channels - 1) * self.writer.inner + k]

    def step(self, start: Any, value: Callable) -> None:
        """Add the products of a vector of input channels from `start` on."""
        for i in range(self.rows):
            store(self.sums, _LOADED, lambda e, i=i: (
                self.sums[i, e] + value(i, e) * self._weight(start + e), [i, e]))  # fmt: skip

    def result(self, first: Any) -> None:
        """The sums of each vector's lanes, a vector of rows at a time, then the rest of the steps."""
        from tvm.tirx.script import builder as T

        writer, channel = self.writer, self.writer.channels - 1
        bias, steps = writer.bias()
        for begin in range(0, self.rows, _LOADED):
            total = T.alloc_buffer((_LOADED,), FLOAT32, scope="local")
            one, two, three, four = (self._vector(begin + i) for i in range(_LOADED))
            T.buffer_store(total, _pairs(_pairs(one, two), _pairs(three, four)), [_all()])

            def result(e: Any, begin: int = begin, total: Any = total) -> tuple[Any, list[Any]]:
                memory = (*split(first + begin + e, writer.spec.out.memory[:-1]), channel)
                index = to_index(writer.spec.out, memory)
                value = total[e] if bias is None else total[e] + writer.operands[bias].broadcast(index)
                return tail(steps, writer.operands, index, value), list(memory)

            store(writer.result, _LOADED, result)

    def _vector(self, i: int) -> Any:
        from tvm import tirx

        return tirx.BufferLoad(self.sums, [i, _all()])


def _all() -> Any:
    from tvm import tirx

    return tirx.Ramp(0, 1, _LOADED)


def _pairs(one: Any, other: Any) -> Any:
    """The sums of neighbours: those of one vector, then those of the other."""
    from tvm import tirx

    return tirx.call_llvm_pure_intrin("float32x4", "llvm.aarch64.neon.faddp", one, other)
