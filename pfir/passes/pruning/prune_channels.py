"""Remove whole channels, group by coupled group, so that the network gets narrower and stays dense."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import ClassVar

import numpy as np

from pfir.errors import Infeasible, UsageError
from pfir.ir.checking.verify import check_finite
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups, remove_channels
from pfir.ir.coupling.groups import Coupling, Group
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.passes.base import Change, Context, Pass
from pfir.passes.pruning.criteria import CRITERIA, scores, scores_where_judged
from pfir.passes.pruning.discrimination import fine_tune_stage, groups_by_stage
from pfir.passes.pruning.moments import Statistics, collect
from pfir.passes.pruning.reconstruct import reconstruct
from pfir.passes.pruning.remainder import Remainder
from pfir.space import Parameter, Space

HIGHEST_RATIO = 0.9
RATIO = "ratio:"
"""Names of parameters to search: this and the name of a group."""
"""The most that a search may take from one group: beyond it layers collapse before they get faster."""


@dataclass(frozen=True)
class PruneChannels(Pass):
    """Remove the channels that matter least, group by coupled group.

    Rewrite of a group of C channels, of which K stay::

        W1 [C, A, *k]   b1 [C]   W2 [B, C, *k]
            ->
        W1 [K, A, *k]   b1 [K]   W2 [B, K, *k]

    Graph inputs and outputs keep their shapes; the outputs change, so fine-tune after.

    Args:
        ratio: Share of channels to remove from every group that `ratios` does not name, 0 <= ratio < 1.
        macs: Share of the multiply-accumulates that may stay, 0 < macs <= 1: all channels are ranked together, and the
            least important go until it is met. Not beside the other two.
        ratios: Share to remove by group name, at most 1, which is for the groups of a residual branch: if all of them
            are named so, the branch goes, and what it gave on average is added to the shortcut (with `reconstruct`).
        criterion: How channels are ranked; a name in `pfir.passes.pruning.criteria.CRITERIA`.
        reconstruct: Whether the consumers make up for what is gone, by least squares on the calibration data.
        align: K is a multiple of this many channels, rounded up, where the group is wide enough: 4 fills one float32
            NEON register. Never more is removed than asked.
        steps: In how many equal parts the channels go, steps >= 1: scores and statistics are taken anew, on what is
            left, before each. 1 is one-shot. With `reconstruct`, the layers that read what went are fitted after each,
            in turn, to what the original gave there: two runs over the calibration data for every such layer.
        group_wise: Whether within a step the groups go one after the other, in topological order, each by scores and
            statistics taken on what is left by then. It costs a run over the calibration data for every group, and
            with `reconstruct` the same fits as `steps`. By criterion dcp they go stage by stage, the net being trained
            for a few steps before each where the caller can train: `pfir opt` does.
        within_heads: Whether all heads of an attention get narrower, rather than some heads go.

    Raises:
        UsageError: A field is out of its range, or `ratios` names no free group.
        FrontendError: A weight is NaN or infinite, so that nothing can be ranked by it.
        Infeasible: The model has no group that may be pruned, or `macs` is out of reach.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900, for the groups; ours
    also follows channels through Reshape, Split and Concat. Veit, Wilber, Belongie, "Residual Networks Behave Like
    Ensembles of Relatively Shallow Networks", NIPS 2016, arXiv:1605.06431, section 4.1, for branches. He, Zhang, Sun,
    "Channel Pruning for Accelerating Very Deep Neural Networks", ICCV 2017, arXiv:1707.06168, section 3.2, for
    going group by group with inputs of what is left and outputs of the original (see `refit`); Molchanov et al., ICLR
    2017, arXiv:1611.06440, section 2, for steps.
    """

    name: ClassVar[str] = "prune-channels"
    compresses: ClassVar[bool] = True

    ratio: float | None = None
    macs: float | None = None
    ratios: tuple[tuple[str, float], ...] = ()
    criterion: str = "magnitude"
    reconstruct: bool = False
    align: int = 1
    steps: int = 1
    group_wise: bool = False
    within_heads: bool = False

    def __post_init__(self) -> None:
        for label, value in (("ratio", self.ratio), *((f"the ratio of {n}", v) for n, v in self.ratios)):
            if value is not None and not 0 <= value < 1 and (label == "ratio" or value != 1):
                raise UsageError(f"{label} is {value}; it must be in [0, 1{')' if label == 'ratio' else ']'}")
        if self.macs is not None and not 0 < self.macs <= 1:
            raise UsageError(f"macs is {self.macs}; it must be in (0, 1]")
        if self.macs is not None and (self.ratio is not None or self.ratios):
            raise UsageError("macs ranks all channels together; give either macs or ratios")
        if self.criterion not in CRITERIA:
            raise UsageError(f"criterion is {self.criterion}; it must be one of {', '.join(CRITERIA)}")
        if self.align < 1:
            raise UsageError(f"align is {self.align}; it must be at least 1")
        if self.steps < 1:
            raise UsageError(f"steps is {self.steps}; it must be at least 1")
        if any(share == 1 for _, share in self.ratios) and (self.steps > 1 or self.group_wise):
            raise UsageError("a ratio of 1 removes a branch, which goes at once: give neither steps nor group_wise")

    @property
    def is_open(self) -> bool:
        return self.ratio is None and self.macs is None and not self.ratios

    def opened(self) -> PruneChannels:
        return replace(self, ratio=None, macs=None, ratios=())

    def space(self, model: Model, context: Context) -> Space:
        """One parameter `ratio:<group>` for each group that may lose channels, in [0, 0.9]."""
        return self.space_of(channel_groups(model, context.keep, context.only, self.within_heads))

    def space_of(self, coupling: Coupling) -> Space:
        """The space of a model of this coupling."""
        if not self.is_open:
            return Space()
        return Space(tuple(Parameter(RATIO + g.name, 0.0, HIGHEST_RATIO, 0.0) for g in coupling.free()))

    def with_parameters(self, parameters: Mapping[str, float]) -> PruneChannels:
        chosen = ((name.removeprefix(RATIO), ratio) for name, ratio in parameters.items() if ratio)
        return replace(self, ratios=tuple(chosen))

    def apply(self, model: Model, context: Context) -> Change:
        if self.is_open:
            raise UsageError("prune-channels needs one of the fields ratio, macs and ratios")
        check_finite(model)
        coupling = channel_groups(model, context.keep, context.only, self.within_heads)
        _demand_free(coupling)
        aim = self._aim(model, coupling, context)
        remainder = Remainder(model, coupling)
        for step in range(1, self.steps + 1):
            self._step(remainder, context, aim, step)
        return _report(coupling, remainder.finish())

    def _aim(self, model: Model, coupling: Coupling, context: Context) -> _Aim:
        if self.macs is not None:
            cost = ScalableKernels(model, channel_counts(coupling), context.input_shapes)
            _demand_reachable(cost, coupling.free(), self.macs, self.align)
            return _Aim(_macs(cost, coupling), {})
        named = by_group(model, coupling, self.ratios)
        demand_known(coupling, named)
        kept = {g.name: kept_channels(g, named.get(g.name, self.ratio or 0.0), self.align) for g in coupling.free()}
        return _Aim(0, {g.name: (g.size, kept[g.name]) for g in coupling.free()})

    def _step(self, remainder: Remainder, context: Context, aim: _Aim, step: int) -> None:
        model, coupling = remainder.now()
        statistics = collect(model, coupling, context) if self.reconstruct and not self.group_wise else None
        importance = scores(model, coupling, self.criterion, context, statistics)
        removed = self._chosen(model, coupling, importance, aim, step, context.input_shapes)
        if not self.group_wise:
            remainder.remove(removed, statistics)
            if self.reconstruct and self.steps > 1:
                remainder.fit(removed, context)
            return
        for stage, names in self._stages(model, coupling, removed):
            if self.criterion == "dcp" and context.train is not None:
                with remainder.rewriting() as (left, narrow):
                    fine_tune_stage(left, narrow, stage, context)
            for name in names:
                self._prune_group(remainder, context, name, len(removed[name]))

    def _stages(self, model: Model, coupling: Coupling, removed: Mapping) -> list[tuple[int, list[str]]]:
        """The groups to go through one after the other, divided by the heads of discrimination where it judges."""
        names = [g.name for g in coupling.free() if g.name in removed]
        return groups_by_stage(model, coupling, names) if self.criterion == "dcp" else [(0, names)]

    def _chosen(
        self,
        model: Model,
        coupling: Coupling,
        importance: Mapping[str, np.ndarray],
        aim: _Aim,
        step: int,
        shapes: Mapping[str, Sequence[int]],
    ) -> dict[str, np.ndarray]:
        if self.macs is not None:
            share, cost = self.macs, ScalableKernels(model, channel_counts(coupling), shapes)
            if self.steps > 1:  # Of the original's MACs; of those that this step finds it is another share.
                now = _macs(cost, coupling)
                share = min(1.0, (1 - (1 - self.macs) * step / self.steps) * aim.macs / now)
            return choose_by_macs(cost, coupling, importance, share, self.align)
        counts = {g.name: g.size - aim.width(g, step / self.steps) for g in coupling.free()}
        return {name: _least(importance[name], count) for name, count in counts.items() if count > 0}

    def _prune_group(self, remainder: Remainder, context: Context, name: str, count: int) -> None:
        model, coupling = remainder.now()
        alone = replace(coupling, groups=(coupling.group(name),))
        statistics = collect(model, alone, context) if self.reconstruct else None
        importance = scores_where_judged(model, alone, self.criterion, context, statistics)
        remainder.remove({name: _least(importance[name], count)}, statistics)
        if self.reconstruct:
            remainder.fit((name,), context)


@dataclass(frozen=True)
class _Aim:
    """What all steps together lead to: the MACs before the first, or group name to channels (before, after)."""

    macs: int
    widths: Mapping[str, tuple[int, int]]

    def width(self, group: Group, part: float) -> int:
        """How many channels stay when this part of the way is done."""
        before, after = self.widths[group.name]
        return before - int((before - after) * part + 1e-9)


def choose(
    coupling: Coupling, importance: Mapping[str, np.ndarray], ratios: Mapping[str, float], align: int = 1
) -> dict[str, np.ndarray]:
    """The channels to remove: group name to sorted indices; groups that lose none are left out.

    Args:
        importance: Group name to [size], higher matters more; of equals the first goes first.
        ratios: Share to remove by group name, in [0, 1); a group that is not named keeps all.
        align: How many channels stay is a multiple of this, rounded up; a group never grows for it.
    """
    counts = {g.name: g.size - kept_channels(g, ratios.get(g.name, 0.0), align) for g in coupling.free()}
    return {name: _least(importance[name], count) for name, count in counts.items() if count}


def kept_channels(group: Group, ratio: float, align: int = 1) -> int:
    """How many of a group's channels stay: at least one, at least the share 1 - ratio, a multiple of `align`.

    By a ratio of 1 none stays, which is for the groups of a branch.
    """
    if ratio == 1:
        return 0
    # A ratio such as 0.3 is a little less than it says: 10 * 0.3 must still be three.
    asked = group.size - int(group.size * ratio + 1e-9)
    return _aligned(asked, group.size, align)


def _aligned(kept: int, size: int, align: int) -> int:
    return min(size, -(-max(kept, 1) // align) * align)


def _least(importance: np.ndarray, count: int) -> np.ndarray:
    return np.sort(np.argsort(importance, kind="stable")[:count])


def choose_by_macs(
    cost: ScalableKernels, coupling: Coupling, importance: Mapping[str, np.ndarray], macs: float, align: int = 1
) -> dict[str, np.ndarray]:
    """The least important channels of all groups together, as few as bring the cost down to this share of the MACs.

    Raises:
        Infeasible: Even with one channel, or `align` of them, in each group the model costs more.
    """
    free = coupling.free()
    full = _macs(cost, coupling)
    _demand_reachable(cost, free, macs, align)
    order = _ranking(free, importance)

    def kept(count: int) -> dict[str, int]:
        lost = np.bincount(order[:count], minlength=len(free))
        return {g.name: _aligned(g.size - int(n), g.size, align) for g, n in zip(free, lost, strict=True)}

    low, high = 0, order.size
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if cost.macs_at(kept(middle)) <= macs * full else (middle + 1, high)
    counts = kept(low)
    removed = {g.name: _least(importance[g.name], g.size - counts[g.name]) for g in free}
    return {name: channels for name, channels in removed.items() if channels.size}


def _macs(cost: ScalableKernels, coupling: Coupling) -> int:
    return cost.macs_at({g.name: g.size for g in coupling.free()})


def _demand_reachable(cost: ScalableKernels, free: tuple[Group, ...], macs: float, align: int) -> None:
    full = cost.macs_at({g.name: g.size for g in free})
    least = cost.macs_at({g.name: _aligned(1, g.size, align) for g in free})
    if least > macs * full:
        raise Infeasible(f"macs is {macs}; this model's channels allow {least / full:.3g} to 1")


def _ranking(free: tuple[Group, ...], importance: Mapping[str, np.ndarray]) -> np.ndarray:
    """Group numbers in the order in which their channels go; the best of each group is not among them."""
    removable = [np.sort(importance[g.name])[:-1] for g in free]
    owner = np.repeat(np.arange(len(free)), [r.size for r in removable])
    return owner[np.argsort(np.concatenate(removable), kind="stable")]


def apply_removal(
    model: Model, coupling: Coupling, removed: Mapping[str, np.ndarray], statistics: Statistics | None = None
) -> None:
    """Remove channels in place, the consumers making up for them first where there are statistics."""
    if statistics is not None:
        reconstruct(model, coupling, removed, statistics)
    remove_channels(model, coupling, removed)


def _demand_free(coupling: Coupling) -> None:
    if coupling.free():
        return
    pins = [f"{p.reason} (node {p.node})" for g in coupling.groups for p in g.pins[:1]]
    reasons = "; ".join(dict.fromkeys(pins[:3])) or "no node makes channels out of weights"
    raise Infeasible(f"no channel of this model may be removed: {reasons}")


def by_group(model: Model, coupling: Coupling, ratios: tuple[tuple[str, float], ...]) -> dict[str, float]:
    """The ratios by the names that groups have here; each may have been called by that of its node in the file."""
    groups = {g.name for g in coupling.groups}
    found: dict[str, float] = {}
    for name, share in ratios:
        meant = [m for m in names_meant(model.graph, name) if m in groups]
        found.update(dict.fromkeys([name] if name in groups or not meant else meant, share))
    return found


def demand_known(coupling: Coupling, named: Mapping[str, float]) -> None:
    """Return only if every name is that of a group that may lose channels, all of them only with its branch.

    Raises:
        UsageError: One is not; says why, or which there are.
    """
    pinned = {g.name: g.pins for g in coupling.groups}
    free = [g.name for g in coupling.free()]
    for name in named:
        if pinned.get(name):
            pin = pinned[name][0]
            raise UsageError(f"group {name} must stay: {pin.reason} (node {pin.node})")
        if name not in pinned:
            close = get_close_matches(name, free, n=3, cutoff=0.4) or free[:5]
            raise UsageError(f"no group is called {name}; there are {', '.join(close)}")
    whole = {name for name, share in named.items() if share == 1}
    for name in sorted(whole.difference(*(branch.groups for branch in coupling.gone(whole)))):
        raise UsageError(_not_whole(coupling, name))


def _not_whole(coupling: Coupling, name: str) -> str:
    """Why a group cannot lose all its channels."""
    for branch in coupling.branches:
        if name in branch.groups:
            return f"the branch of group {name} goes only with all its groups: {', '.join(branch.groups)}"
    ways = [b.groups[0] for b in coupling.branches[:5]]
    others = f"; those of branches can, as {', '.join(ways)}" if ways else ""
    return f"group {name} cannot lose all its channels, since no shortcut leads past it{others}"


def _report(coupling: Coupling, removed: Mapping[str, np.ndarray]) -> Change:
    if not removed:
        return Change(False, ("no channel was removed: the groups are too small for these ratios",))
    gone, total = sum(c.size for c in removed.values()), sum(g.size for g in coupling.free())
    return Change(True, (f"{gone} of {total} channels removed, in {len(removed)} of {len(coupling.free())} groups",))
