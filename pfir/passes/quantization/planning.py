"""From a float model to all that is written of it: placement, grids of activations and weights, rounded weights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pfir.ir.edit import held
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.passes.quantization.calibration import RangeOf, calibrated
from pfir.passes.quantization.grids import LARGEST_BITS, Grid, WeightGrid
from pfir.passes.quantization.placement import KERNELS, Placement, layers_of, place, result_of
from pfir.passes.quantization.ranges import Histogram
from pfir.passes.quantization.weights import weight_grid, with_room_for_bias, with_room_for_sums
from pfir.passes.quantization.writing import Quantized


@dataclass(frozen=True)
class Settings:
    """How grids are chosen.

    Args:
        weight_bits, activation_bits: 2 to 8.
        range_of: Finds the range of an activation.
        per_channel: Whether each output channel of a weight has a scale of its own.
        least_error: Whether weights get scales of the least squared error rather than those that clip nothing.
        pairs: Where activations get few bits, as `place` takes it.
        eight_bit_share: The layers of the fewest weights, this share of all weights together, have eight bits.
        layer_bits: Of the weights of layers by name of the node, in place of both.
    """

    weight_bits: int
    activation_bits: int
    range_of: RangeOf
    per_channel: bool
    least_error: bool
    pairs: str = KERNELS
    eight_bit_share: float = 0.0
    layer_bits: Mapping[str, int] = field(default_factory=dict)


def plan_quantized(
    model: Model,
    histograms: Mapping[str, Histogram],
    settings: Settings,
    left_in_float: Collection[str] = (),
) -> Quantized:
    """How the model is quantized, but for these layers; each weight becomes the nearest integer.

    Args:
        histograms: Of every tensor that `place` finds.
    """
    placement = place(model, left_in_float, settings.pairs)
    grids = _activation_grids(placement, histograms, settings)
    layers = layers_of(model)
    sizes = {name: layers[name].weight.size for name in placement.layers}
    bits = bits_by_layer(sizes, settings.weight_bits, settings.eight_bit_share, settings.layer_bits)
    weights = {name: _weight_grid(layers[name], grids, settings, count) for name, count in bits.items()}
    integers = {name: grid.integers(layers[name].weight) for name, grid in weights.items()}
    return Quantized(placement, grids, weights, integers)


def bits_by_layer(
    sizes: Mapping[str, int], weight_bits: int, eight_bit_share: float, layer_bits: Mapping[str, int]
) -> dict[str, int]:
    """The bits of a weight, by name of the layer's node.

    Args:
        sizes: How many weights each layer has, likewise.
        weight_bits: Of all but the layers of the fewest weights, `eight_bit_share` of all weights together.
        layer_bits: Of those that are named.
    """
    left, found = eight_bit_share * sum(sizes.values()), {}
    for name in sorted(sizes, key=lambda name: sizes[name]):
        left -= sizes[name]
        found[name] = weight_bits if left < 0 else LARGEST_BITS
    return {name: layer_bits.get(name, found[name]) for name in sizes}


def constant_layers(model: Model, histograms: Mapping[str, Histogram]) -> dict[str, str]:
    """The layers of which calibration tells no range, since a tensor beside them is constant: name to that tensor."""
    holding = held(model.graph)
    found = {}
    for name, layer in layers_of(model).items():
        beside = (layer.layer.data.name, result_of(layer.node, holding).name)
        constant = [t for t in beside if t in histograms and histograms[t].is_constant]
        if constant:
            found[name] = constant[0]
    return found


def _activation_grids(placement: Placement, histograms: Mapping[str, Histogram], settings: Settings) -> dict[str, Grid]:
    """The grid of every tensor that has few bits; those that share one have that of the widest."""
    found = dict(placement.given)
    for group in placement.shared:
        grids = [calibrated(histograms[name], settings.range_of, settings.activation_bits) for name in group]
        found |= dict.fromkeys(group, max(grids, key=lambda grid: grid.scale))
    return found


def _weight_grid(layer: EditableLayer, grids: Mapping[str, Grid], settings: Settings, bits: int) -> WeightGrid:
    grid = weight_grid(layer, bits, settings.per_channel, settings.least_error)
    grid = with_room_for_sums(grid, layer)
    return with_room_for_bias(grid, layer.bias(), grids[layer.layer.data.name].scale)
