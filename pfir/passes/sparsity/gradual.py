"""Zeros that spread while a model is trained, in a pattern, with the model as it was for a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.ir.training import Growth
from pfir.passes.base import Context
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.passes.sparsity.layers import SparseLayer
from pfir.passes.sparsity.patterns import Pattern


def growth_of(layers: Sequence[SparseLayer], pattern: Pattern, shares: Mapping[str, float]) -> Growth:
    """How a training makes weights so sparse, the least units first; a pattern N:M is there from the first update on.

    Args:
        layers: Of floats; those of integers are left out.
        pattern: Of the zeros.
        shares: By initializer.
    """
    floats = {layer.tensor: layer for layer in layers if not layer.is_integer and shares.get(layer.tensor)}

    def keep(name: str, values: np.ndarray, share: float) -> np.ndarray:
        matrix = floats[name].uses[0]
        rows = matrix.matrix(values)
        kept = pattern.keep(np.square(rows).reshape(-1, rows.shape[2]), matrix.taps, share)
        return matrix.weight(kept.reshape(rows.shape), np.zeros(values.shape, bool))

    return Growth({name: shares[name] for name in floats}, keep=keep)


def train_sparse(model: Model, growth: Growth, context: Context) -> bool:
    """Train a model in place while zeros spread; whether any did.

    Raises:
        UsageError: The context cannot train.
    """
    if context.train is None:
        raise UsageError("gradual=true needs training on calibration data, and none was given (--data)")
    if not growth.sparsity:
        return False
    held = model.initializers()
    arrays = context.train(replace(attach_teacher(model, model.clone()), growth=growth))
    model.set_arrays({name: array for name, array in arrays.items() if name in held})
    return True
