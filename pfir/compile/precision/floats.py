"""Whether the values of a model fit into float16."""

from __future__ import annotations

import numpy as np

from pfir.data.base import Dataset
from pfir.ir.model import Model
from pfir.run.activations import activations

LARGEST = 65504.0 / 8
"""What float16 holds, with room for inputs that calibration data does not show."""
SAMPLES, BATCH = 8, 4


def fits_float16(model: Model, data: Dataset) -> bool:
    """Whether no weight, and no value that a node makes of a few samples, comes near to what float16 cannot hold."""
    weights = (t.values for t in model.initializers().values() if t.dtype == np.float32 and t.values.size)
    if any(np.abs(w).max() > LARGEST for w in weights):
        return False
    names = [t.name for node in model.nodes() for t in node.outputs if t.dtype == np.float32 and not t.is_empty()]
    some = data.subset(np.arange(min(SAMPLES, len(data))))
    batches = activations(model, names, some, BATCH)
    return all(np.abs(y).max(initial=0.0) <= LARGEST for batch in batches for y in batch.values())
