"""Channel coupling: which positions of which axes of which tensors live or die together, and which must stay."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.errors import UsageError
from pfir.ir.coupling.analysis import analyse
from pfir.ir.coupling.groups import Count, Coupling, Group, Site
from pfir.ir.coupling.removal import remove
from pfir.ir.model import Model


def channel_groups(
    model: Model, keep: tuple[str, ...] = (), only: tuple[str, ...] = (), within_heads: bool = False
) -> Coupling:
    """The coupling of a model; the model is not changed.

    Args:
        model: Any valid model; what cannot be followed is pinned, with the node and the reason.
        keep: Nodes whose output channels must stay.
        only: If not empty, the only nodes whose output channels may be removed.
        within_heads: Whether the heads of attention lose positions, all heads the same ones, rather than heads going as
            a whole. A position of q goes with that of k, one of v with what the output layer reads of it.

    Raises:
        UsageError: `keep` or `only` names a node that the model lacks.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900, for the
    idea of groups; ours couples single positions rather than whole layers, so it follows Reshape, Split, Concat, Gather
    and Pad too.
    """
    return analyse(model, tuple(keep), tuple(only), within_heads)


def remove_channels(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> None:
    """Remove channels in place: group name to the int array of channel indices to remove.

    Where all groups of a branch lose all their channels, the branch goes, and its Add adds its last layer's bias.
    Arrays are replaced, never written into; the model may be a clone of the analysed one: tensors are meant by name.

    Raises:
        UsageError: A group is unknown or pinned, an index lies outside it, or nothing of it would be left though it is
            in no branch that goes.
    """
    remove(model, coupling, checked(coupling, removed))


def checked(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The removal as sorted unique indices without empty groups.

    Raises:
        UsageError: As `remove_channels`.
    """
    groups = {g.name: g for g in coupling.groups}
    result = {}
    for name, channels in removed.items():
        if name not in groups:
            raise UsageError(f"no group is called {name}; the groups are {', '.join(list(groups)[:20])}")
        indices = _indices(groups[name], channels)
        if indices.size:
            result[name] = indices
    _demand_branches(coupling, result)
    return result


def _demand_branches(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> None:
    """Return only if every group that is to lose all its channels goes with a branch."""
    whole = coupling.whole(removed)
    for name in sorted(whole.difference(*(branch.groups for branch in coupling.gone(whole)))):
        size = coupling.group(name).size
        raise UsageError(f"group {name}: all {size} channels were to be removed; at least one must stay")


def _indices(group: Group, channels: np.ndarray) -> np.ndarray:
    indices = np.unique(np.asarray(channels, dtype=np.int64))
    if not indices.size:
        return indices
    if group.pins:
        pin = group.pins[0]
        raise UsageError(f"group {group.name} must stay: {pin.reason} (node {pin.node})")
    if indices[0] < 0 or indices[-1] >= group.size:
        found = f"{indices[0]}..{indices[-1]} were given"
        raise UsageError(f"group {group.name} has channels 0 to {group.size - 1}; {found}")
    return indices


def channel_counts(coupling: Coupling) -> dict[Site, Count]:
    """Every axis' width as a sum over groups, so that costs can be computed without building a model."""
    parts: dict[Site, dict[str, int]] = {}
    fixed = dict(coupling.sizes)
    for group in coupling.free():
        for member in group.members:
            site = (member.tensor, member.axis)
            parts.setdefault(site, {})[group.name] = member.positions.shape[1]
            fixed[site] -= member.positions.size
    return {site: Count(fixed[site], per) for site, per in parts.items()}


def widths(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> dict[Site, int]:
    """The width that each axis would have after `remove_channels`; axes that keep theirs are left out."""
    changed: dict[Site, int] = {}
    for name, channels in checked(coupling, removed).items():
        for member in coupling.group(name).members:
            site = (member.tensor, member.axis)
            changed[site] = changed.get(site, coupling.sizes[site]) - member.positions.shape[1] * channels.size
    return changed
