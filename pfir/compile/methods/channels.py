"""Channel pruning as a method: a ratio for each group of channels, and how many residual branches go whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import numpy as np

from pfir.artifact import Kernel
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.base import Change, Choice, Method, ModelCost, Parameters
from pfir.compile.methods.branch_ranking import BRANCHES, ranked_branches
from pfir.compile.methods.branch_reach import likely_branches
from pfir.compile.methods.sizing import Sizing
from pfir.compile.methods.warm_starts import warm_starts
from pfir.data.base import Dataset
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import Infeasible
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups, remove_channels
from pfir.ir.coupling.groups import Branch, Coupling, Group
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.pruning.moments import Statistics
from pfir.passes.pruning.prune_channels import (
    RATIO,
    PruneChannels,
    apply_removal,
    by_group,
    choose,
    choose_by_macs,
    demand_known,
    kept_channels,
)
from pfir.passes.pruning.refit import refit
from pfir.passes.spec import format_pass
from pfir.space import Parameter, Space

START = 0.3
"""The ratio at which a search begins."""


@dataclass(frozen=True)
class PrunedChannels(Choice):
    """Channels that go.

    Args:
        coupling: The groups of the model.
        removed: Group name to the channels that go, int64; groups that lose none are left out.
    """

    coupling: Coupling
    removed: Mapping[str, np.ndarray]

    @property
    def text(self) -> str:
        return pruning_text(self.changes)

    @property
    def changes(self) -> Mapping[str, Change]:
        """Group name to channels before and after, of every group that may lose some."""
        return {g.name: (g.size, g.size - len(self.removed.get(g.name, ()))) for g in self.coupling.free()}

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        return _pinned(self.coupling)

    def recipe(self) -> dict[str, object]:
        return {"removed": {g: [int(c) for c in channels] for g, channels in self.removed.items()}}


@dataclass(frozen=True)
class Untouched(Choice):
    """No channel goes, and none was looked at.

    Args:
        coupling: The groups of the model.
    """

    text: ClassVar[str] = ""

    coupling: Coupling

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        return _pinned(self.coupling)

    def recipe(self) -> dict[str, object]:
        return {"removed": {}}


@dataclass(frozen=True)
class PrunedCost(ModelCost):
    """The cost of a model of other widths, without building it.

    Args:
        method: Whose groups these are.
        widths: Group name to channels that stay.
    """

    method: ChannelPruning
    widths: Mapping[str, int]

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.method.scalable.at(self.widths)

    def latency_s(self, device: EstimateDevice) -> float:
        return device.estimate_widths(self.method.scalable, self.widths).seconds

    @property
    def macs(self) -> int:
        return self.method.scalable.macs_at(self.widths)

    @property
    def size_bytes(self) -> int:
        return self.method.scalable.size_bytes_at(self.widths)

    @property
    def key(self) -> tuple:
        return tuple(sorted(self.widths.items()))

    def model(self) -> Model:
        """The model without the last channels of each group: any of its channels cost the same."""
        model, groups = self.method.model.clone(), self.method.groups
        remove_channels(model, self.method.coupling, {n: np.arange(k, groups[n].size) for n, k in self.widths.items()})
        return model


@dataclass(frozen=True)
class ChannelPruning(Method):
    """Removes channels of one model, the least important of each group first.

    Args:
        model: Which is pruned; it is not changed.
        coupling: Its groups.
        scalable: Its costs as functions of its widths.
        pruning: The pass whose open fields are searched; with a ratio, ratios or a share of MACs it is fixed.
        importance: Group name to one score a channel, [size]; needed to choose and to build.
        statistics: Moments of the model's activations; needed to build.
        branches: Those that may go, the first first.
    """

    noun: ClassVar[str] = "pruning"
    fits: ClassVar[bool] = True

    model: Model
    coupling: Coupling
    scalable: ScalableKernels
    pruning: PruneChannels
    importance: Mapping[str, np.ndarray] = field(default_factory=dict)
    statistics: Statistics | None = None
    branches: tuple[Branch, ...] = ()

    @cached_property
    def groups(self) -> dict[str, Group]:
        """The groups that may lose channels, by name."""
        return {g.name: g for g in self.coupling.free()}

    @property
    def align(self) -> int:
        """What widths are multiples of."""
        return self.pruning.align

    @property
    def sizes(self) -> dict[str, int]:
        """Channels of each group that may lose some."""
        return {n: g.size for n, g in self.groups.items()}

    def space(self) -> Space:
        """The space of the pass, started at `START`, and where there are branches how many of them go."""
        ratios = self.pruning.space_of(self.coupling).parameters
        if not ratios:
            return Space()
        most = (Parameter(BRANCHES, 0.0, float(len(self.branches)), 0.0, held=True),) if self.branches else ()
        return Space(tuple(replace(p, default=START) for p in ratios) + most)

    def snap(self, parameters: Parameters) -> dict[str, float]:
        """The ratios that will really be built; those of groups that go whole are as if they did not."""
        if not self.pruning.is_open:
            return {}
        ratios = {RATIO + g: 1 - k / self.groups[g].size for g, k in self._widths(parameters).items()}
        return ratios | ({BRANCHES: float(round(parameters[BRANCHES]))} if self.branches else {})

    def warm_starts(self) -> tuple[dict[str, float], ...]:
        return warm_starts(self.groups, self.branches, self.importance)

    @property
    def summary(self) -> str:
        return f"{len(self.groups)} of {len(self.coupling.groups)} groups of channels may be pruned"

    def whole(self) -> ModelCost:
        return PrunedCost(self, self.sizes)

    def cost(self, before: ModelCost, parameters: Parameters) -> ModelCost:
        """The cost at the widths of these parameters; channels are counted on the model as it was, so none before."""
        del before
        return PrunedCost(self, self.kept(parameters))

    def kept(self, parameters: Parameters) -> dict[str, int]:
        """Channels that each group keeps: never more removed than asked, a multiple of `align` where there is one."""
        if not self.pruning.is_open:
            return {n: self.sizes[n] - len(self._fixed.get(n, ())) for n in self.groups}
        return self._widths(parameters) | dict.fromkeys(self.gone(parameters), 0)

    def ratios(self, parameters: Parameters) -> dict[str, float]:
        """Share removed by group name."""
        return {n: parameters[RATIO + n] for n in self.groups}

    def gone(self, parameters: Parameters) -> tuple[str, ...]:
        """The groups that go whole, with their branches."""
        count = round(parameters.get(BRANCHES, 0.0))
        return tuple(dict.fromkeys(name for branch in self.branches[:count] for name in branch.groups))

    def choose(self, parameters: Parameters, before: ModelCost) -> PrunedChannels:
        del before
        return PrunedChannels(self.coupling, self.removed(parameters))

    def removed(self, parameters: Parameters) -> dict[str, np.ndarray]:
        """Group name to the channels that go."""
        if not self.pruning.is_open:
            return dict(self._fixed)
        whole = {name: np.arange(self.groups[name].size) for name in self.gone(parameters)}
        return choose(self.coupling, self.importance, self.ratios(parameters), self.align) | whole

    def read(self, parts: Mapping[str, object]) -> PrunedChannels:
        removed = {g: np.array(channels, np.int64) for g, channels in dict(parts["removed"]).items()}
        return PrunedChannels(self.coupling, removed)

    def build(self, model: Model, choice: Choice) -> Model:
        apply_removal(model, self.coupling, choice.removed, self.statistics)
        if choice.text:
            model.record(choice.text)
        return model

    def fit(self, model: Model, choice: Choice, context: Context, original: Model) -> None:
        refit(model, self.model, self.coupling, choice.removed, context, original=original)

    def ranked(self, data: Dataset, deadline: Deadline = NEVER) -> ChannelPruning:
        """The method with the branches that may go; to rank them costs a search a few dozen trials."""
        return replace(self, branches=ranked_branches(self.model, self.coupling, self._without, data, deadline))

    def priced(self, sizing: Sizing) -> ChannelPruning:
        return replace(self, scalable=scalable_kernels(self.model, self.coupling, sizing))

    def bounded(self, device: EstimateDevice, costly_first: bool) -> ChannelPruning:
        return replace(self, branches=likely_branches(self.scalable, self.coupling.branches, device, costly_first))

    @property
    def fingerprint(self) -> tuple:
        return (sorted(self.sizes.items()), [b.name for b in self.branches])

    @cached_property
    def _fixed(self) -> Mapping[str, np.ndarray]:
        """What the ratios or the share of MACs of the pass ask for.

        Raises:
            UsageError: A group is named that is not there or must stay.
            Infeasible: The share of MACs cannot be reached.
        """
        pruning = self.pruning
        if pruning.macs is not None:
            return choose_by_macs(self.scalable, self.coupling, self.importance, pruning.macs, self.align)
        named = by_group(self.model, self.coupling, pruning.ratios)
        demand_known(self.coupling, named)
        ratios = {name: named.get(name, pruning.ratio or 0.0) for name in self.groups}
        return choose(self.coupling, self.importance, ratios, self.align)

    def _widths(self, parameters: Parameters) -> dict[str, int]:
        return {n: kept_channels(g, parameters[RATIO + n], self.align) for n, g in self.groups.items()}

    def _without(self, branches: tuple[Branch, ...]) -> Model:
        """The model without these branches."""
        names = {name for branch in branches for name in branch.groups}
        whole = {name: np.arange(self.groups[name].size) for name in names}
        return self.build(self.model.clone(), PrunedChannels(self.coupling, whole))


def _pinned(coupling: Coupling) -> tuple[tuple[str, str], ...]:
    """Nodes whose channels must stay, each with the reason."""
    return tuple(dict.fromkeys((p.node, p.reason) for g in coupling.groups for p in g.pins))


def scalable_kernels(model: Model, coupling: Coupling, sizing: Sizing) -> ScalableKernels:
    """The kernels of a model, as it is looked at, for any widths.

    A quantized one has tensors of its own beside the model's, and the same groups by the same names.

    Raises:
        Infeasible: A group runs in other ways there, so that what its widths cost is not known.
    """
    seen = sizing.seen(model)
    counted = channel_groups(seen) if sizing.precision.integers else coupling
    sizes = {g.name: g.size for g in counted.free()}
    if other := [g.name for g in coupling.free() if sizes.get(g.name) != g.size]:
        raise Infeasible(f"the channels of {other[0]} cannot be counted in eight bits; use --precision float32")
    return ScalableKernels(seen, channel_counts(counted), grouping=sizing.grouping(seen))


def demand_free(coupling: Coupling) -> None:
    """Return only if some channel may go.

    Raises:
        Infeasible: None may; the text says why.
    """
    if coupling.free():
        return
    pins = [f"{p.node}: {p.reason}" for g in coupling.groups for p in g.pins][:1]
    why = f"; the first pin is {pins[0]}" if pins else ""
    raise Infeasible(
        f"no channel of this model may be removed{why} (pfir inspect shows all); its reachable speed-up is 1.00x"
    )


def pruning_text(widths: Mapping[str, Change]) -> str:
    """The pass that leaves groups with these widths, (before, after) by name; nothing where none gets narrower."""
    shares = {g: (before - after) / before for g, (before, after) in widths.items() if after < before}
    # Rounded up: a ratio never removes more than it says, so 0.3333 would leave a third of 24 at 17 channels.
    ratios = tuple((g, math.ceil(share * 1e4 - 1e-6) / 1e4) for g, share in shares.items())
    return format_pass(PruneChannels(ratios=ratios)) if ratios else ""
