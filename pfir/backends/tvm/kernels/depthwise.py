"""Depthwise convolution over channels-last activations, without a copy of its input.

Packed weights are `[B, KH, KW, b]`, one block of b channels after the other; the last block starts early enough to end
with the last channel. A pass computes a tile of `lines` x `rows` output positions by one block; where the border cuts
taps off, they are left out of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.axis import LOOPED, Axis, Taps, TileRun
from pfir.backends.tvm.kernels.common import bias_first, number, tail
from pfir.backends.tvm.kernels.offsets import REGISTERS, Offsets, flat, from_value
from pfir.backends.tvm.kernels.written import Argument, barrier
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import Form, KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import DepthwiseTile
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES

CHUNK_BYTES = 16 * 1024
MOST_TAPS = 49
WRITTEN_TAPS = 9  # up to which rows that the border cuts are written out: of more they take too long to compile


def covers(data: Form, weight: np.ndarray) -> bool:
    """Whether the kernel can be made: vectors need channels side by side, and all taps are written out."""
    kh, kw = weight.shape[2:]
    return data.order == (0, 2, 3, 1) and len(weight) >= FEWEST_LANES and kh * kw <= MOST_TAPS


def pack(weight: np.ndarray, tile: DepthwiseTile) -> np.ndarray:
    """`[O, 1, KH, KW]` -> `[B, KH, KW, b]`; channels that two blocks share stand in both."""
    channels, block = len(weight), tile.block
    starts = [min(i * block, channels - block) for i in range(-(-channels // block))]
    return np.ascontiguousarray(np.stack([weight[s : s + block, 0].transpose(1, 2, 0) for s in starts]))


def depthwise(spec: KernelSpec, tile: DepthwiseTile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `strides`, `dilations`, `pads` (begin), and how columns
    are reached by `offsets`."""
    from tvm import tirx

    buffers = [tirx.decl_buffer(form.memory, form.dtype, f"p{i}") for i, form in enumerate(spec.operands)]
    out = tirx.decl_buffer(spec.out.memory, spec.out.dtype, "out")
    body = _Writer(spec, tile, buffers, out).kernel()
    return tirx.PrimFunc([*buffers, out], body).with_attr({"s_tir": True})


@dataclass(frozen=True)
class _Place:
    """A tile of one block of channels: where it begins, and what its outputs read."""

    b: Any
    y: Any
    x: Any
    block: Any
    lines: Taps
    columns: Taps


