"""Groups of channels that live or die together, as plain records: what the analysis finds and the removal reads."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from pfir.ir.coupling.edits import Edit

Site = tuple[str, int]
"""The name of a tensor and one of its axes, ONNX's order, never negative."""


@dataclass(frozen=True)
class Member:
    """One axis of one tensor that a group runs through.

    Args:
        tensor: The tensor's name.
        axis: The axis in ONNX's order, never negative.
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
        split: Which factor of a split axis carries the channels in this analysis (see `pfir.ir.coupling.trace.Trace`).
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
