"""Candidates: from the parameters of a search to a compressed model, and what it is worth untrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pfir.compile.methods.base import Choice, Parameters
from pfir.compile.methods.pricing import Pricing
from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.run.evaluate import Reference, Scores, evaluate

Choices = tuple[Choice, ...]
"""One for each method."""


@dataclass(frozen=True)
class Candidates:
    """The candidates of one model.

    Args:
        model: Where compression begins; it is not changed.
        pricing: The methods, and what they cost.
    """

    model: Model
    pricing: Pricing

    def choices(self, parameters: Parameters) -> Choices:
        """What each method does by these parameters to what the methods before it have left."""
        found, cost = [], self.pricing.original
        for method in self.pricing.methods:
            found.append(method.choose(parameters, cost))
            cost = method.cost(cost, parameters)
        return tuple(found)

    def build(self, choices: Sequence[Choice]) -> Model:
        """The model once every method has done what was chosen."""
        model = self.model.clone()
        for method, choice in zip(self.pricing.methods, choices, strict=True):
            model = method.build(model, choice)
        return model

    def rounded(self, model: Model, choices: Sequence[Choice]) -> Model:
        """A built model with what is done at last, told quickly: what it is worth."""
        for method, choice in zip(self.pricing.methods, choices, strict=True):
            model = method.rounded(model, choice)
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

    def judged(self, parameters: Parameters) -> Scores:
        """The candidate against the original."""
        choices = self.candidates.choices(parameters)
        model = self.candidates.rounded(self.candidates.build(choices), choices)
        return evaluate(model, self.data, self.reference, self.threads)

    def __call__(self, parameters: Parameters) -> tuple[float, dict[str, float]]:
        found = self.judged(parameters)
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
