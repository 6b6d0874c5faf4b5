"""The multiplications and loads of a direct convolution's block: runs of values under the kernel's rows, in rounds.

What a loop adds in scalar instructions was read from disassembly of generic 64-bit Arm code, and checked under the
emulator over benchmarks/estimator/grids/direct.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from pfir.backends.tvm.counts.convolutions.image import Image, TapCounts
from pfir.backends.tvm.counts.overlap import step
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.counts.vectors import pairs
from pfir.backends.tvm.schedule.blocks import Block

_VALUE, _VECTOR = 4, 16  # bytes
# Scalar instructions of a row of the kernel, of a tap that is a run of its own, of a run that is a loop, of a round of
# it, and of a round's values that fill no whole one.
_A_ROW, _A_TAP, _A_RUN, _A_ROUND, _A_REST = 4, 3, 4, 3, 3
# Of a run that is written out in a row of the kernel with others that are loops.
_A_STRETCH = 6
# LLVM writes out a loop of no more than so many instructions, those of a round by its own measure.
_WRITTEN_OUT, _LOOP = 298, 3
# Multiply-adds of a run up to which each of its rounds has a barrier (kernels/written.py).
_FENCED = 400
# Bytes around an address that a load reaches which does not lie whole vectors apart.
_REACH = 256


class Run(NamedTuple):
    """Values side by side under each of some columns of a tile.

    Args:
        who: How many columns.
        length: Values; in `rounds` whole rounds and a `rest`.
        times: Such runs in a row of the kernel.
        stride: Values from one column to the next.
        at_border: Whether other columns of the tile lie outside the image.
        fences: Rounds that have a barrier.
        written: Whether LLVM writes out the loop over them.
        together: Rounds that it takes together in a loop.
        held: Whether all tiles of a line share the weights, which then lie on the stack.
    """

    who: int
    length: int
    rounds: int
    rest: int
    times: int
    stride: int
    at_border: bool
    fences: int
    written: bool
    together: int
    held: bool


@dataclass(frozen=True, slots=True)
class Runs:
    """The code of a block that goes along runs of values.

    Args:
        steps: Values of a round.
    """

    image: Image
    block: Block
    steps: int

    def under(self, inner: int, columns: int, tiles: int, taps: TapCounts) -> list[Run]:
        """The runs of a row of the kernel under one of so many tiles along a line, each of so many columns.

        Args:
            inner: Channels that are summed over.
        """
        beside = self.image.beside
        return [
            self._run(who, inner * count if beside else inner, 1 if beside else count, inner, (columns, tiles))
            for count, who in taps
        ]

    def add(self, found: Sum, runs: list[Run], times: float) -> None:
        """Add so many rows of the kernel under tiles, of these runs."""
        image = self.image
        whole = image.beside and all(run.written for run in runs)
        found.steer(times, _A_ROW, 1)
        for run in runs:
            each = times * run.times
            self._add_multiplied(found, run, each)
            if image.registers.by_lane:  # else loads come beside the multiply-adds
                self._add_loaded(found, run, each)
            if not run.written:
                self._add_looped(found, run, each)
            elif not whole:
                adds_up = run.at_border or image.group > 1 and _VALUE * run.length % _VECTOR > 0
                found.steer(each, _A_STRETCH + adds_up * run.who * run.rounds, 0)
            if not image.beside:
                found.steer(each, _A_TAP, 1)

    def _run(self, who: int, length: int, times: int, inner: int, tiles: tuple[int, int]) -> Run:
        image, vectors, singles, steps = self.image, len(self.block.lanes), self.block.singles, self.steps
        rounds, rest = divmod(length, steps)
        barrier = image.registers.fenced and length * who * vectors <= _FENCED
        # LLVM's measure of a round: multiply-adds, loads, and the loop.
        size = who * (vectors * steps + singles) + vectors * steps + who + singles + _LOOP + barrier
        written, together = rounds < 2 or rounds * size < _WRITTEN_OUT, 1
        if image.ahead and not written:
            together = max(n for n in range(1, rounds + 1) if rounds % n == 0 and (n == 1 or n * size < _WRITTEN_OUT))
        fences = rounds * barrier + (rest > 0) * image.registers.fenced
        at_border = who < tiles[0] and image.columns.pad > 0
        stride, held = inner * image.group * image.columns.stride, image.rows.kernel == 1 and tiles[1] > 1
        return Run(who, length, rounds, rest, times, stride, at_border, fences, written, together, held)

    def _add_multiplied(self, found: Sum, run: Run, times: float) -> None:
        """Add what a run multiplies, and its barriers."""
        singles, ends = self.block.singles, run.rounds + (run.rest > 0)
        if self.image.registers.by_lane:
            found.compute(times, run.who * (run.length * self._whole() + ends * singles), 0)
        else:
            found.compute(times * run.length, self._step(run.who), 0)
        found.compute(times, 0, (run.rest > 0 and singles > 0) * run.who)
        found.steer(times, run.fences, 0)

    def _add_loaded(self, found: Sum, run: Run, times: float) -> None:
        """Add the weights and values that a run loads on Arm."""
        vectors, singles, length = len(self.block.lanes), self.block.singles, run.length
        # Of a loop's rest the weights lie too far from the pointer for pairs; held ones lie on the stack.
        paired = length - run.rest if not run.written else 0 if run.held else length
        weights = pairs(paired * vectors) + (length - paired) * vectors
        found.read(times, weights, length * _VALUE * sum(self.block.lanes))
        values = self._values(run) + (run.rounds + (run.rest > 0)) * singles
        found.read(times, values, values * _VALUE * self.steps)

    def _add_looped(self, found: Sum, run: Run, times: float) -> None:
        """Add what a run takes that is a loop."""
        loops, ends = run.rounds // run.together, (run.rest > 0) * (_A_REST + run.who)
        found.steer(times, _A_RUN + loops * _A_ROUND + run.rounds * self._addresses(run) + ends, loops)

    def _whole(self) -> float:
        """The share that the block's vectors take of whole ones, summed."""
        return sum(map(self.image.registers.share, self.block.lanes))

    def _step(self, who: int) -> float:
        """What a value under each of so many columns counts as on x86; single channels take vectors of values."""
        lanes, singles, steps = self.block.lanes, self.block.singles, self.steps
        registers = self.image.registers
        apart = singles * registers.share(steps) / steps
        loads = (who if lanes else 0) + len(lanes) + (singles and (who + singles) / steps)
        return step(registers.rate, who * (self._whole() + apart), loads, self.block.copies(who, steps))

    def _values(self, run: Run) -> float:
        """Loads of a run's values: vectors of them, each once where columns share them."""
        if run.written and run.stride < run.length:
            return shared(run.stride, run.who, run.length, self.steps)
        each = 1.0
        if run.together > 1 and _VALUE * run.stride % _VECTOR == 0 and not run.fences > 1:
            # About half of the loads that could be pairs are.
            each = (1 + -(-run.together // 2) / run.together) / 2
        return run.who * (run.rounds * each + (run.rest > 0))

    def _addresses(self, run: Run) -> float:
        """Addresses of values that a round adds up: each, but for those that one register reaches."""
        if not self.image.registers.by_lane or _VALUE * run.stride % _VECTOR == 0:
            return float(self.block.singles > 0)
        if (run.who - 1) * _VALUE * run.stride <= _REACH:
            return 0.0
        return run.who + 1 if self.image.columns.pad > 0 and not run.at_border else (run.who + 1) // 2


@lru_cache(maxsize=4096)
def shared(stride: int, who: int, length: int, steps: int) -> int:
    """Different places, so many values apart, at which vectors of a run of values are loaded for so many columns."""
    starts = [*range(0, length - steps + 1, steps), *([length - steps] if length % steps else [])]
    return len({i * stride + start for i in range(who) for start in starts})
