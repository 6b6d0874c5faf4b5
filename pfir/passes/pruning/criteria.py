"""How much each channel of a group matters, by the criteria of the literature, comparable between groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from pfir.errors import UsageError
from pfir.ir.coupling.groups import Coupling, Group, Slice
from pfir.ir.model import Model
from pfir.ir.weights import every_constant, meant
from pfir.passes.base import Context
from pfir.passes.pruning.discrimination import Discrimination, discrimination
from pfir.passes.pruning.moments import Statistics, collect
from pfir.passes.pruning.selection import elimination, lasso

_WEIGHTS = ("weight",)
_NORMALISED = ("scale",)


def scores(
    model: Model, coupling: Coupling, criterion: str, context: Context, statistics: Statistics | None = None
) -> dict[str, np.ndarray]:
    """Importance of every channel of every free group: group name to float64 [size], >= 0, higher matters more.

    Scores of different groups may be ranked together: except for `reconstruction` and `dcp`, which are shares of the
    consumers' output variance already (and a cross-entropy beside it), each group's mean is 1.

    Args:
        model: The analysed model; it stays as it is.
        criterion: One of `CRITERIA`.
        statistics: From `collect`, where they are at hand already; otherwise those criteria that need them gather them.

    Raises:
        UsageError: The criterion is unknown, or the context lacks the gradients or activations it needs.
    """
    asked, found = _judged(model, coupling, criterion, context, statistics)
    _demand_some(criterion, found)
    return {g.name: _finished(criterion, found[g.name], asked, g) for g in coupling.free()}


def scores_where_judged(
    model: Model, coupling: Coupling, criterion: str, context: Context, statistics: Statistics | None = None
) -> dict[str, np.ndarray]:
    """As `scores`; groups are judged by their weights where the criterion can judge none of them."""
    asked, found = _judged(model, coupling, criterion, context, statistics)
    return {g.name: _finished(criterion, found[g.name], asked, g) for g in coupling.free()}


def l1(asked: _Question, group: Group) -> np.ndarray | None:
    """Sum of the absolute weights that make a channel.

    Source: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017, arXiv:1608.08710, section 3.1; summed over
    the producers of a coupled group.
    """
    return _summed(np.abs(rows).sum(1) for rows in asked.rows(group.producing, _WEIGHTS))


def magnitude(asked: _Question, group: Group) -> np.ndarray | None:
    """Euclidean norm of all weights of a channel, those that make it and those that read it.

    Source: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023, arXiv:2301.12900, section 3.3 (group
    norm, without their learnt sparsity).
    """
    slices = (*group.producing, *group.consuming)
    total = _summed((rows**2).sum(1) for rows in asked.rows(slices, _WEIGHTS))
    return None if total is None else np.sqrt(total)


def bn_scale(asked: _Question, group: Group) -> np.ndarray | None:
    """Absolute scale that normalisation gives a channel.

    Source: Liu et al., "Learning Efficient Convolutional Networks through Network Slimming", ICCV 2017,
    arXiv:1708.06519, section 3; summed over the normalisations of a coupled group.
    """
    return _summed(np.abs(rows).sum(1) for rows in asked.rows(group.producing, _NORMALISED))


def fpgm(asked: _Question, group: Group) -> np.ndarray | None:
    """Sum of a channel's distances to the group's others: near the geometric median, others can stand for it.

    Source: He et al., "Filter Pruning via Geometric Median for Deep Convolutional Neural Networks Acceleration",
    CVPR 2019, arXiv:1811.00250, section 3.3, equation (6); the filters of all producers of a coupled group joined.
    """
    parts = list(asked.rows(group.producing, _WEIGHTS))
    if not parts:
        return None
    squares = sum(_distances(rows) for rows in parts)
    return np.sqrt(np.maximum(squares, 0)).sum(1)


def taylor(asked: _Question, group: Group) -> np.ndarray | None:
    """Squared first-order change of the loss if a channel's weights go, producer by producer.

    Source: Molchanov et al., "Importance Estimation for Neural Network Pruning", CVPR 2019, arXiv:1906.10771,
    section 3.1, equation (8) with the filter as the set; gradients are averaged over the calibration data first.
    """
    products = asked.products(group.producing)
    return _summed(rows.sum(1) ** 2 for rows in products)


def group_taylor(asked: _Question, group: Group) -> np.ndarray | None:
    """First-order change of the loss if all that belongs to a channel goes at once, readers too.

    Source: as `taylor`, over the groups of Fang et al., "DepGraph", CVPR 2023, arXiv:2301.12900, section 3.3.
    """
    slices = (*group.producing, *group.consuming)
    total = _summed(rows.sum(1) for rows in asked.products(slices))
    return None if total is None else np.abs(total)


def activation(asked: _Question, group: Group) -> np.ndarray | None:
    """Mean square of what the consumers read of a channel.

    Source: Molchanov et al., "Pruning Convolutional Neural Networks for Resource Efficient Inference", ICLR 2017,
    arXiv:1611.06440, section 2.2 (activation criterion), with the second moment for the mean.
    """
    return _summed(_energies(asked, part) for part in group.consuming if part.tensor in asked.statistics)


def reconstruction(asked: _Question, group: Group) -> np.ndarray | None:
    """The consumers' output variance lost when a channel goes and least squares makes up for it; see `elimination`."""
    return elimination(asked.model, group, asked.statistics)


