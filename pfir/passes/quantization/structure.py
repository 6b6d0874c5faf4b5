"""The nodes of a quantized model without its numbers: what a compiler looks at to say what it costs."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import array, is_op, operand, opset, producer
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.grids import Grid, WeightGrid, grid_between
from pfir.passes.quantization.opset import FIRST_WITH_CHANNELS, lift_opset
from pfir.passes.quantization.placement import layers_of, place
from pfir.passes.quantization.writing import Quantized, written

STEP = 2.0**-16
"""The scale of all weights: by it no bias becomes zero, which a kernel would not have to add, or leaves 32 bits."""


def structure(model: Model, left_in_float: Collection[str] = ()) -> Model:
    """A copy of the model with the nodes, types and sizes that `quantize-uniform` gives it, whose weights are zero.

    Args:
        model: Float, its shapes inferred.
        left_in_float: Nodes that keep float weights.

    Raises:
        FrontendError: The opset is below 13 and cannot be lifted.
    """
    if opset(model.graph) < FIRST_WITH_CHANNELS:
        model = _lifted(model)
    placement, layers = place(model, left_in_float), layers_of(model)
    if not placement.layers:
        return model.clone()
    tensors = model.graph.tensors()
    grids = dict(placement.given)
    for group in placement.shared:
        grids |= dict.fromkeys(group, max((_grid(tensors[name]) for name in group), key=lambda grid: grid.scale))
    chosen = {name: layers[name] for name in placement.layers}
    weights = {name: _weight_grid(layer) for name, layer in chosen.items()}
    integers = {name: np.zeros(layer.weight.shape, np.int8) for name, layer in chosen.items()}
    return written(model, Quantized(placement, grids, weights, integers))


def _lifted(model: Model) -> Model:
    copy = model.clone()
    lift_opset(copy, FIRST_WITH_CHANNELS)
    infer_shapes(copy)
    return copy


def _grid(tensor: gs.Tensor) -> Grid:
    """Of a Clip its bounds, which saturation then keeps; of anything else steps of one from zero."""
    node = producer(tensor)
    if node is None or not is_op(node, "Clip"):
        return Grid(1.0, 0)
    low, high = (_bound(node, place, name) for place, name in ((1, "min"), (2, "max")))
    return Grid(1.0, 0) if low is None or high is None else grid_between(low, high)


def _bound(node: gs.Node, place: int, name: str) -> float | None:
    """A bound of a Clip: before opset 11 an attribute."""
    value = array(operand(node, place))
    found = node.attrs.get(name) if value is None else value
    return None if found is None else float(np.ravel(found)[0])


def _weight_grid(layer: EditableLayer) -> WeightGrid:
    axis = layer.layer.output_axis
    return WeightGrid(np.full(layer.weight.shape[axis], STEP, np.float32), axis)
