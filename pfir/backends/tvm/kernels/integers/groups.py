"""Which neighbouring input values an instruction takes together: groups of four or eight bytes, brought by loads of up
to 16."""

from __future__ import annotations

from dataclasses import dataclass

TOGETHER = 4
"""Input values whose products one lane of a dot product adds up."""
_WIDEST = 16  # bytes of a load


@dataclass(frozen=True)
class Piece:
    """Input values that one load brings.

    Args:
        start: Of the first one, within its run.
        groups: Groups of them.
        skipped: Groups at the front that an earlier piece has whole.
        done: Values at the front of the next group that an earlier piece has, too; their weights are zeros here.
    """

    start: int
    groups: int
    skipped: int = 0
    done: int = 0


@dataclass(frozen=True)
class Cut:
    """A run of input values in loads: `whole` pieces of `groups` groups each, then perhaps a `last` one that begins
    early enough to end with the run."""

    groups: int
    whole: int
    last: Piece | None

    @property
    def count(self) -> int:
        """Groups that are multiplied."""
        return self.groups * self.whole + (self.last.groups - self.last.skipped if self.last else 0)

    def loads(self, at_once: int) -> list[tuple[int, int]]:
        """The groups of a load of so many whole pieces and how often it comes, then of what is left of them."""
        many, left = divmod(self.whole, at_once)
        return [(groups, count) for groups, count in ((self.groups * at_once, many), (self.groups, left)) if count]


def cut(length: int, together: int = TOGETHER) -> Cut:
    """The loads of a run of at least as many values as are taken `together`."""
    groups = _WIDEST // together
    while groups * together > length:
        groups //= 2
    values = groups * together
    whole, left = divmod(length, values)
    if not left:
        return Cut(groups, whole, None)
    return Cut(groups, whole, Piece(length - values, groups, groups - -(-left // together), -left % together))


def values_of(length: int, together: int = TOGETHER) -> list[tuple[int, ...]]:
    """The values of each group that a run multiplies, in order; -1 where another group has the value."""
    found = cut(length, together)
    rows = [tuple(range(together * i, together * (i + 1))) for i in range(found.groups * found.whole)]
    if found.last:
        first = found.last.start + together * found.last.skipped
        rest = list(range(first, length))
        rest[: found.last.done] = [-1] * found.last.done
        rows += [tuple(rest[i : i + together]) for i in range(0, len(rest), together)]
    return rows
