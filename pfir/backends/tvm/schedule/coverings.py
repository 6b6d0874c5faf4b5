"""All ways to cover output channels by blocks of at most two kinds, as arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from pfir.backends.tvm.schedule.blocks import Shape

# So many blocks of the first kind may be less than would fit.
_FEWER = 3


class Coverings(NamedTuple):
    """Arrays with one value a way: the index of the first kind's shape, how many blocks of it, and the same of a second
    kind, of which there may be none."""

    first: Any
    count: Any
    second: Any
    more: Any

    def prices(self, each: Any) -> Any:
        """What each way costs, from an array of what a block of each shape does."""
        return self.count * each[self.first] + self.more * each[self.second]

    def kinds(self, way: int) -> list[tuple[int, int]]:
        """The index of each kind's shape, and how many blocks of it there are."""
        numbers = (int(array[way]) for array in self)
        first, count, second, more = numbers
        return [(first, count), (second, more)] if more else [(first, count)]


@lru_cache(maxsize=1 << 12)
def coverings(channels: int, shapes: tuple[Shape, ...]) -> Coverings:
    """All ways to cover the channels."""
    import numpy as np

    lanes, singles = (np.array(column) for column in zip(*((sum(v), s) for v, s in shapes), strict=True))
    width, inner = lanes + singles, np.array([sum(vectors[:-1]) for vectors, _ in shapes])
    last, one = np.array([vectors[-1] for vectors, _ in shapes]), np.array([len(vectors) == 1 for vectors, _ in shapes])

    def fits(shape: Any, done: Any) -> Any:
        """Whether the block may come behind `done` channels: if too wide for what is left, it is the last, its last
        vector then overlaps the one before it, or is the only one of all."""
        left, alone = channels - done, (done == 0) & one[shape]
        narrow = (singles[shape] == 0) & (left > inner[shape]) & (alone | (channels >= last[shape]))
        return (width[shape] <= left) | narrow

    every = np.arange(len(shapes))
    first, fewer, second = np.meshgrid(every, np.arange(_FEWER, -1, -1), every, indexing="ij")
    count = -(-channels // width[first]) - fewer
    done = count * width[first]
    whole, more = done >= channels, -(-(channels - done) // width[second])
    alone = whole & (first == second) & fits(first, done - width[first])
    both = ~whole & (first != second) & fits(second, done + (more - 1) * width[second])
    chosen = (count > 0) & (alone | both)
    return Coverings(first[chosen], count[chosen], second[chosen], np.where(whole, 0, more)[chosen])