def lasso_path(asked: _Question, group: Group) -> np.ndarray | None:
    """When a channel comes into use as the penalty on using channels falls; see `lasso`."""
    return lasso(asked.model, group, asked.statistics)


def dcp(asked: _Question, group: Group) -> np.ndarray | None:
    """The joint loss, of reconstruction and discrimination, that is left when a channel comes back into an empty group.

    See `pfir.passes.pruning.discrimination` for the source. Of data without labels, the original's own answers are the
    labels.
    """
    return asked.discrimination.importance(group)


@dataclass(frozen=True)
class _Question:
    """What a criterion may look at: arrays and loss gradients by initializer, moments by consumer weight, heads."""

    model: Model
    arrays: Mapping[str, np.ndarray]
    gradients: Mapping[str, np.ndarray]
    statistics: Statistics
    discrimination: Discrimination | None = None

    def rows(self, slices: tuple[Slice, ...], roles: tuple[str, ...]) -> Iterator[np.ndarray]:
        """Per slice of these roles: float64 [size, values of one channel]."""
        return (_rows(self.arrays[s.tensor], s) for s in slices if s.role in roles)

    def products(self, slices: tuple[Slice, ...]) -> Iterator[np.ndarray]:
        """Weight times gradient, per slice."""
        known = (s for s in slices if s.tensor in self.gradients)
        return (_rows(self.arrays[s.tensor], s) * _rows(self.gradients[s.tensor], s) for s in known)


CRITERIA: dict[str, Callable[[_Question, Group], np.ndarray | None]] = {
    "l1": l1,
    "magnitude": magnitude,
    "bn-scale": bn_scale,
    "fpgm": fpgm,
    "taylor": taylor,
    "group-taylor": group_taylor,
    "activation": activation,
    "reconstruction": reconstruction,
    "lasso": lasso_path,
    "dcp": dcp,
}
_OF_GRADIENTS = ("taylor", "group-taylor")
_OF_STATISTICS = ("activation", "reconstruction", "lasso", "dcp")
_ABSOLUTE = ("reconstruction", "dcp")


def _judged(
    model: Model, coupling: Coupling, criterion: str, context: Context, statistics: Statistics | None
) -> tuple[_Question, dict[str, np.ndarray | None]]:
    if criterion not in CRITERIA:
        raise UsageError(f"criterion is {criterion}; it must be one of {', '.join(CRITERIA)}")
    weights = _weights(model, coupling)
    if criterion in _OF_GRADIENTS:
        weights = _with_gradients(weights, model, coupling, context, criterion)
    if criterion in _OF_STATISTICS and statistics is None:
        statistics = collect(model, coupling, context)
    heads = discrimination(model, coupling, statistics, context) if criterion == "dcp" else None
    asked = _Question(model, weights.arrays, weights.gradients, statistics or {}, heads)
    return asked, {group.name: CRITERIA[criterion](asked, group) for group in coupling.free()}


def _weights(model: Model, coupling: Coupling) -> _Question:
    names = {s.tensor for group in coupling.free() for s in (*group.producing, *group.consuming)}
    used = {name: tensor for name, tensor in every_constant(model).items() if name in names}
    found = {name: meant(tensor) for name, tensor in used.items()}
    arrays = {name: np.asarray(used[name].values) if a is None else a for name, a in found.items()}
    return _Question(model, arrays, {}, {})


def _with_gradients(asked: _Question, model: Model, coupling: Coupling, context: Context, criterion: str) -> _Question:
    if context.gradients is None:
        raise UsageError(f"criterion {criterion} needs gradients of the loss, but the context has none; give data")
    # Of weights in bodies, and of integers, nobody can tell a gradient.
    floats = {name for name, tensor in model.initializers().items() if np.dtype(tensor.dtype).kind == "f"}
    names = sorted(floats & asked.arrays.keys())
    return _Question(model, asked.arrays, context.gradients(model, names), {})


def _demand_some(criterion: str, found: Mapping[str, np.ndarray | None]) -> None:
    if found and all(values is None for values in found.values()):
        raise UsageError(f"criterion {criterion} finds nothing to judge any of the {len(found)} groups by")


def _finished(criterion: str, values: np.ndarray | None, asked: _Question, group: Group) -> np.ndarray:
    """The values, comparable between groups; a group that the criterion cannot judge is judged by its weights."""
    if values is None:
        values = magnitude(asked, group)
    elif criterion in _ABSOLUTE:
        return values
    mean = 0.0 if values is None else values.mean()
    return np.ones(group.size) if mean == 0 else values / mean


def _rows(array: np.ndarray, part: Slice) -> np.ndarray:
    """[size, values of one channel], float64."""
    moved = np.moveaxis(array, part.axis, 0).astype(np.float64)
    size, per = part.positions.shape
    return moved[part.positions.ravel()].reshape(size, -1) if per * moved.size else np.zeros((size, 0))


def _distances(rows: np.ndarray) -> np.ndarray:
    """Squared distances between rows, [n, n]."""
    squares = (rows**2).sum(1)
    return squares[:, None] + squares[None, :] - 2 * rows @ rows.T


def _energies(asked: _Question, part: Slice) -> np.ndarray:
    moments = asked.statistics[part.tensor]
    energy = np.einsum("gff->f", moments.second)
    return energy[moments.contraction.features(part.positions)].reshape(len(part.positions), -1).sum(1)


def _summed(parts: Iterator[np.ndarray]) -> np.ndarray | None:
    """The sum, or None where there is nothing to sum."""
    total = None
    for part in parts:
        total = part if total is None else total + part
    return total
