"""Candidates: from a share to remove per group to a pruned, reconstructed model and what it is worth untrained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pfir.compile.methods.pricing import Pricing
from pfir.data.base import Dataset
from pfir.ir.coupling.groups import Coupling
from pfir.ir.model import Model
from pfir.passes.pruning.moments import Statistics
from pfir.passes.pruning.prune_channels import apply_removal, choose
from pfir.run.evaluate import Reference, evaluate


@dataclass(frozen=True)
class Candidates:
    """Everything that candidates of one model are made of.

    Args:
        model: The original, simplified and folded.
        coupling: Its groups.
        importance: Group name to one score a channel, [size]; the least important go first.
        statistics: Moments of the original's activations.
        pricing: Snaps shares to widths.
    """

    model: Model
    coupling: Coupling
    importance: Mapping[str, np.ndarray]
    statistics: Statistics
    pricing: Pricing

    def removed(self, parameters: Mapping[str, float]) -> dict[str, np.ndarray]:
        """Group name to the channels that go."""
        whole = {name: np.arange(self.pricing.groups[name].size) for name in self.pricing.gone(parameters)}
        return choose(self.coupling, self.importance, self.pricing.ratios(parameters), self.pricing.align) | whole

    def build(self, removed: Mapping[str, np.ndarray]) -> Model:
        """The model without these channels, its other weights making up for them."""
        model = self.model.clone()
        apply_removal(model, self.coupling, removed, self.statistics)
        return model


@dataclass(frozen=True)
class Score:
    """How near a candidate is to the original, untrained; higher is better.

    The score is minus the divergence of its outputs (KL for a classifier, relative squared error otherwise): it still
    ranks candidates where top-1 agreement does not tell them apart.
    """

    candidates: Candidates
    data: Dataset
    reference: Reference
    threads: int = 1

    def __call__(self, parameters: Mapping[str, float]) -> tuple[float, dict[str, float]]:
        model = self.candidates.build(self.candidates.removed(parameters))
        found = evaluate(model, self.data, self.reference, self.threads)
        details = {"fidelity": found.fidelity, **self.candidates.pricing.costs(parameters)}
        return -found.divergence, details


def adopt(model: Model, trained: Model) -> None:
    """Give `model` the weights of `trained`, a copy of it that passes may have rewritten around its nodes.

    Constants are matched by node and input position, so the structure and the names of `model` stay.
    """
    learnt = {node.name: node for node in trained.nodes()}
    arrays = {}
    for node in model.nodes():
        twin = learnt.get(node.name)
        for ours, theirs in zip(node.inputs, twin.inputs if twin else (), strict=False):
            if hasattr(ours, "values") and hasattr(theirs, "values") and ours.values.shape == theirs.values.shape:
                arrays[ours.name] = theirs.values
    model.set_arrays(arrays)
