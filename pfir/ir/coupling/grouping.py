"""From labels to groups: tied labels are one channel, and channels that run through the same axes are one group."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from pfir.ir.coupling.components import components
from pfir.ir.coupling.groups import Coupling, Group, Member, Pin, Slice
from pfir.ir.coupling.trace import Trace, Use

_MOST_PINS = 8


@dataclass(frozen=True)
class _Places:
    """Where every labelled position is (index into `sites`, place on the axis), and its channel (root label)."""

    sites: list[tuple[str, int]]
    sizes: list[int]
    site: np.ndarray
    place: np.ndarray
    root: np.ndarray


@dataclass(frozen=True)
class _Found:
    """A group in the making: where it comes in the graph, who makes it, and whether weights make or read it."""

    order: int
    maker: str
    group: Group
    weighted: bool


def grouped(trace: Trace, only: tuple[str, ...] = ()) -> Coupling:
    """The coupling that a trace amounts to; with `only`, groups that none of these nodes makes are pinned."""
    root = _roots(trace)
    places = _places(trace, root)
    if not places.sites:
        return Coupling(())
    kind = _kinds(trace, places, root)
    members, uses, pins = _members(trace, places, kind), _uses(trace, root, kind), _pins(trace, root, kind)
    found = [_found(trace, members[k], uses.get(k, []), pins.get(k, [])) for k in sorted(members)]
    found = sorted((f for f in found if f is not None), key=lambda f: (f.order, f.maker))
    groups = _named([replace(f, group=_settle(trace, f, only)) for f in found])
    return Coupling(groups, (), dict(zip(places.sites, places.sizes, strict=True)), tuple(trace.edits), trace.split)


def _roots(trace: Trace) -> np.ndarray:
    if not trace.ties:
        return np.arange(trace.count)
    a = np.concatenate([t[0].ravel() for t in trace.ties])
    b = np.concatenate([t[1].ravel() for t in trace.ties])
    return components(trace.count, a, b)


def _places(trace: Trace, root: np.ndarray) -> _Places:
    axes = [((name, axis), labels) for name, found in trace.axes.items() for axis, labels in enumerate(found)]
    axes = [(site, labels) for site, labels in axes if labels is not None]
    sizes = [labels.size for _, labels in axes]
    if not axes:
        return _Places([], [], *(np.zeros(0, np.int64),) * 3)
    return _Places(
        [site for site, _ in axes],
        sizes,
        np.repeat(np.arange(len(axes)), sizes),
        np.concatenate([np.arange(n) for n in sizes]),
        root[np.concatenate([labels for _, labels in axes])],
    )


def _kinds(trace: Trace, places: _Places, root: np.ndarray) -> np.ndarray:
    """A number for each label, the same for channels that run through the same sites, equally often, pinned or not."""
    # The sum of one random word a site tells multisets of sites apart, but for a chance of 2^-64.
    words = np.random.default_rng(0).integers(1, 1 << 63, len(places.sites) + 1, dtype=np.uint64)
    sums = np.zeros(root.size, np.uint64)
    np.add.at(sums, places.root, words[places.site])
    pinned = np.zeros(root.size, bool)
    for labels, _ in trace.pins:
        pinned[root[labels]] = True
    sums[pinned] ^= words[-1]
    return np.unique(sums, return_inverse=True)[1][root]


def _members(trace: Trace, places: _Places, kind: np.ndarray) -> dict[int, list[Member]]:
    kinds = kind[places.root]
    # Sorted so, the positions of one kind at one site are a run, channel by channel: as many to each, of one kind.
    order = np.lexsort((places.place, places.root, places.site, kinds))
    ends = np.flatnonzero(np.diff(kinds[order]) | np.diff(places.site[order])) + 1
    members: dict[int, list[Member]] = {}
    for run in np.split(order, ends):
        tensor, axis = places.sites[places.site[run[0]]]
        size = np.unique(places.root[run]).size
        positions = places.place[run].reshape(size, -1)
        members.setdefault(int(kinds[run[0]]), []).append(Member(tensor, axis, positions, tensor in trace.constants))
    return members


def _uses(trace: Trace, root: np.ndarray, kind: np.ndarray) -> dict[int, list[tuple[Use, np.ndarray]]]:
    """The uses of the channels of each group, with [size, per] positions."""
    found: dict[int, list[tuple[Use, np.ndarray]]] = {}
    for use in trace.uses:
        roots = root[use.labels]
        kinds = kind[roots]
        for k in np.unique(kinds):
            at = np.flatnonzero(kinds == k)
            at = at[np.argsort(roots[at], kind="stable")]  # channel by channel, as many positions to each
            found.setdefault(int(k), []).append((use, at.reshape(np.unique(roots[at]).size, -1)))
    return found


def _pins(trace: Trace, root: np.ndarray, kind: np.ndarray) -> dict[int, list[Pin]]:
    found: dict[int, list[Pin]] = {}
    for labels, pin in trace.pins:
        for k in np.unique(kind[root[labels]]):
            pins = found.setdefault(int(k), [])
            if pin not in pins and len(pins) < _MOST_PINS:
                pins.append(pin)
    return found


def _found(trace: Trace, members: list[Member], uses: list, pins: list[Pin]) -> _Found | None:
    """The group; None if it lives in constants alone."""
    if all(m.constant for m in members):
        return None
    made = [(u.order, u.node) for u, _ in uses if not u.consumes and u.role == "weight"]
    order, maker = min(made or [trace.made_by[m.tensor] for m in members if m.tensor in trace.made_by])
    producers = dict.fromkeys(name for _, name in sorted(made))
    consumers = dict.fromkeys(u.node for u, _ in uses if u.consumes)
    producing = tuple(_slice(u, at) for u, at in uses if not u.consumes and u.tensor)
    consuming = tuple(_slice(u, at) for u, at in uses if u.consumes and u.tensor)
    size = members[0].positions.shape[0]
    made_and_used = (tuple(producers), tuple(consumers), _shared(producing), _shared(consuming))
    group = Group(maker, size, tuple(members), tuple(pins), *made_and_used)
    return _Found(order, maker, group, any(u.constant for u, _ in uses))


def _slice(use: Use, positions: np.ndarray) -> Slice:
    return Slice(use.node, use.op, use.tensor, use.axis, positions, use.role, inner=use.inner)


def _shared(slices: tuple[Slice, ...]) -> tuple[Slice, ...]:
    """Each slice with the other axes of its tensor that the same group runs along."""
    axes: dict[str, set[int]] = {}
    for s in slices:
        axes.setdefault(s.tensor, set()).add(s.axis)
    return tuple(replace(s, shared_axes=tuple(sorted(axes[s.tensor] - {s.axis}))) for s in slices)


def _settle(trace: Trace, found: _Found, only: tuple[str, ...]) -> Group:
    """The group with the pins that follow from its size, its weights and the request."""
    group = found.group
    if group.pins:
        return group
    makers = {trace.made_by[m.tensor][1] for m in group.members if m.tensor in trace.made_by}
    if group.size == 1:
        return replace(group, pins=(Pin(found.maker, "a single channel stays"),))
    if not found.weighted:
        return replace(group, pins=(Pin(found.maker, "no weights make or take these positions"),))
    if only and not makers & set(only):
        return replace(group, pins=(Pin(found.maker, "not among the nodes asked for"),))
    return group


def _named(found: list[_Found]) -> tuple[Group, ...]:
    """Groups under the names of their first producers; free ones first where a node makes several."""
    totals: Counter[str] = Counter()
    result = []
    for f in found:
        totals[f.maker] += 1
        name = f.maker if totals[f.maker] == 1 else f"{f.maker}#{totals[f.maker]}"
        result.append(replace(f.group, name=name))
    return tuple(result)
