"""Discrimination-aware selection: channels come back into an emptied group by what they do for class scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pfir.errors import UsageError
from pfir.ir.coupling.groups import Coupling, Group
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context, Slopes
from pfir.passes.distillation.attach_teacher import is_classifier
from pfir.passes.pruning.attach_heads import Head, attach_heads
from pfir.passes.pruning.auxiliary_heads import fitted_heads, head_points, stage_of
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix, result_of
from pfir.passes.pruning.moments import Statistics, contractions
from pfir.passes.pruning.reconstruct import reconstruct

BATCHES = 4
"""In how many batches the channels of a group come back."""


@dataclass(frozen=True)
class Discrimination:
    """A classifier with heads that divide it into stages, ready to have its groups judged one by one.

    Args:
        model: The classifier, its shapes inferred.
        coupling: The groups of the model.
        statistics: The moments of what its consumers read; channels that only others read cannot be judged.
        context: The context, which has labels and `differentiate`.
        heads: The heads in the order of the graph; the model's own classification ends the last stage.
    """

    model: Model
    coupling: Coupling
    statistics: Statistics
    context: Context
    heads: tuple[Head, ...]

    def importance(self, group: Group) -> np.ndarray | None:
        """The joint loss that is left when a channel comes back, above that of the whole group, [size].

        All channels of a group are taken from what reads them, and come back in batches, those first whose weights the
        joint loss has the largest gradient for: the reconstruction error of every consumer, relative to its output's
        variance, plus the cross-entropy at the next head. After each batch the consumers are fitted anew, in closed
        form. None where some consumer is of a form that cannot be followed.
        """
        uses = {t: c for t, c in contractions(self.model, self._alone(group)).items() if t in self.statistics}
        names = {*uses, *(c.bias for shared in uses.values() for c in shared if c.bias is not None)}
        graph = self._joint(group, uses)
        if not uses or {p.tensor for p in group.consuming} - uses.keys() or names - set(graph.trainable):
            return None
        slopes = self.context.differentiate(replace(graph, trainable=tuple(sorted(names))))
        return self._greedy(group, sorted(names), slopes)

    def _alone(self, group: Group) -> Coupling:
        return replace(self.coupling, groups=(group,))

    def _joint(self, group: Group, uses: Mapping[str, tuple[ConsumerMatrix, ...]]):
        nodes = {node.name: node for node in self.model.graph.nodes}
        matched = dict.fromkeys(result_of(nodes[c.node], c).name for shared in uses.values() for c in shared)
        head = self.heads[stage_of(self.model, [h.point for h in self.heads], group) :][:1]
        return attach_heads(self.model, head, not head, self.model, tuple(matched))

    def _greedy(self, group: Group, names: list[str], slopes: Slopes) -> np.ndarray:
        order, losses = np.zeros(0, np.int64), []
        batch = -(-group.size // BATCHES)
        while order.size < group.size:
            loss, gradients = slopes(self._with(group, order, names))
            norms = _norms(group, gradients)
            norms[order] = -1.0  # these channels are back already
            losses.append(loss)
            order = np.concatenate([order, np.argsort(-norms, kind="stable")[: min(batch, group.size - order.size)]])
        losses.append(slopes(self._with(group, order, names))[0])
        return _scores(order, np.array(losses), batch)

    def _with(self, group: Group, channels: np.ndarray, names: list[str]) -> dict[str, np.ndarray]:
        """The consumers' arrays where they read these channels only."""
        left = self.model.clone()
        gone = np.setdiff1d(np.arange(group.size), channels)
        reconstruct(left, self._alone(group), {group.name: gone}, self.statistics)
        held = left.initializers()
        return {name: held[name].values for name in names}


def discrimination(model: Model, coupling: Coupling, statistics: Statistics, context: Context) -> Discrimination:
    """The model's heads, fitted to the calibration data; the model stays as it is.

    Labels are those of the data or, where it has none, the classes that the original itself finds.

    Raises:
        UsageError: The model is no classifier, or the context lacks labels, activations or `differentiate`.

    Source: Zhuang et al., "Discrimination-aware Channel Pruning for Deep Neural Networks", NeurIPS 2018,
    arXiv:1810.11809, section 3 with algorithms 1 and 2. What ours does differently: it selects for all consumers of a
    coupled group at once; the original's heads are fitted alone, by softmax regression on the calibration data, unless
    the caller trains; channels come in four batches; after each batch the weights minimise the reconstruction error in
    closed form, not the joint loss by SGD; the reference of the reconstruction error is the model as it is given.
    """
    if not is_classifier(model):
        named = ", ".join(t.name for t in model.graph.outputs)
        raise UsageError(f"criterion dcp needs a classifier, with one output [N, K] of class scores; there is {named}")
    if context.labels is None or context.differentiate is None or context.activations is None:
        raise UsageError("criterion dcp needs calibration data with the gradients of a loss; give data (--data)")
    model = model.clone()
    infer_shapes(model)
    heads = fitted_heads(head_points(model, coupling), model, context.labels(), context.activations)
    return Discrimination(model, coupling, statistics, context, heads)


def groups_by_stage(model: Model, coupling: Coupling, names: Sequence[str]) -> list[tuple[int, list[str]]]:
    """Stages in order, each with those of these groups that belong to it: what reads them ends before its head."""
    model = model.clone()
    infer_shapes(model)
    points = head_points(model, coupling)
    stages = {name: stage_of(model, points, coupling.group(name)) for name in names}
    return [(at, [n for n in names if stages[n] == at]) for at in sorted(set(stages.values()))]


def fine_tune_stage(model: Model, coupling: Coupling, stage: int, context: Context) -> None:
    """Train the model, in place, on the losses of this stage's head and of its own scores together.

    Source: as `discrimination`, algorithm 1, line 3. Ours trains for as many steps as the caller's trainer takes.
    """
    inferred = model.clone()
    infer_shapes(inferred)
    points = head_points(inferred, coupling)[stage : stage + 1]
    heads = fitted_heads(points, inferred, context.labels(), context.activations)
    found, own = context.train(attach_heads(inferred, heads, own=True)), model.initializers()
    model.set_arrays({name: array for name, array in found.items() if name in own})


def _norms(group: Group, gradients: Mapping[str, np.ndarray]) -> np.ndarray:
    """The Euclidean norm of all gradients of what reads a channel, [size]."""
    total = np.zeros(group.size)
    for part in group.consuming:
        moved = np.moveaxis(gradients[part.tensor], part.axis, 0).astype(np.float64)
        rows = moved[part.positions.ravel()].reshape(group.size, -1)
        total += (rows**2).sum(1)
    return np.sqrt(total)


def _scores(order: np.ndarray, losses: np.ndarray, batch: int) -> np.ndarray:
    """The loss above the last, falling along the order: linear within a batch, never rising."""
    excess = np.maximum(np.minimum.accumulate(losses) - losses[-1], 0)
    places = np.minimum(np.arange(len(losses)) * batch, order.size)
    # Of channels without a difference in the loss, the earlier one still comes first.
    falling = np.interp(np.arange(order.size), places, excess) + 1e-12 * (order.size - np.arange(order.size))
    scores = np.zeros(order.size)
    scores[order] = falling
    return scores
