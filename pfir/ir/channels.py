"""Channel coupling: which positions of which axes of which tensors live or die together, and which must stay."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pfir.ir.model import Model


@dataclass(frozen=True)
class Member:
    """One axis of one tensor that a group runs through.

    Args:
        tensor: Its name.
        axis: The axis, ONNX's order, never negative.
        positions: [size, per] int array: row c holds the positions of this axis that belong to channel c of the group.
    """

    tensor: str
    axis: int
    positions: np.ndarray


@dataclass(frozen=True)
class Pin:
    """Why channels must stay: the node that fixes them, and the reason in words."""

    node: str
    reason: str


@dataclass(frozen=True)
class Group:
    """Channels that run through the same axes.

    Channel c of the group is removed as a whole: all `positions[c]` of all members.

    Args:
        name: The first node, in topological order, that produces it.
        size: Its number of channels C.
        members: Where it runs, initializers and activations alike.
        pins: Why nothing may be removed; empty if it may.
        producers: Nodes whose output channels these are (convolutions, dense layers).
        consumers: Nodes that contract over these channels.
    """

    name: str
    size: int
    members: tuple[Member, ...]
    pins: tuple[Pin, ...] = ()
    producers: tuple[str, ...] = ()
    consumers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Coupling:
    """All groups of a model in topological order; a channel belongs to one group at most."""

    groups: tuple[Group, ...]
    notes: tuple[str, ...] = field(default=())

    def free(self) -> tuple[Group, ...]:
        """The groups from which channels may be removed."""
        return tuple(g for g in self.groups if not g.pins)

    def group(self, name: str) -> Group:
        return next(g for g in self.groups if g.name == name)


def channel_groups(model: Model, keep: tuple[str, ...] = (), only: tuple[str, ...] = ()) -> Coupling:
    """The coupling of a model; the model is not changed."""
    raise NotImplementedError


def remove_channels(model: Model, coupling: Coupling, removed: dict[str, np.ndarray]) -> None:
    """Remove channels in place: group name to the sorted int array of channel indices to remove."""
    raise NotImplementedError