class _Writer:
    """Writes the statements of one kernel."""

    def __init__(self, spec: KernelSpec, tile: DepthwiseTile, buffers: list[Any], out: Any) -> None:
        self.spec, self.tile, self.buffers, self.out = spec, tile, buffers, out
        (sh, sw), (dh, dw), (top, left) = spec["strides"], spec["dilations"], spec["pads"]
        self.batch, self.channels, h, w = spec.operands[0].shape
        self.blocks, kh, kw, self.block = spec.operands[1].shape
        oh, ow = spec.out.shape[2:]
        self.rows, self.columns = Axis(h, oh, kh, sh, dh, top), Axis(w, ow, kw, sw, dw, left)
        self.operands = [Argument(b, f, spec.dtype) for b, f in zip(buffers, spec.operands, strict=True)]
        self.passes = tuple(self.rows.runs(tile.lines) if kh * kw <= WRITTEN_TAPS else self.rows.looped(tile.lines))
        self.bias, self.rest = bias_first(spec)
        self.offsets = Offsets(self.channels, spec["offsets"] == REGISTERS) if spec["offsets"] else None
        self.declared, (self.data, self.weights, self.result) = _flat(
            *zip(buffers[:2], spec.operands[:2], strict=True), (out, spec.out)
        )

    def kernel(self) -> Any:
        """Batch, chunks of channel blocks, passes over rows; then tiles along a row, and blocks of the chunk."""
        from tvm import tirx

        chunk = self._chunk()
        chunks, passes = -(-self.blocks // chunk), sum(run.count for run in self.passes)

        def blocks(c: Any) -> tuple[Any, Any]:
            return c * chunk, tirx.min(chunk, self.blocks - c * chunk) if self.blocks % chunk else chunk

        def task(index: Any) -> Any:
            return self._pass(index // (chunks * passes), index % passes, blocks(index // passes % chunks))

        if self.tile.threads == self.blocks == 1:
            tasks = _loop("b", self.batch, lambda b: self._all_passes(b, (0, 1)))
        else:
            kind = tirx.ForKind.PARALLEL if self.tile.threads > 1 else tirx.ForKind.SERIAL
            tasks = _loop("task", self.batch * chunks * passes, task, kind)
        return tasks if self.offsets is None else tirx.stmt_seq(*self.declared, *self.offsets.statements(), tasks)

    def _all_passes(self, b: Any, blocks: tuple[Any, Any]) -> Any:
        """All of them in turn, in loops of those alike: of one loop that tells them apart LLVM makes more instructions
        where nothing else loops inside."""
        from tvm import tirx

        def alike(run: TileRun) -> Any:
            return _loop("t", run.count, lambda t: self._row(b, run.start(t), run.taps, blocks))

        return tirx.stmt_seq(*map(alike, self.passes)) if len(self.passes) > 1 else alike(*self.passes)

    def _pass(self, b: Any, index: Any, blocks: tuple[Any, Any]) -> Any:
        """The pass of this number: the rows of one tile."""
        from tvm import tirx

        body, end = None, sum(run.count for run in self.passes)
        for run in reversed(self.passes):
            begin = end - run.count
            rows = self._row(b, run.start(index - begin), run.taps, blocks)
            body, end = rows if body is None else tirx.IfThenElse(index < end, rows, body), begin
        return body

    def _chunk(self) -> int:
        """Channel blocks whose input under a tile and weights fill half of a small first-level cache."""
        taps = self.rows.kernel * self.columns.kernel
        columns = (self.tile.rows - 1) * self.columns.stride + (self.columns.kernel - 1) * self.columns.step + 1
        lines = (self.tile.lines - 1) * self.rows.stride + (self.rows.kernel - 1) * self.rows.step + 1
        most = max(2, CHUNK_BYTES // (4 * self.block * (taps + lines * columns)))
        return -(-self.blocks // -(-self.blocks // most))

    def _row(self, b: Any, y: Any, lines: Taps, blocks: tuple[Any, Any]) -> Any:
        """All tiles of the rows from `y` on."""
        from tvm import tirx

        def along(run: TileRun) -> Any:
            def tile(i: Any) -> Any:
                x = run.start(i)
                return _loop("c", blocks[1], lambda c: self._tile(_Place(b, y, x, blocks[0] + c, lines, run.taps)))

            return _loop("x", run.count, tile) if run.count > 1 else tile(0)

        runs = list(self.columns.runs(self.tile.rows))
        return tirx.stmt_seq(*map(along, runs)) if len(runs) > 1 else along(*runs)

    def _tile(self, at: _Place) -> Any:
        """Accumulators that start from the bias, then the sums, then the rest of the steps."""
        from tvm import tirx

        lanes, width = self.tile.lanes, len(at.columns)
        total = tirx.decl_buffer((len(at.lines) * width * self.block,), self.spec.dtype, "total", scope="local")
        channel = self._channel(at.block)

        def each(body: Callable) -> list[Any]:
            def vector(n: Any) -> Any:
                def one(lane: Any) -> Any:
                    return body(n * lanes + lane, n // width, n % width, lane)

                return _loop("lane", lanes, one, tirx.ForKind.VECTORIZED)

            return self._unrolled(len(at.lines) * width, vector)

        def first(n: Any, line: Any, i: Any, c: Any) -> Any:
            return tirx.BufferStore(total, self._bias(channel + c), [n])

        before, place = self._places(at, channel)

        def result(n: Any, line: Any, i: Any, c: Any) -> Any:
            buffer, index = place(line, i, c)
            value = tail(self.rest, self.operands, (at.b, channel + c, at.y + line, at.x + i), total[n])
            return tirx.BufferStore(buffer, value, index)

        return tirx.stmt_seq(tirx.AllocBuffer(total), *each(first), *self._sums(total, at), *before, *each(result))

    def _sums(self, total: Any, at: _Place) -> Iterator[Any]:
        """Multiply-adds: input rows in turn, each used by every output row that reads it."""
        reads = [(self.rows.at(line, k), line, k) for line, taps in enumerate(at.lines) for k in taps]
        rows = [(row, [read[1:] for read in run]) for row, run in groupby(sorted(reads), lambda read: read[0])]
        if at.lines == LOOPED and any(at.columns):
            yield self._loop_over_taps(total, at)
        if rows and any(at.columns):
            first, pixel = self._pixels(at, [row for row, _ in rows])
            some, weight = self._weights(at, 0)
            yield from (*first, *some)
            for n, (_, meets) in enumerate(rows):
                yield from self._sums_of_row(total, pixel, weight, n, at, meets)

    def _loop_over_taps(self, total: Any, at: _Place) -> Any:
        """Multiply-adds of a single output row, one row of the kernel after the other."""
        from tvm import tirx

        first, last = self.rows.span(at.y)

        def row(k: Any) -> Any:
            begin, pixel = self._pixels(at, [self.rows.at(0, first + k)])
            some, weight = self._weights(at, first + k)
            return tirx.stmt_seq(*begin, *some, *self._sums_of_row(total, pixel, weight, 0, at, [(0, 0)]))

        return _loop("ky", last - first, row)

    def _sums_of_row(
        self, total: Any, pixel: Callable, weight: Callable, row: int, at: _Place, meets: list[tuple[int, int]]
    ) -> Iterator[Any]:
        """Multiply-adds of the `row`th of the input rows into each output row whose kernel row it `meets`, as pairs of
        those."""
        from tvm import tirx

        width, lanes = len(at.columns), self.tile.lanes
        if self.tile.in_turn:
            yield tirx.Evaluate(barrier())
        for k in range(self.columns.kernel):
            those = [i for i, taps in enumerate(at.columns) if k in taps]
            for line, ky in meets if those else ():

                def add(n: Any, k: int = k, line: int = line, ky: int = ky, first: int = those[0]) -> Any:
                    i = first + n
                    place = (line * width + i) * lanes
                    value = self._lanes(total, place) + pixel(row, i, k, 0) * weight(ky, k)
                    return tirx.BufferStore(total, value, [tirx.Ramp(place, 1, lanes)])

                yield from self._unrolled(len(those), add)

    def _unrolled(self, count: int, body: Callable[[Any], Any]) -> list[Any]:
        """The statements for every number below `count`; a loop that TVM unrolls compiles faster, but offsets are told
        by numbers."""
        from tvm import tirx

        if self.offsets is not None and self.offsets.held:
            return [body(n) for n in range(count)]
        return [_loop("n", count, body, tirx.ForKind.UNROLLED)]

    def _pixels(self, at: _Place, rows: list[Any]) -> tuple[list[Any], Callable]:
        """The statements that come first, and a function of `(n, i, k, c)` that reads tap `k` of the `i`th output from
        channel `c` of the block on, in the nth of these input rows.

        Args:
            rows: They count from where the kernel would begin without pads.
        """
        y, channel = at.y * self.rows.stride, self._channel(at.block)
        if self.offsets is None:
            return [], lambda n, i, k, c: self._numbers(
                self.buffers[0], at.b, y + rows[n], self.columns.at(at.x + i, k), channel + c
            )
        first = min(self.columns.at(i, k) for i, taps in enumerate(at.columns) for k in taps)
        begin = (at.b * self.rows.size + y + rows[0]) * self.columns.size + at.x * self.columns.stride + first
        apart = [0, *((row - rows[0]) * self.columns.size * self.channels for row in rows[1:])]
        statements, lines = self._lines(self.data, begin * self.channels + channel, apart)
        return statements, lambda n, i, k, c: self._numbers(lines[n], self.offsets[self.columns.at(i, k) - first] + c)

    def _weights(self, at: _Place, first: Any) -> tuple[list[Any], Callable]:
        """The statements that come first, and a function of `(ky, kx)` that reads the weights of a tap, kernel rows
        counted from the `first` on."""
        if self.offsets is None:
            return [], lambda ky, kx: self._lanes(self.buffers[1], at.block, first + ky, kx, 0)
        taps = at.block * self.rows.kernel + first
        statements, begin = from_value(self.weights, taps * self.columns.kernel * self.block)
        return statements, lambda ky, kx: self._lanes(begin, (ky * self.columns.kernel + kx) * self.block)

    def _places(self, at: _Place, channel: Any) -> tuple[list[Any], Callable]:
        """The statements that come first, and a function of `(line, i, c)` that gives the buffer and index of the `i`th
        output of a line, `c` channels from `channel` on."""
        if self.offsets is None:
            return [], lambda line, i, c: (self.out, [at.b, at.y + line, at.x + i, channel + c])
        begin = ((at.b * self.rows.out + at.y) * self.columns.out + at.x) * self.channels + channel
        if not self.offsets.held:
            statements, first = from_value(self.result, begin)
            return statements, lambda line, i, c: (first, [self.offsets[line * self.columns.out + i] + c])
        apart = [line * self.columns.out * self.channels for line in range(len(at.lines))]
        statements, found = self._lines(self.result, begin, apart)
        return statements, lambda line, i, c: (found[line], [self.offsets[i] + c])

    def _lines(self, buffer: Any, begin: Any, apart: list[int]) -> tuple[list[Any], list[Any]]:
        """The statements that declare lines, and the lines: buffers that begin so far `apart` from value `begin`."""
        statements, first = from_value(buffer, begin)
        others = [from_value(first, values) for values in apart[1:]]
        return [*statements, *(s for some, _ in others for s in some)], [first, *(line for _, line in others)]

    def _numbers(self, buffer: Any, *index: Any) -> Any:
        """What a vector of input values stands for."""
        return number(self._lanes(buffer, *index), self.spec.operands[0])

    def _lanes(self, buffer: Any, *index: Any) -> Any:
        """A vector of values, the first of which is at `index`."""
        from tvm import tirx

        return tirx.BufferLoad(buffer, [*index[:-1], tirx.Ramp(index[-1], 1, self.tile.lanes)])

    def _channel(self, block: Any) -> Any:
        from tvm import tirx

        start = block * self.block
        return tirx.min(start, self.channels - self.block) if self.channels % self.block else start

    def _bias(self, channel: Any) -> Any:
        if self.bias is None:
            return const(0, self.spec.dtype)
        return self.operands[self.bias].broadcast((0, channel, 0, 0))


def _flat(*buffers: tuple[Any, Form]) -> tuple[list[Any], list[Any]]:
    """The statements that declare them, and the same memory as buffers of one axis."""
    found = [flat(buffer, form) for buffer, form in buffers]
    return [statement for statement, _ in found], [same for _, same in found]


def _loop(name: str, extent: Any, body: Callable, kind: Any = None) -> Any:
    from tvm import tirx

    variable = tirx.Var(name, "int32")
    return tirx.For(variable, 0, extent, tirx.ForKind.SERIAL if kind is None else kind, body(variable))
