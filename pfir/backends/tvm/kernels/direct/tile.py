"""One register tile of a direct convolution: some positions by the vectors and single channels of a block.

A single channel multiplies a vector of input values by a vector of its weights; its lanes are added up at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product as pairs
from typing import Any

from pfir.backends.tvm.kernels.axis import Stretches
from pfir.backends.tvm.kernels.common import Operand, bias_first, tail
from pfir.backends.tvm.kernels.direct.layer import Layer
from pfir.backends.tvm.kernels.written import WRITTEN_OUT, along, fence, store
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.schedule.blocks import Block
from pfir.target import SINGLE

# Lanes whose sum LLVM takes well by itself.
_ADDED_AS_ONE = 4


@dataclass(frozen=True)
class Buffers:
    """What a kernel reads and writes; columns and channels of the image are one axis, `[N, H, W * C]`."""

    operands: list[Operand]
    image: Any
    result: Any


@dataclass(frozen=True)
class Place:
    """The first position of a tile, its first channel within a group, and where the weights of its block begin."""

    batch: Any
    y: Any
    x: Any
    group: Any
    channel: Any
    weights: Any


@dataclass(frozen=True)
class _Run:
    """Values that lie side by side in a row of the image: the row, the first one under a tile's first position, which
    of a position's values it is, how many there are, and the positions for which they count."""

    row: Any
    begin: Any
    first: Any
    length: int
    who: tuple[int, ...]


