"""Small weights that are to get sparse, with what they multiply."""

from __future__ import annotations

import numpy as np

from pfir.passes.pruning.moments import gather
from pfir.passes.sparsity.layers import sparse_layers
from pfir.passes.sparsity.patterns import parse_pattern
from pfir.passes.sparsity.task import Task
from tests.support.calibration import context
from tests.support.small_nets import residual


def tasks(pattern: str = "unstructured", net=None) -> list[Task]:
    """Those of a small residual net."""
    net = net or residual()
    layers, _ = sparse_layers(net, parse_pattern(pattern), context(net))
    moments = gather(net, {layer.tensor: layer.uses for layer in layers}, context(net), "a test")
    return [Task(layer, parse_pattern(pattern), moments[layer.tensor]) for layer in layers]


def gram(features: int, seed: int = 0) -> np.ndarray:
    """Second moments of correlated inputs."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(40 * features, features))
    rows = noise + 0.7 * np.roll(noise, 1, 1) + rng.normal(size=(len(noise), 1))
    return rows.T @ rows / len(rows)


def energy(change: np.ndarray, moments: np.ndarray) -> float:
    """What a change of weights [O, F] makes of the outputs, squared."""
    return float(np.sum((change @ moments) * change))
