"""What an error of each weight costs the output of its layer: how large the inputs are that it multiplies."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.errors import DataError
from pfir.ir.linear import LinearLayer
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations
from pfir.passes.quantization.output_error import samples_of, some_samples
from pfir.passes.quantization.ranges import LEAST_SAMPLES

SAMPLES = 256
"""Inputs are averaged over so many samples."""
FLOOR = 1e-3
"""Of the mean: inputs that are hardly ever active on these samples may be on others."""


def importances(
    model: Model, layers: Mapping[str, EditableLayer], activations: Activations | None
) -> dict[str, np.ndarray]:
    """The mean square of the input that each weight multiplies, of the weight's shape, by name of the layer's node.

    It is the diagonal of the Hessian of the layer's squared error, but for the border of an image. Without samples all
    weights count the same.

    Raises:
        DataError: There are fewer than 8 samples, or an input is NaN or infinite on them.

    Source: Kim et al., "SqueezeLLM: Dense-and-Sparse Quantization", ICML 2024, arXiv:2306.07629, section 4.1, for the
    weighting; theirs is by gradients of the loss.
    """
    if activations is None:
        return {name: np.ones(layer.weight.shape) for name, layer in layers.items()}
    squares = _mean_squares(model, layers, activations)
    return {name: _by_weight(layer.layer, squares[name]) for name, layer in layers.items()}


def _mean_squares(model: Model, layers: Mapping[str, EditableLayer], activations: Activations) -> dict[str, np.ndarray]:
    """Of each input channel of each layer, float64 [C]."""
    read = {name: (layer.layer.data.name, layer.layer.data_axis) for name, layer in layers.items()}
    inputs = [t.name for t in model.graph.inputs]
    total, count, samples = dict.fromkeys(layers, 0.0), 0, 0
    for batch in some_samples(model, [tensor for tensor, _ in read.values()], activations, SAMPLES):
        count, samples = count + 1, samples + samples_of(batch, inputs)
        for name, (tensor, axis) in read.items():
            if not np.isfinite(batch[tensor]).all():
                raise DataError(f"{tensor} is NaN or infinite on calibration data; look at the data's scale")
            x = np.moveaxis(batch[tensor], axis, -1)
            total[name] = total[name] + np.square(x.astype(np.float64)).reshape(-1, x.shape[-1]).mean(axis=0)
    if samples < LEAST_SAMPLES:
        raise DataError(f"{samples} calibration samples are too few to weigh errors by; give at least {LEAST_SAMPLES}")
    found = {name: np.asarray(sums) / max(count, 1) for name, sums in total.items()}
    return {name: x + FLOOR * x.mean() + np.finfo(np.float32).tiny for name, x in found.items()}


def _by_weight(layer: LinearLayer, squares: np.ndarray) -> np.ndarray:
    """One number for each input channel as one for each weight."""
    shape, layout = layer.weight.values.shape, layer.layout
    blocks = layout.blocks(np.ones(shape))
    return layout.weight(blocks * squares.reshape(layout.groups, 1, -1, 1), shape)
