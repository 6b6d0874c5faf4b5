"""Quantized layers and tensors written as standard QuantizeLinear and DequantizeLinear nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ml_dtypes
import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, opset, replace_input
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.grids import LARGEST_BITS, Grid, WeightGrid
from pfir.passes.quantization.opset import FIRST_WITH_FOUR_BITS
from pfir.passes.quantization.placement import Placement, layers_of


@dataclass(frozen=True)
class Quantized:
    """All that is written of a quantized model.

    Args:
        placement: Which layers and tensors get few bits.
        activations: Grid by name of the tensor, those that came with one too.
        weights: Grid by name of the layer's node.
        integers: int8 of the weight's shape by name of the layer's node.
    """

    placement: Placement
    activations: Mapping[str, Grid]
    weights: Mapping[str, WeightGrid]
    integers: Mapping[str, np.ndarray]


def write(model: Model, quantized: Quantized) -> None:
    """Give layers integer weights and biases, and tensors pairs of QuantizeLinear and DequantizeLinear, in place.

    Rewrite of a layer and the activation function that is fused with it::

        y = Relu(W x + b)
            ->
        x' = DQ(Q(x)), W' = DQ(integers), b' = DQ(integers of 32 bits, in steps of both scales' product)
        y = Relu(W' x' + b'), y' = DQ(Q(y))

    Inputs and outputs of the graph stay float. Fewer than eight bits of an activation are simulated: a Clip keeps it
    within the range, and the integers have eight bits.
    """
    _Writer(model, quantized).write()
    infer_shapes(model)


def written(model: Model, quantized: Quantized) -> Model:
    """A quantized copy of the model, as `write` makes it."""
    copy = model.clone()
    write(copy, quantized)
    return copy


class _Writer:
    def __init__(self, model: Model, quantized: Quantized) -> None:
        self._graph, self._quantized = model.graph, quantized
        self._names = Names(model.graph)
        self._layers = layers_of(model)
        self._data = {name: layer.layer.data.name for name, layer in self._layers.items()}
        self._outputs = {t.name for t in model.graph.outputs}

    def write(self) -> None:
        placement = self._quantized.placement
        paired = {*placement.tensors, *placement.handed_on}
        nodes: list[gs.Node] = []
        inputs = [self._pair(t) for t in self._graph.inputs if t.name in paired]
        for node in self._graph.nodes:
            if node.name in placement.layers:
                nodes += self._layer(self._layers[node.name])
            pairs = [self._pair(t) for t in node.outputs if t.name in paired]
            nodes += [node, *(each for pair in pairs for each in pair)]
        self._graph.nodes = [*(each for pair in inputs for each in pair), *nodes]

    def _layer(self, layer: EditableLayer) -> list[gs.Node]:
        """Give a layer integers: the nodes that make its numbers of them."""
        grid = self._quantized.weights[layer.node.name]
        data = self._quantized.activations[self._data[layer.node.name]]
        plain, given = layer.layer, layer.bias()
        made = [self._weight(plain.weight.name, self._quantized.integers[layer.node.name], grid)]
        layer.node.inputs[plain.place] = made[0].outputs[0]
        if plain.bias is not None:
            made.append(self._bias(plain.bias.name, given, data, grid))
            layer.node.inputs[plain.operator.bias] = made[1].outputs[0]
        return made

    def _weight(self, name: str, integers: np.ndarray, grid: WeightGrid) -> gs.Node:
        few = grid.bits <= 4 and opset(self._graph) >= FIRST_WITH_FOUR_BITS
        kind = np.dtype(ml_dtypes.int4 if few else np.int8)
        # Zero need not be said, but ONNX Runtime's product of integers asks for it.
        zero = np.zeros(grid.scale.shape, kind)
        return self._dequantize(name, integers.astype(kind), grid.scale, grid.axis, zero)

    def _bias(self, name: str, bias: np.ndarray, data: Grid, grid: WeightGrid) -> gs.Node:
        scale = np.asarray(np.float32(data.scale) * grid.scale)
        if scale.ndim:
            scale = np.tile(scale, bias.size // scale.size)
        steps = np.rint(bias / scale.astype(np.float64)).astype(np.int32)
        return self._dequantize(name, steps, scale, 0)

    def _dequantize(
        self, name: str, integers: np.ndarray, scale: np.ndarray, axis: int, zero: np.ndarray | None = None
    ) -> gs.Node:
        """The node that makes a weight or bias of integers."""
        parts = {"quantized": integers, "scale": scale} | ({} if zero is None else {"zero_point": zero})
        inputs = [gs.Constant(self._names.fresh(f"{name}_{what}"), values) for what, values in parts.items()]
        result = gs.Variable(self._names.fresh(f"{name}_dequantized"), np.float32, list(integers.shape))
        attrs = {"axis": axis} if scale.ndim else {}
        return gs.Node("DequantizeLinear", self._names.fresh(f"{name}_DequantizeLinear"), attrs, inputs, [result])

    def _pair(self, tensor: gs.Variable) -> list[gs.Node]:
        """The nodes behind a tensor, whose readers read it from now on as they leave it."""
        grid, name = self._quantized.activations[tensor.name], tensor.name
        readers = list({id(n): n for n in tensor.outputs}.values())
        result = gs.Variable(self._names.fresh(f"{name}_dequantized"), tensor.dtype, tensor.shape)
        source = tensor
        if name in self._outputs:
            source, result = self._behind_output(tensor, result)
        for node in readers:
            replace_input(node, tensor, result)
        made = [] if grid.bits == LARGEST_BITS else [self._clip(source, name, grid)]
        integers = gs.Variable(self._names.fresh(f"{name}_quantized"), np.uint8, tensor.shape)
        scale = gs.Constant(self._names.fresh(f"{name}_scale"), np.array(grid.scale, np.float32))
        zero = gs.Constant(self._names.fresh(f"{name}_zero_point"), np.array(grid.zero_point, np.uint8))
        last = made[-1].outputs[0] if made else source
        for kind, x, y in (("QuantizeLinear", last, integers), ("DequantizeLinear", integers, result)):
            made.append(gs.Node(kind, self._names.fresh(f"{name}_{kind}"), {}, [x, scale, zero], [y]))
        return made

    def _behind_output(self, tensor: gs.Variable, result: gs.Variable) -> tuple[gs.Variable, gs.Variable]:
        """The tensor that the node writes from now on, and the output, which the pair then writes."""
        node = tensor.inputs[0]
        place = next(i for i, t in enumerate(node.outputs) if t is tensor)
        source = gs.Variable(self._names.fresh(f"{tensor.name}_float"), result.dtype, result.shape)
        node.outputs[place] = source
        return source, tensor

    def _clip(self, source: gs.Variable, name: str, grid: Grid) -> gs.Node:
        bounds = [
            gs.Constant(self._names.fresh(f"{name}_{end}"), np.array(value, np.float32))
            for end, value in zip(("low", "high"), grid.bounds, strict=True)
        ]
        result = gs.Variable(self._names.fresh(f"{name}_clipped"), source.dtype, source.shape)
        return gs.Node("Clip", self._names.fresh(f"{name}_Clip"), {}, [source, *bounds], [result])
