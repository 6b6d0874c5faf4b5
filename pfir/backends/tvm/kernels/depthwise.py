"""Depthwise convolution over channels-last activations, without a copy of its input.

Packed weights are `[B, KH, KW, b]`, one block of b channels after the other; the last block starts early enough to end
with the last channel. A pass computes a tile of `lines` x `rows` output positions by one block; where the border cuts
taps off, they are left out of the code. Rows that the border cuts, and those left over, loop over the kernel's rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from pfir.backends.tvm.expressions import const
from pfir.backends.tvm.form import Form, KernelSpec
from pfir.backends.tvm.kernels.common import bias_first, tail
from pfir.backends.tvm.kernels.offsets import Offsets, flat, from_value
from pfir.backends.tvm.kernels.written import Argument, barrier
from pfir.backends.tvm.tiles import FEWEST_LANES, Tile

_CHUNK_BYTES = 16 * 1024
_MOST_TAPS = 49


def covers(data: Form, weight: np.ndarray) -> bool:
    """Whether the kernel can be made: vectors need channels side by side, and all taps are written out."""
    kh, kw = weight.shape[2:]
    return data.order == (0, 2, 3, 1) and len(weight) >= FEWEST_LANES and kh * kw <= _MOST_TAPS


def pack(weight: np.ndarray, tile: Tile) -> np.ndarray:
    """`[O, 1, KH, KW]` -> `[B, KH, KW, b]`; channels that two blocks share stand in both."""
    channels, block = len(weight), tile.block
    starts = [min(i * block, channels - block) for i in range(-(-channels // block))]
    return np.ascontiguousarray(np.stack([weight[s : s + block, 0].transpose(1, 2, 0) for s in starts]))


def depthwise(spec: KernelSpec, tile: Tile) -> Any:
    """A kernel as a function of TensorIR; `spec` has `strides`, `dilations`, `pads` (begin), and whether columns
    are reached by `offsets` in registers."""
    from tvm import tirx

    buffers = [tirx.decl_buffer(form.memory, form.dtype, f"p{i}") for i, form in enumerate(spec.operands)]
    out = tirx.decl_buffer(spec.out.memory, spec.out.dtype, "out")
    body = _Writer(spec, tile, buffers, out).kernel()
    return tirx.PrimFunc([*buffers, out], body).with_attr({"s_tir": True})


@dataclass(frozen=True)
class Axis:
    """One spatial axis: which input positions the taps of each output read."""

    size: int
    out: int
    kernel: int
    stride: int
    step: int
    pad: int

    def at(self, position: Any, tap: Any) -> Any:
        return position * self.stride + tap * self.step - self.pad

    def inside(self, position: int) -> tuple[int, ...]:
        """The taps of an output that read the input."""
        return tuple(k for k in range(self.kernel) if 0 <= self.at(position, k) < self.size)

    def whole(self) -> range:
        """The outputs all of whose taps read the input."""
        found = [p for p in range(self.out) if len(self.inside(p)) == self.kernel]
        return range(found[0], found[-1] + 1) if found else range(0)


class _Writer:
    """Writes the statements of one kernel."""

    def __init__(self, spec: KernelSpec, tile: Tile, buffers: list[Any], out: Any) -> None:
        self.spec, self.tile, self.buffers, self.out = spec, tile, buffers, out
        (sh, sw), (dh, dw), (top, left) = spec["strides"], spec["dilations"], spec["pads"]
        self.batch, self.channels, h, w = spec.operands[0].shape
        self.blocks, kh, kw, self.block = spec.operands[1].shape
        oh, ow = spec.out.shape[2:]
        self.rows, self.columns = Axis(h, oh, kh, sh, dh, top), Axis(w, ow, kw, sw, dw, left)
        self.operands = [Argument(b, f, spec.dtype) for b, f in zip(buffers, spec.operands, strict=True)]
        self.tiles = list(self._tiles())
        self.bias, self.rest = bias_first(spec)
        self.offsets = Offsets(self.channels) if spec["offsets"] else None
        self.declared, (self.data, self.result) = _flat((buffers[0], spec.operands[0]), (out, spec.out))

    def kernel(self) -> Any:
        """Batch, chunks of channel blocks, passes over rows; then tiles along a row, and blocks of the chunk."""
        from tvm import tirx

        chunk = self._chunk()
        chunks = -(-self.blocks // chunk)
        passes = len(self.rows.whole()) // self.tile.lines
        cut = self.rows.out - passes * self.tile.lines
        kind = tirx.ForKind.PARALLEL if self.tile.threads > 1 else tirx.ForKind.SERIAL

        def task(index: Any) -> Any:
            b, c, t = index // (chunks * (passes + cut)), index // (passes + cut) % chunks, index % (passes + cut)
            blocks = (c * chunk, tirx.min(chunk, self.blocks - c * chunk) if self.blocks % chunk else chunk)
            fast = self._row(b, self.rows.whole().start + t * self.tile.lines, blocks, self._whole) if passes else None
            rest = t - passes
            early = self.rows.whole().start if passes else 0
            y = rest if not passes else tirx.Select(rest < early, rest, rest + passes * self.tile.lines)
            slow = self._row(b, y, blocks, self._cut) if cut else None
            if fast is None or slow is None:
                return fast or slow
            return tirx.IfThenElse(t < passes, fast, slow)

        tasks = _loop("task", self.batch * chunks * (passes + cut), task, kind)
        return tasks if self.offsets is None else tirx.stmt_seq(*self.declared, *self.offsets.statements(), tasks)

    def _chunk(self) -> int:
        """Channel blocks whose input under a tile and weights fill half of a small first-level cache."""
        taps = self.rows.kernel * self.columns.kernel
        columns = (self.tile.rows - 1) * self.columns.stride + (self.columns.kernel - 1) * self.columns.step + 1
        lines = (self.tile.lines - 1) * self.rows.stride + (self.rows.kernel - 1) * self.rows.step + 1
        most = max(2, _CHUNK_BYTES // (4 * self.block * (taps + lines * columns)))
        return -(-self.blocks // -(-self.blocks // most))

    def _tiles(self) -> Iterator[tuple[int, int, int]]:
        """Runs of tiles along a row, as start, width and count: tiles that the border cuts stand alone."""
        axis, width = self.columns, self.tile.rows
        starts = range(0, axis.out, width)

        def key(start: int) -> Any:
            end = min(start + width, axis.out)
            whole = end - start == width and all(len(axis.inside(x)) == axis.kernel for x in range(start, end))
            return (True, 0) if whole else (False, start)

        for _, run in groupby(starts, key):
            found = list(run)
            yield found[0], min(width, axis.out - found[0]), len(found)

    def _row(self, b: Any, y: Any, blocks: tuple[Any, Any], body: Callable) -> Any:
        """All tiles of a pass over a row."""
        from tvm import tirx

        def run(start: int, width: int, count: int) -> Any:
            def tile(i: Any) -> Any:
                x, taps = start + i * width, [self.columns.inside(start + k) for k in range(width)]
                return _loop("c", blocks[1], lambda c: body(b, y, x, blocks[0] + c, taps))

            return _loop("x", count, tile) if count > 1 else tile(0)

        return tirx.stmt_seq(*(run(*found) for found in self.tiles)) if len(self.tiles) > 1 else run(*self.tiles[0])

    def _whole(self, b: Any, y: Any, x: Any, block: Any, taps: list[tuple[int, ...]]) -> Any:
        """A tile whose rows are all inside: input rows in turn, each used by every output row that reads it."""
        reads = [(self.rows.at(line, k), line, k) for line in range(self.tile.lines) for k in range(self.rows.kernel)]
        rows = [(row, [(line, k) for _, line, k in run]) for row, run in groupby(sorted(reads), lambda read: read[0])]

        def sums(total: Any) -> list[Any]:
            first, pixel = self._pixels(b, y * self.rows.stride, [row for row, _ in rows], x, block, taps)
            return [*first, *(s for row, those in rows for s in self._sums(total, pixel, row, block, taps, those))]

        return self._tile(b, y, x, block, len(taps), self.tile.lines, sums)

    def _cut(self, b: Any, y: Any, x: Any, block: Any, taps: list[tuple[int, ...]]) -> Any:
        """A tile of one row, over those rows of the kernel that are inside."""
        from tvm import tirx

        axis = self.rows
        first = tirx.max(0, (axis.pad - y * axis.stride + axis.step - 1) // axis.step)
        last = tirx.min(axis.kernel, (axis.size + axis.pad - y * axis.stride + axis.step - 1) // axis.step)

        def sums(total: Any) -> list[Any]:
            def at(k: Any) -> Any:
                begin, pixel = self._pixels(b, axis.at(y, first + k), [0], x, block, taps)
                return tirx.stmt_seq(*begin, *self._sums(total, pixel, 0, block, taps, [(0, first + k)]))

            return [_loop("ky", last - first, at)] if any(taps) else []

        return self._tile(b, y, x, block, len(taps), 1, sums)

    def _sums(
        self, total: Any, pixel: Callable, row: int, block: Any, taps: list[tuple[int, ...]], meets: list
    ) -> Iterator[Any]:
        """Multiply-adds of one input row into each output row whose kernel row it `meets`, as pairs of those."""
        from tvm import tirx

        width, vectors, lanes = len(taps), self.tile.vectors, self.tile.lanes
        if self.tile.in_turn:
            yield tirx.Evaluate(barrier())
        for k in range(self.columns.kernel):
            those = [i for i in range(width) if k in taps[i]]
            for line, ky in meets if those else ():

                def add(n: Any, k: int = k, line: int = line, ky: Any = ky, first: int = those[0]) -> Any:
                    i, v = first + n // vectors, n % vectors
                    at = ((line * width + i) * vectors + v) * lanes
                    weight = self._lanes(self.buffers[1], block, ky, k, v * lanes)
                    value = self._lanes(total, at) + pixel(row, i, k, v * lanes) * weight
                    return tirx.BufferStore(total, value, [tirx.Ramp(at, 1, lanes)])

                yield from self._unrolled(len(those) * vectors, add)

    def _unrolled(self, count: int, body: Callable[[Any], Any]) -> list[Any]:
        """The statements for every number below `count`; a loop that TVM unrolls compiles faster, but offsets are told
        by numbers."""
        from tvm import tirx

        if self.offsets is not None:
            return [body(n) for n in range(count)]
        return [_loop("n", count, body, tirx.ForKind.UNROLLED)]

    def _pixels(
        self, b: Any, y: Any, rows: list[int], x: Any, block: Any, taps: list[tuple[int, ...]]
    ) -> tuple[list[Any], Callable]:
        """What comes first, and how to read tap `k` of the `i`th output from channel `c` of the block on, in the input
        row that lies so many rows below row `y`."""
        channel = self._channel(block)
        if self.offsets is None:
            below = {row: y + row for row in rows}
            return [], lambda row, i, k, c: self._lanes(
                self.buffers[0], b, below[row], self.columns.at(x + i, k), channel + c
            )
        first = min((self.columns.at(i, k) for i, ks in enumerate(taps) for k in ks), default=0)
        begin = (b * self.rows.size + y + rows[0]) * self.columns.size + x * self.columns.stride + first
        apart = [(row - rows[0]) * self.columns.size * self.channels for row in rows]
        statements, lines = self._lines(self.data, begin * self.channels + channel, apart)
        line = dict(zip(rows, lines, strict=True))
        return statements, lambda row, i, k, c: self._lanes(
            line[row], self.offsets[self.columns.at(i, k) - first] + c
        )

    def _places(self, b: Any, y: Any, x: Any, channel: Any, lines: int) -> tuple[list[Any], Callable]:
        """What comes first, and the buffer and index of the `i`th output of a line, `c` channels from `channel` on."""
        if self.offsets is None:
            return [], lambda line, i, c: (self.out, [b, y + line, x + i, channel + c])
        begin = ((b * self.rows.out + y) * self.columns.out + x) * self.channels + channel
        apart = [line * self.columns.out * self.channels for line in range(lines)]
        statements, found = self._lines(self.result, begin, apart)
        return statements, lambda line, i, c: (found[line], [self.offsets[i] + c])

    def _lines(self, buffer: Any, begin: Any, apart: list[int]) -> tuple[list[Any], list[Any]]:
        """What declares them, and the values that lie so far apart from value `begin` on, as buffers of their own."""
        statements, first = from_value(buffer, begin)
        others = [from_value(first, values) for values in apart[1:]]
        return [*statements, *(s for some, _ in others for s in some)], [first, *(line for _, line in others)]

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

    def _tile(self, b: Any, y: Any, x: Any, block: Any, width: int, lines: int, sums: Callable) -> Any:
        """Accumulators that start from the bias, then `sums`, then the rest of the steps."""
        from tvm import tirx

        lanes, vectors = self.tile.lanes, self.tile.vectors
        total = tirx.decl_buffer((lines * width * self.block,), self.spec.dtype, "total", scope="local")

        channel = self._channel(block)
        before, place = self._places(b, y, x, channel, lines)

        def each(body: Callable) -> list[Any]:
            def vector(n: Any) -> Any:
                line, i, v = n // (width * vectors), n // vectors % width, n % vectors

                def one(lane: Any) -> Any:
                    return body(n * lanes + lane, line, i, v * lanes + lane)

                return _loop("lane", lanes, one, tirx.ForKind.VECTORIZED)

            return self._unrolled(lines * width * vectors, vector)

        def first(n: Any, line: Any, i: Any, c: Any) -> Any:
            return tirx.BufferStore(total, self._bias(channel + c), [n])

        def result(n: Any, line: Any, i: Any, c: Any) -> Any:
            buffer, index = place(line, i, c)
            value = tail(self.rest, self.operands, (b, channel + c, y + line, x + i), total[n])
            return tirx.BufferStore(buffer, value, index)

        return tirx.stmt_seq(tirx.AllocBuffer(total), *each(first), *sums(total), *before, *each(result))


def _flat(*buffers: tuple[Any, Form]) -> tuple[list[Any], list[Any]]:
    """What declares them, and the same memory as buffers of one axis."""
    found = [flat(buffer, form) for buffer, form in buffers]
    return [statement for statement, _ in found], [same for _, same in found]


def _loop(name: str, extent: Any, body: Callable, kind: Any = None) -> Any:
    from tvm import tirx

    variable = tirx.Var(name, "int32")
    return tirx.For(variable, 0, extent, tirx.ForKind.SERIAL if kind is None else kind, body(variable))
