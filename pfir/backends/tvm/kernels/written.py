"""Pieces of kernels that are written out statement by statement, where a schedule would leave predicates or copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.common import Operand
from pfir.backends.tvm.lowering.form import Form
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES

# Multiply-adds of a tile up to which LLVM writes out the loop over them, and would load all of it ahead.
WRITTEN_OUT = 400


@dataclass(frozen=True)
class Argument(Operand):
    """A buffer of the function, read as other kernels read a tensor."""

    def _at(self, memory: tuple[Any, ...]) -> Any:
        return self.tensor[memory]


def argument(name: str, form: Form, dtype: str) -> Argument:
    """The next argument of the function that is being written, which computes in `dtype`."""
    from tvm.tirx.script import builder as T

    return Argument(T.arg(name, T.buffer(form.memory, form.dtype)), form, dtype)


def along(channels: int, lanes: int, body: Callable[[Any, int], None]) -> None:
    """Write `body(start, lanes)` for vectors that cover `channels`; the last one is as narrow as the rest allows, and
    overlaps where it still is too wide.

    What is written twice must be the same both times. Fewer channels than lanes take the next lower power of two.
    """
    from tvm.tirx.script import builder as T

    lanes = min(lanes, 1 << (channels.bit_length() - 1))
    with T.serial(0, channels // lanes) as vector:
        body(vector * lanes, lanes)
    if rest := channels % lanes:
        last = narrowed(lanes, rest)
        body(channels - last, last)


def narrowed(lanes: int, channels: int) -> int:
    """The fewest of at most so many lanes that hold the channels, if those are no more."""
    return min(lanes, max(FEWEST_LANES, 1 << (channels - 1).bit_length()))


def fence(needed: bool, whole: bool = False) -> None:
    """Write a barrier where it is `needed`, for all instructions if it is a `whole` one. LLVM unrolls short loops for
    some cores, mixes the rounds, and spills."""
    from tvm.tirx.script import builder as T

    if needed:
        T.evaluate(barrier(whole))


def barrier(whole: bool = False) -> Any:
    """An instruction of 64-bit Arm that does nothing, and that no load or store moves across.

    A `whole` one may be where indirect branches end (BTI), which LLVM moves no instruction across.
    """
    from tvm import tirx

    return tirx.call_llvm_intrin("int32", "llvm.aarch64.hint", tirx.const(32 if whole else 0, "uint32"))


def store(buffer: Any, lanes: int, *values: Callable[[Any], tuple[Any, list[Any]]]) -> None:
    """Write each one's `(value, index)` of a lane, over all lanes at once."""
    from tvm.tirx.script import builder as T

    with T.vectorized(0, lanes) as lane:
        for value in values:
            T.buffer_store(buffer, *value(lane))


def over_tile(rows: int, vectors: int, body: Callable[[Any, Any], None]) -> None:
    """Write `body(row, vector)` over a register tile."""
    from tvm.tirx.script import builder as T

    with T.unroll(0, rows) as i, T.unroll(0, vectors) as j:
        body(i, j)


@contextmanager
def where(condition: Any, needed: bool) -> Iterator[None]:
    """Let what is written inside happen only where the condition holds, if that is `needed` at all."""
    from tvm.tirx.script import builder as T

    if not needed:
        yield
        return
    with T.If(condition), T.Then():
        yield


def start(index: Any, count: int, step: int, size: int) -> Any:
    """Where the `index`-th of `count` steps along an axis starts: the last ones no later than to end with it."""
    from tvm import tirx

    return tirx.min(index * step, size - step) if count * step > size else index * step
