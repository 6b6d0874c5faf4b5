"""The coupling of a model after a removal, told from the coupling before it, so that groups stay what they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pfir.ir.coupling.channels import checked, widths
from pfir.ir.coupling.groups import Coupling, Group
from pfir.ir.coupling.removal import Cut


def narrowed(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> Coupling:
    """The same groups over what `remove_channels` leaves of the model: to look at it, not to remove more from it.

    Analysing the smaller model instead may tell other groups apart: names follow which nodes come first, and an axis of
    one channel broadcasts. Channel c of a narrowed group is the c-th of those that stay. How nodes are rewritten is
    known for the original alone, so `remove_channels` wants that one, and the union of all removals.

    Raises:
        UsageError: As `remove_channels`.
    """
    removed = checked(coupling, removed)
    places = _Places(coupling, removed)
    groups = tuple(_narrowed(g, removed.get(g.name, np.zeros(0, np.int64)), places) for g in coupling.groups)
    return replace(coupling, groups=groups, sizes={**coupling.sizes, **widths(coupling, removed)}, edits=())


def still_there(size: int, removed: np.ndarray) -> np.ndarray:
    """The channels that stay, sorted: what the channels of the narrowed group were called before."""
    return np.setdiff1d(np.arange(size), removed)


class _Places:
    """Where positions of an axis lie after the removal."""

    def __init__(self, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> None:
        cut = Cut(coupling, removed).by_tensor()
        self._now = {(t, axis): np.cumsum(mask) - 1 for t, axes in cut.items() for axis, mask in axes}

    def of(self, tensor: str, axis: int, positions: np.ndarray) -> np.ndarray:
        now = self._now.get((tensor, axis))
        return positions if now is None else now[positions]


def _narrowed(group: Group, gone: np.ndarray, places: _Places) -> Group:
    rows = still_there(group.size, gone)

    def moved(part):
        return replace(part, positions=places.of(part.tensor, part.axis, part.positions[rows]))

    return replace(
        group,
        size=len(rows),
        members=tuple(map(moved, group.members)),
        producing=tuple(map(moved, group.producing)),
        consuming=tuple(map(moved, group.consuming)),
    )
