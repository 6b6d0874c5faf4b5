"""What `pfir targets` prints: the targets, and each core with its clock, board, error and source."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from pfir.cores import CORES, CORES_32, FP16_CORES, X86_LEVELS, Core
from pfir.target import known_targets

_ARITHMETICS = ("float32", "float16", "int8")
_HEADS = ("core", "clock", "board", "float32", "float16", "int8", "source")
_LEFT = "{:<13}{:<10}{:<23}{:>7}{:>9}{:>7}  "


def lines(width: int) -> list[str]:
    """For a terminal of so many columns; narrower ones than 100 get lines of 100."""
    return [*_targets(max(width, 100)), "", *_cores(max(width, 100))]


def _targets(width: int) -> Iterator[str]:
    yield f"{'target':<15}{'triple':<25}{'costed as':<12}{'clock':<10}what it stands for"
    for target in known_targets():
        if ":" not in target.name:
            core = target.core
            left = f"{target.name:<15}{target.triple:<25}{core.name:<12}{_clock(core):<10}"
            yield from _wrapped(left, target.about, width)
    yield ""
    yield "Options: threads=4, clock=1.8GHz, as in --target arm:cortex-a53,threads=4,clock=1.2GHz."


def _cores(width: int) -> Iterator[str]:
    yield "Cores, and by how much an estimate of a whole net errs on average, by arithmetic. A star: no board"
    yield "with this core tells. On other boards than the one named estimates err by more."
    for heading, cores in (
        ("arm:CORE, 64 bits", CORES),
        ("armv7:CORE, 32 bits; 64-bit cores up to Cortex-A73 too", CORES_32),
        ("x86-64:LEVEL", X86_LEVELS),
    ):
        yield ""
        yield heading
        yield _LEFT.format(*_HEADS[:-1]) + _HEADS[-1]
        for core in cores.values():
            yield from _core(core, width)


def _core(core: Core, width: int) -> Iterator[str]:
    told = (_error(core, arithmetic) for arithmetic in _ARITHMETICS)
    left = _LEFT.format(core.name, _clock(core), core.board or "-", *told)
    yield from _wrapped(left, core.source, width)


def _wrapped(left: str, text: str, width: int) -> list[str]:
    """The text beside what stands left of it, in as many lines as it takes."""
    wrapper = textwrap.TextWrapper(width - len(left), break_on_hyphens=False, break_long_words=False)
    first, *others = wrapper.wrap(text)
    return [left + first, *(" " * len(left) + line for line in others)]


def _error(core: Core, arithmetic: str) -> str:
    if arithmetic == "float16" and core.name not in FP16_CORES:
        return "- "
    return f"{core.errors.of(arithmetic):.0%}{' ' if arithmetic in core.errors.measured else '*'}"


def _clock(core: Core) -> str:
    return f"{core.clock_hz / 1e9:.3g} GHz"
