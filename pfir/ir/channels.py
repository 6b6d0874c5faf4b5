"""Channel coupling: which positions of which axes of which tensors live or die together, and which must stay."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.rules.edits import Edit

Site = tuple[str, int]
"""The name of a tensor and one of its axes, ONNX's order, never negative."""


@dataclass(frozen=True)
class Member:
    """One axis of one tensor that a group runs through.

    Args:
        tensor: Its name.
        axis: The axis, ONNX's order, never negative.
        positions: [size, per] int array: row c holds the positions of this axis that belong to channel c of the group.
        constant: Whether the tensor is an initializer or computed from initializers alone (no activation).
    """

    tensor: str
    axis: int
    positions: np.ndarray
    constant: bool = False


@dataclass(frozen=True)
class Pin:
    """Why channels must stay: the node that fixes them, and the reason in words."""

    node: str
    reason: str


@dataclass(frozen=True)
class Slice:
    """Where a node keeps numbers of a group's channels in an initializer.

    Args:
        node: The node's name.
        op: Its operator.
        tensor: The initializer's name.
        axis: The axis of the initializer that the channels lie on.
        positions: [size, per] int array: row c holds the positions on that axis that belong to channel c.
        role: "weight", "bias", "scale", "shift", "mean", "variance" or "slope" for a producer; "weight" for a consumer.
        shared_axes: Other axes of the initializer on which the same group lies too (square recurrent weights).
        inner: Whether the node lies in a body of If, Loop or Scan: it is none of `Model.nodes`, and its name may be
            that of another one; `pfir.ir.weights.every_constant` has the initializer.
    """

    node: str
    op: str
    tensor: str
    axis: int
    positions: np.ndarray
    role: str
    shared_axes: tuple[int, ...] = ()
    inner: bool = False


@dataclass(frozen=True)
class Group:
    """Channels that run through the same axes.

    Channel c of the group is removed as a whole: all `positions[c]` of all members.

    Args:
        name: The first node, in topological order, that produces it; a second group of that node is called `node#2`.
        size: Its number of channels C.
        members: Where it runs, initializers and activations alike.
        pins: Why nothing may be removed; empty if it may.
        producers: Nodes whose output channels these are (convolutions, dense layers, embeddings).
        consumers: Nodes that contract over these channels.
        producing: Initializer slices that make these channels: weight rows, biases, normalisation scales.
        consuming: Initializer slices that contract over these channels.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    pins: tuple[Pin, ...] = ()
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()
    producing: tuple[Slice, ...] = ()
    consuming: tuple[Slice, ...] = ()


@dataclass(frozen=True)
class Branch:
    """A residual branch, which may go whole: a shortcut carries the rest of the network past it.

    Args:
        name: Its last layer, whose bias is what stays of it.
        add: The first output of the Add that joins it with the shortcut.
        place: Which operand of that Add it is.
        groups: The groups that run in it alone; it goes when all of their channels do.
    """

    name: str
    add: str
    place: int
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Coupling:
    """All groups of a model in topological order; a channel belongs to one group at most.

    Args:
        groups: The groups, free and pinned.
        notes: What a user may want to know about the analysis.
        sizes: The width of every axis that some group runs through.
        edits: What must be rewritten in nodes (sizes, indices, pads) when those axes lose positions.
        split: Which factor of a split axis carries the channels in this analysis (see `pfir.ir.rules.trace.Trace`).
        branches: What may go as a whole, in topological order.
    """

    groups: tuple[Group, ...]
    notes: tuple[str, ...] = field(default=())
    sizes: Mapping[Site, int] = field(default_factory=dict)
    edits: tuple[Edit, ...] = ()
    split: str = "auto"
    branches: tuple[Branch, ...] = ()

    def free(self) -> tuple[Group, ...]:
        """The groups from which channels may be removed."""
        return tuple(g for g in self.groups if not g.pins)

    def group(self, name: str) -> Group:
        return next(g for g in self.groups if g.name == name)

    def whole(self, removed: Mapping[str, np.ndarray]) -> set[str]:
        """The groups that lose all their channels."""
        sizes = {g.name: g.size for g in self.groups}
        return {name for name, channels in removed.items() if len(channels) == sizes[name]}

    def gone(self, whole: Collection[str]) -> tuple[Branch, ...]:
        """The branches that go when these groups lose all their channels."""
        return tuple(b for b in self.branches if set(whole).issuperset(b.groups))


@dataclass(frozen=True)
class Count:
    """The width of one axis as a sum: `fixed` positions, and `per_channel[g]` for every channel that group g keeps."""

    fixed: int
    per_channel: Mapping[str, int]

    def width(self, kept: Mapping[str, int]) -> int:
        """The axis' width when group g keeps `kept[g]` channels."""
        return self.fixed + sum(per * kept[name] for name, per in self.per_channel.items())


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
    from pfir.ir.rules.analysis import analyse

    return analyse(model, tuple(keep), tuple(only), within_heads)


def remove_channels(model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray]) -> None:
    """Remove channels in place: group name to the int array of channel indices to remove.

    Where all groups of a branch lose all their channels, the branch goes, and its Add adds its last layer's bias.
    Arrays are replaced, never written into; the model may be a clone of the analysed one: tensors are meant by name.

    Raises:
        UsageError: A group is unknown or pinned, an index lies outside it, or nothing of it would be left though it is
            in no branch that goes.
    """
    from pfir.ir.removal import remove

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


def producer_slices(model: Model, group: Group) -> tuple[Slice, ...]:  # noqa: ARG001 - whose slices is part of the call
    """The initializer slices that make a group's channels, first producers first.

    Row c of `positions` are channel c's positions: channel c's numbers are `take(array, positions[c], axis)`.
    A group of padded or constant channels has none; nor has one whose weights are computed or in Constant nodes.

    Args:
        model: The analysed model or a clone of it.
    """
    return group.producing


def consumer_slices(model: Model, group: Group) -> tuple[Slice, ...]:  # noqa: ARG001
    """The weight slices that contract over a group's channels, as `producer_slices`."""
    return group.consuming
