"""How far weights move away from zero, or towards it, in a few steps of descent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.sparsity.layers import SparseLayer

STEPS = 4
STEP = 0.02
"""Of each step, the norm of the change over that of the weight."""


def movements(model: Model, layers: Sequence[SparseLayer], context: Context) -> dict[str, np.ndarray]:
    """Initializer to float64 [G * O, F], the sum over steps of minus weight times gradient; without those of integers.

    Args:
        model: Stays as it is.
        layers: Their weights move; all else stays.

    Raises:
        UsageError: The context has no gradients.
    """
    if context.gradients is None:
        raise UsageError("criterion movement needs gradients on calibration data, and none was given (--data)")
    moved, floats = model.clone(), {layer.tensor: layer for layer in layers if not layer.is_integer}
    total = {name: np.zeros_like(layer.weight) for name, layer in floats.items()}
    for _ in range(STEPS):
        gradients = context.gradients(moved, tuple(floats))
        total = {name: total[name] for name in total if name in gradients}
        for name in total:
            matrix, values = floats[name].uses[0], moved.initializers()[name].values
            total[name] -= matrix.matrix(values) * matrix.matrix(gradients[name])
        moved.set_arrays({name: _after(moved.initializers()[name].values, gradients[name]) for name in total})
    return {name: sums.reshape(-1, sums.shape[2]) for name, sums in total.items()}


def _after(weight: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    size = np.linalg.norm(gradient)
    step = STEP * np.linalg.norm(weight) / size if size > 0 else 0.0
    return (weight - step * gradient).astype(weight.dtype)
