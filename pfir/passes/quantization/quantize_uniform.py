"""Quantization without training: integers of few bits for weights and activations, as standard ONNX says them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from pfir.errors import UsageError
from pfir.ir.checking.verify import check_finite
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.base import Activations, Change, Context, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.quantization.bias_correction import correct_biases
from pfir.passes.quantization.calibration import calibrated, range_finder
from pfir.passes.quantization.equalize import equalize
from pfir.passes.quantization.grids import Grid, WeightGrid
from pfir.passes.quantization.placement import Placement, layers_of, place
from pfir.passes.quantization.ranges import Histogram, observe
from pfir.passes.quantization.rounding.base import RoundingTask
from pfir.passes.quantization.rounding.nearest import nearest
from pfir.passes.quantization.weights import weight_grid, with_room_for_bias
from pfir.passes.quantization.writing import Quantized, write, written
from pfir.passes.simplification.simplify import Simplify

ROUNDINGS = {"nearest": nearest}
"""Ways of rounding weights by name."""


@dataclass(frozen=True)
class QuantizeUniform(Pass):
    """Give weights and activations few bits, by ranges measured on calibration data, as QuantizeLinear says it.

    Args:
        weight_bits: 2 to 8, symmetric. Up to four are stored in four where the opset is 21 or may become it, else in
            eight.
        activation_bits: 2 to 8, with a zero point; fewer than eight are simulated.
        calibration: How the range of an activation is found: min-max, percentile, entropy or mse.
        percentile: What share of the values, in percent, lies within the range by calibration=percentile.
        per_channel: Whether each output channel of a weight has a scale of its own.
        rounding: How weights are rounded: nearest.
        left_in_float: Layers whose weights stay float, by the name of their node.

    Raises:
        UsageError: A field is out of its range, or there is no calibration data.
        DataError: The calibration data is too little, or gives NaN.
        Infeasible: The model has no layer that may be quantized.
    """

    name: ClassVar[str] = "quantize-uniform"
    compresses: ClassVar[bool] = True

    weight_bits: int = 8
    activation_bits: int = 8
    calibration: str = "mse"
    percentile: float = 99.99
    per_channel: bool = True
    equalize: bool = False
    bias_correction: bool = False
    rounding: str = "nearest"
    left_in_float: tuple[str, ...] = ()

    def apply(self, model: Model, context: Context) -> Change:
        activations = _activations(context)
        check_finite(model)
        _prepare(model, context)
        if self.equalize:
            equalize(model, activations, self.per_channel)
        self._demand_layers(model)
        placement = place(model, self.left_in_float)
        grids = self._grids(placement, observe(model, placement.tensors, activations))
        layers = layers_of(model)
        weights = {name: self._weight_grid(layers[name], grids) for name in placement.layers}
        rounded = ROUNDINGS[self.rounding](RoundingTask(model, placement, weights, grids, context))
        quantized = Quantized(placement, {**grids, **rounded.activations}, weights, rounded.integers)
        if self.bias_correction:
            correct_biases(model, placement.layers, activations, partial(written, quantized=quantized))
        write(model, quantized)
        return Change(True, (f"{len(placement.layers)} layers quantized",))

    def _demand_layers(self, model: Model) -> None:
        """Return only if all layers that are to stay float are there."""
        if unknown := sorted(set(self.left_in_float) - layers_of(model).keys()):
            raise UsageError(f"left_in_float names {unknown[0]}, which is no layer that may have few bits")

    def _weight_grid(self, layer: EditableLayer, grids: Mapping[str, Grid]) -> WeightGrid:
        grid = weight_grid(layer, self.weight_bits, self.per_channel, self.calibration == "mse")
        return with_room_for_bias(grid, layer.bias(), grids[layer.layer.data.name].scale)

    def _grids(self, placement: Placement, histograms: Mapping[str, Histogram]) -> dict[str, Grid]:
        """The grid of every tensor that has few bits; those that share one have that of the widest."""
        find = range_finder(self.calibration, self.percentile)
        found = dict(placement.given)
        for group in placement.shared:
            grids = [calibrated(histograms[name], find, self.activation_bits) for name in group]
            found |= dict.fromkeys(group, max(grids, key=lambda g: g.scale))
        return found


def _activations(context: Context) -> Activations:
    if context.activations is None:
        raise UsageError("quantize-uniform needs calibration data, and none was given (--data)")
    return context.activations


def _prepare(model: Model, context: Context) -> None:
    """Simplify and fold: every multiplication that stays is one more rounding."""
    Simplify().apply(model, context)
    FoldBatchNorm().apply(model, context)
