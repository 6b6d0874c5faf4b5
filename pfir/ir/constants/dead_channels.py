"""Channels that cannot influence any output: nothing reads them, or what is read is a constant that can be folded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.ir.constants.bias_absorption import Absorber, absorber
from pfir.ir.constants.constancy import Constancy
from pfir.ir.constants.fold import constants_to_initializers
from pfir.ir.coupling.analysis import follow, ordered
from pfir.ir.coupling.bodies import every_graph
from pfir.ir.coupling.components import components
from pfir.ir.coupling.groups import Coupling, Group
from pfir.ir.coupling.trace import Trace, Use, node_key
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.ir.weights import every_constant, meant


@dataclass(frozen=True)
class Dead:
    """What may go without a trace.

    Args:
        removed: Group name to sorted channel indices; at least one channel of a group stays.
        shifts: First output of a consumer to what must be added to its bias once the channels are gone, [O].
    """

    removed: dict[str, np.ndarray]
    shifts: dict[str, np.ndarray]


def find_dead(model: Model, coupling: Coupling) -> Dead:
    """The dead channels of a model's free groups; the model is not changed.

    A channel is dead if no chain of non-zero weights leads from it to anything that must stay, or if its value at every
    consumer is a constant that the consumer's bias can take over exactly.
    """
    shaped = model.clone()
    for graph in every_graph(shaped.graph):
        constants_to_initializers(graph)
    infer_shapes(shaped)
    trace = follow(shaped, coupling.split)
    root = components(trace.count, *_edges(trace))
    free = {g.name: _roots_of(trace, root, g) for g in coupling.free()}
    nonzero = _nonzero(shaped)
    live = _live(trace, root, nonzero, free)
    constancy = Constancy(trace, root)
    for node in ordered(shaped.graph):
        constancy.visit(node)
    absorbers = _absorbers(trace, root, constancy, nonzero)
    foldable = _foldable(root, absorbers)
    while True:  # Each time fewer: without those that some bias cannot hold.
        removed = {name: _spared(~live[roots] | foldable[roots]) for name, roots in free.items()}
        removed = {name: np.flatnonzero(gone) for name, gone in removed.items() if gone.any()}
        chosen = _chosen(free, removed, root.size)
        beyond = _beyond(absorbers, chosen & live)
        if not beyond.size:
            return Dead(removed, _shifts(trace, root, absorbers, chosen, live))
        foldable[beyond] = False


def _edges(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    empty = [np.zeros(0, np.int64)]
    return tuple(np.concatenate([t[k].ravel() for t in trace.ties] or empty) for k in (0, 1))


def _roots_of(trace: Trace, root: np.ndarray, group: Group) -> np.ndarray:
    member = group.members[0]
    return root[trace.labels(member.tensor, member.axis)[member.positions[:, 0]]]


def _spared(gone: np.ndarray) -> np.ndarray:
    """The dead channels but for one where all are dead: an axis without positions is no axis."""
    if gone.all():
        gone = gone.copy()
        gone[0] = False
    return gone


def _chosen(free: dict[str, np.ndarray], removed: dict[str, np.ndarray], size: int) -> np.ndarray:
    chosen = np.zeros(size, bool)
    for name, channels in removed.items():
        chosen[free[name][channels]] = True
    return chosen


def _live(trace: Trace, root: np.ndarray, nonzero: dict[str, np.ndarray], free: dict[str, np.ndarray]) -> np.ndarray:
    """Whether non-zero weights lead from a channel to what must stay, by root label."""
    live = np.ones(root.size, bool)
    for roots in free.values():
        live[roots] = False
    made: dict[tuple[int, str], list[Use]] = {}
    for use in trace.uses:
        if not use.consumes and use.role == "weight":
            made.setdefault((use.order, use.tensor), []).append(use)
    readers = [use for use in trace.uses if use.consumes]
    links = [
        link
        for use in readers
        for link in _links(root, nonzero.get(use.tensor), use, made.get((use.order, use.tensor), []), live)
    ]
    # From the last consumer to the first: what is live there reaches all before it in one round, loops aside.
    changed = True
    while changed:
        changed = False
        for reads, roots_in, roots_out in reversed(links):
            reached = np.unique(roots_in[(reads & live[roots_out][:, None]).any(0)])
            if not live[reached].all():
                live[reached] = changed = True
    return live


def _nonzero(model: Model) -> dict[str, np.ndarray]:
    """Every constant by name, those of bodies too, as which of its numbers are not zero, where that is known."""
    found = {name: meant(tensor) for name, tensor in every_constant(model).items()}
    return {name: values != 0 for name, values in found.items() if values is not None}


def _links(root: np.ndarray, nonzero: np.ndarray | None, use: Use, made: list[Use], live: np.ndarray) -> list[tuple]:
    """A consumer as (which of [out, in] are read, roots of the inputs, roots of the outputs).

    What no weight decides is live at once.
    """
    roots_in = root[use.labels]
    if nonzero is None:
        live[roots_in] = True
        return []
    made = [u for u in made if u.axis != use.axis]
    nonzero = np.moveaxis(nonzero, use.axis, -1)
    # Which outputs a weight feeds is told by the axis of the same constant that makes them, if there is just one.
    if len(made) != 1:
        live[roots_in[nonzero.reshape(-1, roots_in.size).any(0)]] = True
        return []
    place = made[0].axis - (made[0].axis > use.axis)
    rows = np.moveaxis(nonzero, place, 0)
    reads = rows.reshape(rows.shape[0], -1, roots_in.size).any(1)
    return [(reads, roots_in, root[made[0].labels])]


@dataclass(frozen=True)
class _Absorption:
    """A consumer whose bias may take over constants of the channels that it reads.

    Args:
        key: The consumer's first output.
        roots: [C] root labels of the channels.
        reads: [C] whether it may have weights for them that are not zero.
        values: [C] their constants, NaN where there is none.
        absorber: What its bias can take over; None if that is nothing.
    """

    key: str
    roots: np.ndarray
    reads: np.ndarray
    values: np.ndarray
    absorber: Absorber | None

    def taken(self, channels: np.ndarray) -> np.ndarray:
        """[C] the constants that it reads of these channels (by root label), zero for others."""
        return np.where(channels[self.roots] & self.reads & ~np.isnan(self.values), self.values, 0.0)


def _absorbers(
    trace: Trace, root: np.ndarray, constancy: Constancy, nonzero: dict[str, np.ndarray]
) -> list[_Absorption]:
    """Every consumer, with what it reads and what its bias can take over."""
    found = []
    for use in (u for u in trace.uses if u.consumes):
        node = trace.nodes[use.order]
        labels, values = trace.labels(*use.data), constancy.read(node, use.data)
        if labels is None or values is None:
            labels = use.labels if labels is None else labels
            values = np.full(labels.size, np.nan)
        roots = root[labels]
        reads = _weighed(root, nonzero.get(use.tensor), use)[roots]
        takes = absorber(node, use.data, trace.shapes) if (values[~np.isnan(values)] != 0).any() else None
        found.append(_Absorption(node_key(node), roots, reads, values, takes))
    return found


def _weighed(root: np.ndarray, nonzero: np.ndarray | None, use: Use) -> np.ndarray:
    """Whether a consumer has weights for a channel that are not zero, or are not known, by root label."""
    weighed = np.zeros(root.size, bool)
    reads = np.ones(use.labels.size, bool)
    if nonzero is not None:
        reads = np.moveaxis(nonzero, use.axis, 0).reshape(use.labels.size, -1).any(1)
    weighed[root[use.labels[reads]]] = True
    return weighed


def _foldable(root: np.ndarray, absorbers: list[_Absorption]) -> np.ndarray:
    """Whether every consumer can do without a channel, whose value is a constant there, by root label."""
    good, read = np.ones(root.size, bool), np.zeros(root.size, bool)
    for taking in absorbers:
        read[taking.roots] = True
        able = np.zeros(taking.values.size, bool) if taking.absorber is None else taking.absorber.able
        changes = np.isnan(taking.values) | ((taking.values != 0) & ~able)
        good[taking.roots[taking.reads & changes]] = False
    return good & read


def _beyond(absorbers: list[_Absorption], removed: np.ndarray) -> np.ndarray:
    """The root labels of channels that would go though the bias of a consumer cannot hold what stands for them."""
    beyond = [np.zeros(0, np.int64)]
    for taking in absorbers:
        taken = taking.taken(removed)
        if taken.any() and not taking.absorber.fits(taken):
            beyond.append(taking.roots[taken != 0])
    return np.concatenate(beyond)


def _shifts(trace: Trace, root: np.ndarray, absorbers: list[_Absorption], chosen: np.ndarray, live: np.ndarray) -> dict:
    """What the consumers' biases take over from removed channels that are read and not zero."""
    found: dict[str, np.ndarray] = {}
    for taking in absorbers:
        taken = taking.taken(chosen & live)
        if not taken.any():
            continue
        part = taking.absorber
        made = trace.labels(*part.made)
        stays = np.ones(len(part.sums) // part.directions, bool) if made is None else ~chosen[root[made]]
        found[taking.key] = found.get(taking.key, 0.0) + part.shift(taken, stays)
    return found
