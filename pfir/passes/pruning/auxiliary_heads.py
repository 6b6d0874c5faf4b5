"""Where auxiliary heads go, their statistics and their classifiers, told from the calibration data without training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import UsageError
from pfir.ir.coupling.groups import Coupling, Group
from pfir.ir.linear import plain_layer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.pruning.attach_heads import Head

POINTS = 3
"""Heads between input and output."""
RIDGE = 1e-3
STEPS = 300
_FLOOR = 1e-6


def head_points(model: Model, coupling: Coupling, count: int = POINTS) -> tuple[str, ...]:
    """Up to `count` tensors [N, C, *k] through which all that leads to the outputs flows, evenly spread over layers.

    Args:
        model: Shapes are inferred.
        coupling: Of the model: axis 1 of a point is one that channels lie on.
    """
    channels = {m.tensor for group in coupling.groups for m in group.members if m.axis == 1}
    cuts = [(done, name) for done, name, rank in _bottlenecks(model.graph) if name in channels and rank > 2]
    total = sum(plain_layer(node) is not None for node in model.graph.nodes)
    wanted = [total * (i + 1) / (count + 1) for i in range(count)]
    nearest = [min(cuts, key=lambda cut: abs(cut[0] - at))[1] for at in wanted] if cuts else []
    return tuple(dict.fromkeys(nearest))


def stage_of(model: Model, points: Sequence[str], group: Group) -> int:
    """The first of these points, in the order of the graph, behind all that read the group; their number if none is."""
    order = {node.name: at for at, node in enumerate(model.graph.nodes)}
    tensors = model.graph.tensors()
    last = max((order.get(name, len(order)) for name in group.consumers), default=0)
    makers = [order[tensors[point].inputs[0].name] for point in points]
    return next((stage for stage, at in enumerate(makers) if at >= last), len(makers))


def fitted_heads(points: Sequence[str], model: Model, labels: np.ndarray, activations: Activations) -> tuple[Head, ...]:
    """A head at each of these tensors, its classifier fitted by softmax regression.

    Args:
        labels: int64 [N].
    """
    classes = int(model.graph.outputs[0].shape[1])
    if not points:
        return ()
    moments = _moments(points, activations(model, points))
    pooled = _pooled(points, activations(model, points), moments)
    return tuple(Head(p, *moments[p], *softmax_regression(pooled[p], labels, classes)) for p in points)


def softmax_regression(x: np.ndarray, labels: np.ndarray, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Weight [C, K] and bias [K] of least mean cross-entropy plus a ridge, by accelerated gradient descent.

    Args:
        x: [N, C].
        labels: int64 [N], below `classes`.

    Source: Nesterov, "A method of solving a convex programming problem with convergence rate O(1/k^2)", 1983.
    """
    mean, scale = x.mean(0), float(x.std()) or 1.0
    z = np.concatenate([(x - mean) / scale, np.ones((len(x), 1))], axis=1)
    wanted = np.eye(classes)[labels]
    rate = 1 / (0.5 * np.linalg.norm(z, 2) ** 2 / len(z) + RIDGE)
    now = ahead = np.zeros((z.shape[1], classes))
    for step in range(STEPS):
        gradient = z.T @ (_softmax(z @ ahead) - wanted) / len(z) + RIDGE * ahead
        following = ahead - rate * gradient
        ahead = following + step / (step + 3) * (following - now)
        now = following
    weight = now[:-1] / scale
    return weight, now[-1] - mean @ weight


def _bottlenecks(graph: gs.Graph) -> Iterator[tuple[int, str, int]]:
    """Layers done by then, name and rank of each computed tensor that everything behind it depends on alone."""
    last = {t.name: at for at, node in enumerate(graph.nodes) for t in node.inputs}
    last |= {t.name: len(graph.nodes) for t in graph.outputs}
    alive, done = {t.name for t in graph.inputs}, 0
    for at, node in enumerate(graph.nodes):
        done += plain_layer(node) is not None
        fresh = [t for t in node.outputs if last.get(t.name, -1) > at]
        alive = {name for name in alive if last.get(name, -1) > at} | {t.name for t in fresh}
        if len(alive) == 1 and fresh and done and at + 1 < len(graph.nodes) and fresh[0].shape is not None:
            yield done, fresh[0].name, len(fresh[0].shape)


def _moments(points: Sequence[str], batches: Iterator) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean and deviation of every channel, [C] each."""
    sums = {p: [0.0, 0.0, 0] for p in points}
    for batch in batches:
        for name, total in sums.items():
            rows = np.moveaxis(batch[name], 1, -1).reshape(-1, batch[name].shape[1]).astype(np.float64)
            total[0], total[1], total[2] = total[0] + rows.sum(0), total[1] + (rows**2).sum(0), total[2] + len(rows)
    return {name: _deviations(*total) for name, total in sums.items()}


def _deviations(first: np.ndarray, second: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    if not count:
        raise UsageError("criterion dcp needs calibration data, but there are no samples")
    mean, square = first / count, second / count
    variance = np.maximum(square - mean**2, 0)
    # A channel that never moves says nothing; it must not be blown up either.
    return mean, np.sqrt(variance + _FLOOR * (variance.mean() or 1.0))


def _pooled(points: Sequence[str], batches: Iterator, moments) -> dict[str, np.ndarray]:
    """What each classifier reads, [N, C]."""
    parts = {p: [] for p in points}
    for batch in batches:
        for name, found in parts.items():
            mean, deviation = (m.reshape(1, -1, *(1,) * (batch[name].ndim - 2)) for m in moments[name])
            active = np.maximum((batch[name] - mean) / deviation, 0)
            found.append(active.reshape(*active.shape[:2], -1).mean(2))
    return {name: np.concatenate(found) for name, found in parts.items()}


def _softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(1, keepdims=True))
    return exponentials / exponentials.sum(1, keepdims=True)
