"""Channels that cannot influence any output: nothing reads them, or what is read is a constant that can be folded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.ir.channels import Coupling, Group
from pfir.ir.constancy import Constancy
from pfir.ir.model import Model
from pfir.ir.rules.analysis import follow, ordered
from pfir.ir.rules.components import components
from pfir.ir.rules.trace import Trace, Use, node_key
from pfir.ir.shapes import infer_shapes
from pfir.ir.sums import contraction
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
    infer_shapes(shaped)
    trace = follow(shaped, coupling.split)
    root = components(trace.count, *_edges(trace))
    free = {g.name: _roots_of(trace, root, g) for g in coupling.free()}
    live = _live(trace, root, shaped, free)
    constancy = Constancy(trace, root)
    for node in ordered(shaped.graph):
        constancy.visit(node)
    foldable = _foldable(trace, root, constancy)
    removed = {name: _spared(~live[roots] | foldable[roots]) for name, roots in free.items()}
    removed = {name: np.flatnonzero(gone) for name, gone in removed.items() if gone.any()}
    return Dead(removed, _shifts(trace, root, constancy, live, _chosen(free, removed, root.size)))


def _edges(trace: Trace) -> tuple[np.ndarray, np.ndarray]:
    empty = [np.zeros(0, np.int64)]
    return tuple(np.concatenate([t[k].ravel() for t in trace.ties] or empty) for k in (0, 1))


def _roots_of(trace: Trace, root: np.ndarray, group: Group) -> np.ndarray:
    member = group.members[0]
    return root[trace.labels(member.tensor, member.axis)[member.positions[:, 0]]]


def _spared(gone: np.ndarray) -> np.ndarray:
    """One channel stays, dead or not: an axis without positions is no axis."""
    if gone.all():
        gone = gone.copy()
        gone[0] = False
    return gone


def _chosen(free: dict[str, np.ndarray], removed: dict[str, np.ndarray], size: int) -> np.ndarray:
    chosen = np.zeros(size, bool)
    for name, channels in removed.items():
        chosen[free[name][channels]] = True
    return chosen


def _live(trace: Trace, root: np.ndarray, model: Model, free: dict[str, np.ndarray]) -> np.ndarray:
    """By root label: whether non-zero weights lead from the channel to what must stay."""
    live = np.ones(root.size, bool)
    for roots in free.values():
        live[roots] = False
    read = _read(model)
    made: dict[tuple[int, str], list[Use]] = {}
    for use in trace.uses:
        if not use.consumes and use.role == "weight":
            made.setdefault((use.order, use.tensor), []).append(use)
    readers = [use for use in trace.uses if use.consumes]
    links = [
        link for use in readers
        for link in _links(root, read.get(use.tensor), use, made.get((use.order, use.tensor), []), live)
    ]  # fmt: skip
    changed = True
    while changed:
        changed = False
        for reads, roots_in, roots_out in reversed(links):
            reached = np.unique(roots_in[(reads & live[roots_out][:, None]).any(0)])
            if not live[reached].all():
                live[reached] = changed = True
    return live


def _read(model: Model) -> dict[str, np.ndarray]:
    """Every constant by name, those of bodies too, as which of its numbers are not zero, where that is known."""
    found = {name: meant(tensor) for name, tensor in every_constant(model).items()}
    return {name: values != 0 for name, values in found.items() if values is not None}


def _links(root: np.ndarray, nonzero: np.ndarray | None, use: Use, made: list[Use], live: np.ndarray) -> list[tuple]:
    """A consumer as ([out, in] whether read, in roots, out roots); what no weight decides is live at once."""
    roots_in = root[use.labels]
    if nonzero is None:
        live[roots_in] = True
        return []
    made = [u for u in made if u.axis != use.axis]
    nonzero = np.moveaxis(nonzero, use.axis, -1)
    if len(made) != 1:
        live[roots_in[nonzero.reshape(-1, roots_in.size).any(0)]] = True
        return []
    place = made[0].axis - (made[0].axis > use.axis)
    rows = np.moveaxis(nonzero, place, 0)
    reads = rows.reshape(rows.shape[0], -1, roots_in.size).any(1)
    return [(reads, roots_in, root[made[0].labels])]


def _foldable(trace: Trace, root: np.ndarray, constancy: Constancy) -> np.ndarray:
    """By root label: whether every consumer can do without it, its value being a constant there."""
    good = np.ones(root.size, bool)
    read = np.zeros(root.size, bool)
    for use in (u for u in trace.uses if u.consumes):
        labels, values = trace.labels(*use.data), constancy.read(trace.nodes[use.order], use.data)
        roots = root[use.labels if labels is None else labels]
        read[roots] = True
        if labels is None or values is None:
            good[roots] = False
        else:
            good[roots[np.isnan(values) | ((values != 0) & (not _takes_shift(trace, use)))]] = False
    return good & read


def _takes_shift(trace: Trace, use: Use) -> bool:
    node = trace.nodes[use.order]
    found = contraction(node, trace.shapes)
    silent = node.attrs.get("beta", 1.0) == 0  # A Gemm that takes nothing of its bias.
    return found is not None and found.uniform and not silent and node.inputs[0].name == use.data[0]


def _shifts(trace: Trace, root, constancy: Constancy, live: np.ndarray, chosen: np.ndarray) -> dict:
    """What the consumers' biases take over from removed channels that are read and not zero."""
    found = {}
    for use in (u for u in trace.uses if u.consumes):
        labels, values = trace.labels(*use.data), constancy.read(trace.nodes[use.order], use.data)
        if labels is None or values is None:
            continue
        roots = root[labels]
        taken = np.where(chosen[roots] & live[roots] & ~np.isnan(values), values, 0.0)
        if taken.any():
            node = trace.nodes[use.order]
            part = contraction(node, trace.shapes)
            made = trace.labels(node.outputs[0].name, part.out_axis)
            stays = np.ones(len(part.sums), bool) if made is None else ~chosen[root[made]]
            found[node_key(node)] = (part.sums @ taken)[stays]
    return found
