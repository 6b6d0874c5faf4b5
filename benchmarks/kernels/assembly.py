"""Innermost loops of compiled aarch64 kernels, read from assembly: how much they multiply, and whether they spill."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

# Where the kernel has no function of its own, it stands in the one that TVM calls.
_FUNCTION = re.compile(r"^(?:__tvm_ffi_(\w+)|(\w+)_compute_):")
_LABEL = re.compile(r"^(\.LBB\w+):")
_BRANCH = re.compile(r"^\s+(?:b(?:\.\w+)?|cbn?z|tbn?z)\s+.*?(\.LBB\w+)")
_END = re.compile(r"^\s+(?:b\s|ret\b)")  # code does not go on behind it
_INSTRUCTION = re.compile(r"^\s+[a-z]")
_STORED = re.compile(r"\sst[pu]?r?\s+[qdsv]\d.*\[sp")
_SLOT = re.compile(r"\[sp[^\]]*\]")
_VECTOR_ON_STACK = re.compile(r"\s(?:ld|st)[pu]?r?\s+[qdsv]\d.*\[sp")
_IN_FLOATS = ("fmla", "fmadd")
_IN_INTEGERS = ("sdot", "udot", "smmla", "ummla", "smull", "smull2", "smlal", "smlal2", "umull", "umlal", "mla")
MULTIPLIES = (*_IN_FLOATS, *_IN_INTEGERS)
"""Instructions that multiply and add, or multiply in front of a sum."""


@dataclass(frozen=True)
class Loop:
    """An innermost loop.

    Args:
        kernel: The function it stands in.
        instructions: Of one round.
        multiplies: Vector or scalar multiply-adds among them, of floats or integers.
        spills: Vector registers stored to or loaded from the stack among them.
    """

    kernel: str
    instructions: int
    multiplies: int
    spills: int

    @property
    def weight(self) -> float:
        """Multiply-adds times the square of their share of the instructions: a transform has many among others."""
        return self.multiplies**3 / self.instructions**2


def hot_loops(assembly: str) -> dict[str, Loop]:
    """Of each kernel the innermost loop that multiplies most, and most densely, by the kernel's name."""
    return {kernel: loop for kernel, (loop, _) in _hot(assembly).items()}


def hot_bodies(assembly: str) -> dict[str, list[str]]:
    """The instructions of each kernel's hot loop."""
    found = _hot(assembly).items()
    return {kernel: [line for line in lines if _INSTRUCTION.match(line)] for kernel, (_, lines) in found}


def _hot(assembly: str) -> dict[str, tuple[Loop, list[str]]]:
    hot: dict[str, tuple[Loop, list[str]]] = {}
    for loop, lines in _innermost(assembly):
        if loop.multiplies and loop.weight > (hot[loop.kernel][0].weight if loop.kernel in hot else 0):
            hot[loop.kernel] = loop, lines
    return hot


def innermost_loops(assembly: str) -> list[Loop]:
    """Every loop that holds no other."""
    return [loop for loop, _ in _innermost(assembly)]


def tile_loops(assembly: str) -> list[Loop]:
    """Every loop, without those inside it: what runs once a round.

    A reload of what was put on the stack before all loops of the function is none of its spills: it stands for a load
    of the same constant.
    """
    found: list[Loop] = []
    for kernel, lines in _functions(assembly):
        spans = _spans(lines)
        inside = [line for i, line in enumerate(lines) if any(begin <= i <= end for begin, end in spans)]
        written = {match for line in inside if _STORED.search(line) for match in _SLOT.findall(line)}
        for begin, end in spans:
            inner = [(b, e) for b, e in spans if begin <= b and e <= end and (b, e) != (begin, end)]
            own = [lines[i] for i in range(begin, end + 1) if not any(b <= i <= e for b, e in inner)]
            kept = [line for line in own if _STORED.search(line) or written.intersection(_SLOT.findall(line))]
            found.append(replace(_loop(kernel, own), spills=_loop(kernel, kept).spills))
    return found


def _functions(assembly: str) -> Iterator[tuple[str, list[str]]]:
    """The lines of each function of a kernel, by the kernel's name."""
    kernel, body = "", []
    for line in assembly.splitlines():
        if match := _FUNCTION.match(line):
            if kernel:
                yield kernel, body
            kernel, body = match[1] or match[2], []
        body.append(line)
    if kernel:
        yield kernel, body


def _innermost(assembly: str) -> Iterator[tuple[Loop, list[str]]]:
    """Loops that hold no other, and their lines; one for each branch back."""
    for kernel, lines in _functions(assembly):
        spans = _spans(lines)
        for begin, ends in _branches_back(lines).items():
            if not any(begin < b and e <= ends[-1] for b, e in spans):
                yield from ((_loop(kernel, lines[begin : end + 1]), lines[begin : end + 1]) for end in ends)


def _spans(lines: list[str]) -> list[tuple[int, int]]:
    """First and last line of each loop; several branches back to one label are one loop."""
    return sorted((begin, ends[-1]) for begin, ends in _branches_back(lines).items())


def _branches_back(lines: list[str]) -> dict[int, list[int]]:
    """The branches back to each label, by lines. A branch back is none where code from the label on never comes to it,
    as behind checks of arguments."""
    places = {match[1]: i for i, line in enumerate(lines) if (match := _LABEL.match(line))}
    follows, found = _follows(lines, places), {}
    for i, line in enumerate(lines):
        match = _BRANCH.match(line)
        if match and places.get(match[1], i) < i and _comes(follows, places[match[1]], i):
            found.setdefault(places[match[1]], []).append(i)
    return found


def _follows(lines: list[str], places: dict[str, int]) -> dict[int, list[int]]:
    """The labels and branches that come next behind each label and branch, by their lines."""
    stops = [i for i, line in enumerate(lines) if _LABEL.match(line) or _BRANCH.match(line) or _END.match(line)]
    found: dict[int, list[int]] = {}
    for i, behind in zip(stops, [*stops[1:], None], strict=True):
        match = _BRANCH.match(lines[i])
        to = [places[match[1]]] if match and match[1] in places else []
        through = behind is not None and not _END.match(lines[i])
        found[i] = [*to, *([behind] if through else [])]
    return found


def _comes(follows: dict[int, list[int]], begin: int, end: int) -> bool:
    """Whether code from a label on comes to a branch."""
    seen, ahead = {begin}, [begin]
    while ahead:
        for place in follows[ahead.pop()]:
            if place not in seen:
                seen.add(place)
                ahead.append(place)
    return end in seen


def _loop(kernel: str, lines: list[str]) -> Loop:
    body = [line for line in lines if _INSTRUCTION.match(line)]
    multiplies = sum(line.split()[0] in MULTIPLIES for line in body)
    return Loop(kernel, len(body), multiplies, sum(bool(_VECTOR_ON_STACK.search(line)) for line in body))
