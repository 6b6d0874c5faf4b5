"""The nodes of a quantized model without its numbers: what a compiler looks at to say what it costs."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import FrontendError
from pfir.ir.edit import array, is_op, operand, opset, producer
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.grids import LARGEST_BITS, Grid, WeightGrid, grid_between
from pfir.passes.quantization.opset import FEW_BITS, FIRST_WITH_CHANNELS, FIRST_WITH_FOUR_BITS, lift_opset
from pfir.passes.quantization.placement import KERNELS, layers_of, place
from pfir.passes.quantization.planning import bits_by_layer
from pfir.passes.quantization.writing import Quantized, written

STEP = 2.0**-16
"""The scale of all weights: by it no bias becomes zero, which a kernel would not have to add, or leaves 32 bits."""


@dataclass(frozen=True)
class Bits:
    """What of `quantize-uniform` decides about nodes, types and sizes.

    Args:
        weight, activation: 2 to 8.
        per_channel: Whether each output channel of a weight has a scale of its own.
        pairs: Where activations are rounded, as `place` takes it.
        eight_bit_share: The layers of the fewest weights, this share of all weights together, have eight bits.
        layers: Bits of the weights of layers by name of the node, in place of both.
    """

    weight: int = LARGEST_BITS
    activation: int = LARGEST_BITS
    per_channel: bool = True
    pairs: str = KERNELS
    eight_bit_share: float = 0.0
    layers: tuple[tuple[str, int], ...] = ()

    @property
    def least(self) -> int:
        """The fewest that a weight may have."""
        return min(self.weight, *(bits for _, bits in self.layers), LARGEST_BITS)


EIGHT_BITS = Bits()


def structure(model: Model, left_in_float: Collection[str] = (), bits: Bits = EIGHT_BITS) -> Model:
    """A copy of the model with the nodes, types and sizes that `quantize-uniform` gives it, whose weights are one, and
    zero where the model's are.

    Args:
        model: Float, its shapes inferred.
        left_in_float: Nodes that keep float weights.
        bits: Of all others.

    Raises:
        FrontendError: The opset is below 13 and cannot be lifted.
    """
    model = _lifted(model, FIRST_WITH_CHANNELS)
    if bits.least <= FEW_BITS:
        with suppress(FrontendError):  # Eight bits hold such integers, too.
            model = _lifted(model, FIRST_WITH_FOUR_BITS)
    placement, layers = place(model, left_in_float, bits.pairs), layers_of(model)
    if not placement.layers:
        return model.clone()
    tensors = model.graph.tensors()
    grids = dict(placement.given)
    for group in placement.shared:
        grids |= dict.fromkeys(
            group, max((_grid(tensors[name], bits.activation) for name in group), key=lambda grid: grid.scale)
        )
    chosen = {name: layers[name] for name in placement.layers}
    widths = bits_by_layer(
        {n: x.weight.size for n, x in chosen.items()}, bits.weight, bits.eight_bit_share, dict(bits.layers)
    )
    weights = {name: _weight_grid(layer, widths[name], bits.per_channel) for name, layer in chosen.items()}
    integers = {name: (layer.weight != 0).astype(np.int8) for name, layer in chosen.items()}
    return written(model, Quantized(placement, grids, weights, integers))


def _lifted(model: Model, wanted: int) -> Model:
    """The model itself, or a copy of this opset where its own is older."""
    if opset(model.graph) >= wanted:
        return model
    copy = model.clone()
    lift_opset(copy, wanted)
    infer_shapes(copy)
    return copy


def _grid(tensor: gs.Tensor, bits: int) -> Grid:
    """Of a Clip its bounds, which saturation then keeps; of anything else steps of one from zero."""
    node = producer(tensor)
    if node is None or not is_op(node, "Clip"):
        return Grid(1.0, 0, bits)
    low, high = (_bound(node, place, name) for place, name in ((1, "min"), (2, "max")))
    return Grid(1.0, 0, bits) if low is None or high is None else grid_between(low, high, bits)


def _bound(node: gs.Node, place: int, name: str) -> float | None:
    """A bound of a Clip: before opset 11 an attribute."""
    value = array(operand(node, place))
    found = node.attrs.get(name) if value is None else value
    return None if found is None else float(np.ravel(found)[0])


def _weight_grid(layer: EditableLayer, bits: int, per_channel: bool) -> WeightGrid:
    axis = layer.layer.output_axis
    shape = (layer.weight.shape[axis],) if per_channel else ()
    return WeightGrid(np.full(shape, STEP, np.float32), axis, bits)