@dataclass(frozen=True)
class RegisterTile:
    """The statements of one tile of `rows` positions."""

    layer: Layer
    buffers: Buffers
    block: Block
    place: Place
    rows: int
    taps: Stretches

    def write(self) -> None:
        from tvm.tirx.script import builder as T

        lanes, steps = self.block.lanes, self.layer.tile.unroll
        copies = self.block.copies(self.rows, steps)
        sums = [T.alloc_buffer((copies, self.rows, width), SINGLE, scope="local") for width in lanes]
        singles = [T.alloc_buffer((self.rows, steps), SINGLE, scope="local") for _ in range(self.block.singles)]
        self._begin(sums, singles, copies)
        first, last = self.layer.lines(self.place.y)
        if self.taps:
            with T.serial(first, last) as ky:
                for tap, count, who in self.taps:
                    self._stretch(ky, tap, count, who, lambda run: self._run(run, sums, singles, copies))
        for i in range(self.rows):
            for j, width in enumerate(lanes):
                self._vector(i, j, width, lambda e, i=i, j=j: _total([sums[j][copy, i, e] for copy in range(copies)]))
            for s, single in enumerate(singles):
                self._single(i, self.place.channel + sum(lanes) + s, single)

    def _begin(self, sums: list[Any], singles: list[Any], copies: int) -> None:
        """Sums start from the bias; where several are added up in the end, only one of them."""
        for i, (j, width), copy in pairs(range(self.rows), enumerate(self.block.lanes), range(copies)):
            # A vector wider than all channels is written in narrower ones, which add the bias in the end.
            biased = copy == 0 and width <= self.layer.channels
            store(
                sums[j],
                width,
                lambda e, i=i, j=j, copy=copy, biased=biased: (
                    self._bias(self._channel(j) + e) if biased else const(0),
                    [copy, i, e],
                ),
            )
        for i, single in pairs(range(self.rows), singles):
            store(single, self.layer.tile.unroll, lambda e, i=i: (const(0), [i, e]))

    def _stretch(self, ky: Any, tap: int, count: int, who: tuple[int, ...], body: Callable[[_Run], None]) -> None:
        """`body` for the values under these taps of a row of the kernel: those of all taps where they lie side by side,
        else those of one tap after the other."""
        from tvm.tirx.script import builder as T

        layer, spec = self.layer, self.layer.spec
        beside = layer.inner == layer.step
        row = self.place.y * spec["strides"][0] + ky * spec["dilations"][0] - layer.rows.pad
        start = self.place.x * layer.stride - layer.left + self.place.group * layer.inner
        with T.serial(0, 1 if beside else count) as kx:
            first = (ky * spec["kernel"][1] + tap + kx) * layer.inner
            length = layer.inner * (count if beside else 1)
            body(_Run(row, start + (tap + kx) * layer.step, first, length, who))

    def _run(self, run: _Run, sums: list[Any], singles: list[Any], copies: int) -> None:
        """Add what a run gives, in rounds of some values; those left over are loaded with some that are done."""
        from tvm.tirx.script import builder as T

        spec, steps = self.layer.spec, self.layer.tile.unroll
        short = run.length * len(run.who) * len(self.block.lanes) <= WRITTEN_OUT
        together = spec["by_lane"] or bool(singles)

        def some(start: Any, count: int, done: int = 0) -> None:
            fence(spec["fenced"] and (short or done > 0))
            values = self._values(run, start, count) if together else None
            value = values if spec["by_lane"] else lambda i, k: self._pixel(run, i, start + k)
            for k in range(done, count):
                self._step(run, sums, k % copies, start + k, lambda i, k=k: value(i, k))
            for s, single in enumerate(singles):
                self._add_single(run, single, s, start, values, done)

        whole, rest = divmod(run.length, steps)
        with T.serial(0, whole) as outer:
            some(outer * steps, steps)
        # Values are loaded by whole vectors: the last one begins earlier, and what it has twice is skipped.
        if rest and together:
            some(run.length - steps, steps, steps - rest)
        elif rest:
            some(run.length - rest, rest)

    def _pixel(self, run: _Run, i: int, k: Any) -> Any:
        return self.buffers.image[self.place.batch, run.row, run.begin + i * self.layer.stride + k]

    def _values(self, run: _Run, start: Any, count: int) -> Callable[[int, Any], Any]:
        """Value `k` of `count` from `start` on of each position, as `(i, k)`, each position's loaded together."""
        from tvm.tirx.script import builder as T

        cells = T.alloc_buffer((self.rows, count), SINGLE, scope="local")
        for i in run.who:
            store(cells, count, lambda e, i=i: (self._pixel(run, i, start + e), [i, e]))
        return lambda i, k: cells[i, k]

    def _step(self, run: _Run, sums: list[Any], copy: int, k: Any, value: Callable[[int], Any]) -> None:
        """Multiply one value of each position by its weights for all vectors."""
        weights = self.place.weights + (run.first + k) * sum(self.block.lanes)
        for i, (j, lanes) in pairs(run.who, enumerate(self.block.lanes)):
            at = weights + sum(self.block.lanes[:j])
            store(
                sums[j],
                lanes,
                lambda e, i=i, j=j, at=at: (
                    sums[j][copy, i, e] + value(i) * self.buffers.operands[1].tensor[at + e],
                    [copy, i, e],
                ),
            )

    def _add_single(
        self, run: _Run, single: Any, s: int, start: Any, value: Callable[[int, Any], Any], done: int
    ) -> None:
        """Multiply some values of each position by their weights for one channel, but for the first `done`."""
        from tvm import tirx

        weights = self.place.weights + (sum(self.block.lanes) + s) * self.layer.values + run.first + start
        for i in run.who:

            def product(e: Any, i: int = i) -> Any:
                new = tirx.Select(e >= done, value(i, e), const(0)) if done else value(i, e)
                return new * self.buffers.operands[1].tensor[weights + e]

            store(single, self.layer.tile.unroll, lambda e, i=i, product=product: (single[i, e] + product(e), [i, e]))

    def _channel(self, j: int) -> Any:
        """The first channel within the group of vector `j`."""
        from tvm import tirx

        begin = self.place.channel + sum(self.block.lanes[:j])
        return tirx.min(begin, self.layer.channels - self.block.lanes[j])

    def _bias(self, channel: Any) -> Any:
        bias, _ = bias_first(self.layer.spec)
        if bias is None:
            return const(0)
        return self.buffers.operands[bias].broadcast((0, self.place.group * self.layer.channels + channel, 0, 0))

    def _vector(self, i: int, j: int, lanes: int, total: Callable[[Any], Any]) -> None:
        """Write a vector of results; one that is wider than all channels in narrower ones."""
        if lanes <= self.layer.channels:
            self._result(i, self._channel(j), lanes, total)
            return
        along(
            self.layer.channels,
            lanes,
            lambda at, narrow: self._result(i, at, narrow, lambda e: total(at + e) + self._bias(at + e)),
        )

    def _single(self, i: int, channel: Any, single: Any) -> None:
        """Write the result of a single channel."""
        lanes = self.layer.tile.unroll
        while lanes > _ADDED_AS_ONE:
            lanes //= 2
            store(single, lanes, lambda e, half=lanes: (single[i, e] + single[i, half + e], [i, e]))
        self._result(i, channel, 1, lambda _: _total([single[i, k] for k in range(lanes)]) + self._bias(channel))

    def _result(self, i: int, channel: Any, lanes: int, total: Callable[[Any], Any]) -> None:
        """Write `lanes` channels of a position, with what follows the convolution."""
        _, steps = bias_first(self.layer.spec)
        b, y, x = self.place.batch, self.place.y, self.place.x + i
        first = self.place.group * self.layer.channels + channel
        store(
            self.buffers.result,
            lanes,
            lambda e: (tail(steps, self.buffers.operands, (b, first + e, y, x), total(e)), [b, y, x, first + e]),
        )


def _total(terms: list[Any]) -> Any:
    """The sum of both halves' sums."""
    if len(terms) == 1:
        return terms[0]
    half = (len(terms) + 1) // 2
    return _total(terms[:half]) + _total(terms[half:])
