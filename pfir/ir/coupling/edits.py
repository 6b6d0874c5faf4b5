"""What must be rewritten in a node when the axes it touches lose positions, as data that survives cloning the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fill:
    """An entry of a literal that becomes `share` of the number of positions in [low, high) that `site` keeps."""

    index: int
    site: tuple[str, int]
    low: int
    high: int
    per: int = 1


@dataclass(frozen=True)
class Literal:
    """A vector of numbers in an input or attribute of a node (sizes, starts, pads); changed entries are filled anew.

    Args:
        node: The first output of the node.
        place: Input index, or attribute name.
        values: The vector as analysed; None stands for an entry known only at run time.
        fills: Which entries follow which widths.
        scalar: Whether the attribute is one integer rather than a list.
        drop: An attribute that the literal replaces.
        also: Further axes whose change calls for the literal to be written down.
    """

    node: str
    place: int | str
    values: tuple[int | None, ...]
    fills: tuple[Fill, ...]
    scalar: bool = False
    drop: str = ""
    also: tuple[tuple[str, int], ...] = ()

    @property
    def sites(self) -> tuple[tuple[str, int], ...]:
        return (*(f.site for f in self.fills), *self.also)


@dataclass(frozen=True)
class Remap:
    """The literal indices of a Gather, made to point at what is kept of `source`; those of removed outputs go.

    Args:
        node: The first output of the node.
        place: Input index of the indices.
        indices: As analysed, never negative.
        source: The gathered axis.
        target: The output axis that the indices make; None if they are a scalar.
    """

    node: str
    place: int
    indices: np.ndarray
    source: tuple[str, int]
    target: tuple[str, int] | None

    @property
    def sites(self) -> tuple[tuple[str, int], ...]:
        return (self.source,)


@dataclass(frozen=True)
class Freeze:
    """A Shape node that goes on to answer with the sizes from before the removal; entries that are None stay dynamic.

    What follows from a size (a scale of attention, a literal elsewhere) must not move when channels go: the law is that
    the pruned net equals the masked one, whose shapes are the old ones.
    """

    node: str
    values: tuple[int | None, ...]
    sites: tuple[tuple[str, int], ...]


Edit = Literal | Remap | Freeze
