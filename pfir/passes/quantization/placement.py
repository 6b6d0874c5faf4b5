"""Which layers and tensors of a model get few bits, and which tensors must share a grid."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, array, held, is_op, only_consumer, operand, producer, reads
from pfir.ir.linear_edits import EditableLayer, editable_layer
from pfir.ir.model import Model
from pfir.ir.operators.records import Form
from pfir.passes.quantization.grids import Grid

FUSED = ("Relu", "Clip")
"""What is part of the layer or sum in front of it, whose result it is that gets few bits."""
SUMS = ("Add",)
COMPUTED = (
    *("Add", "Mul", "AveragePool", "GlobalAveragePool"),
    *("HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Clip"),
)
"""Operators that take few bits and give few bits where all that they read has few."""
MOVED = (
    *("DepthToSpace", "Flatten", "Gather", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "Reshape", "Resize"),
    *("Slice", "SpaceToDepth", "Split", "Squeeze", "Transpose", "Unsqueeze", "Upsample"),
)
"""Operators whose results have the numbers of their input, and so its grid."""
KERNELS, OPERATORS = "kernels", "operators"
"""Where tensors get few bits: in front of layers alone, or behind all operators between them, too."""


@dataclass(frozen=True)
class Placement:
    """What gets few bits, by name, so that it is the same for every clone of a model.

    Args:
        layers: Nodes whose weights do.
        shared: Tensors that get a grid, those that share one together.
        handed_on: Tensors that share a grid which came with the model.
        given: All grids that came with the model, of these tensors and of those that they come from.
    """

    layers: tuple[str, ...]
    shared: tuple[tuple[str, ...], ...]
    handed_on: tuple[str, ...]
    given: Mapping[str, Grid]

    @property
    def tensors(self) -> tuple[str, ...]:
        """The tensors whose grids are to be found."""
        return tuple(name for group in self.shared for name in group)


def layers_of(model: Model) -> dict[str, EditableLayer]:
    """The layers whose weights may get few bits, by name of their node.

    These are Conv, ConvTranspose, Gemm and MatMul of the main graph with float32 weights of their own, an input that is
    float, and no factors beside.
    """
    graph = model.graph
    holding, names = held(graph), Names(graph)
    found = ((node.name, editable_layer(graph, node, names, holding)) for node in graph.nodes)
    return {name: layer for name, layer in found if layer is not None and _may_have_few_bits(layer)}


def place(model: Model, left_in_float: Collection[str] = (), pairs: str = KERNELS) -> Placement:
    """Where few bits go in this model, whose shapes are inferred.

    What layers read gets them, and what is only moved there. What no quantized layer reads on any way, the scores of a
    classifier, say, stays float.

    Args:
        left_in_float: Nodes that keep float weights.
        pairs: By `kernels` sums and functions between layers go on from the floats of what is before them; by
            `operators` all that lies between layers gets few bits where all that it reads has them.
    """
    layers = {n: x for n, x in layers_of(model).items() if n not in left_in_float}
    area = _Area(model, layers)
    area.spread(forwards=pairs == OPERATORS)
    return area.placement()


def result_of(node: gs.Node, holding: set[str]) -> gs.Tensor:
    """What a layer or sum gives once the activation function that is fused with it is applied."""
    behind = only_consumer(node.outputs[0], holding)
    if behind is None or not is_op(behind, *FUSED) or behind.inputs[0] is not node.outputs[0]:
        return node.outputs[0]
    return behind.outputs[0]


def dequantized_grid(tensor: gs.Tensor) -> Grid | None:
    """The grid of a tensor that a DequantizeLinear with one constant scale makes; None of any other."""
    node = producer(tensor)
    if node is None or not is_op(node, "DequantizeLinear") or isinstance(node.inputs[0], gs.Constant):
        return None
    scale, zero = array(node.inputs[1]), array(operand(node, 2))
    if scale is None or scale.size != 1 or (zero is None) != (operand(node, 2) is None):
        return None
    point = 0 if zero is None else int(zero.ravel()[0])
    # Signed integers are the unsigned ones less 128.
    return Grid(float(scale.ravel()[0]), point if zero is None or zero.dtype == np.uint8 else point + 128)


def _may_have_few_bits(layer: EditableLayer) -> bool:
    plain, data = layer.layer, layer.layer.data
    if layer.weight.dtype != np.float32 or not _is_float(data) or not layer.weight.size:
        return False
    if plain.operator.form is not Form.TRANSPOSED_CONVOLUTION and not plain.is_laid_out:
        return False
    return plain.factor == 1 and (plain.bias is None or plain.bias_factor == 1) and not _is_requantized(data)


def _is_float(tensor: gs.Tensor) -> bool:
    return isinstance(tensor, gs.Variable) and not tensor.is_empty() and tensor.dtype == np.float32


def _is_requantized(tensor: gs.Tensor) -> bool:
    """Whether a QuantizeLinear that came with the model reads it."""
    return any(is_op(node, "QuantizeLinear") for node in tensor.outputs)


class _Area:
    """The tensors that get few bits, as they spread from layers over what lies between."""

    def __init__(self, model: Model, layers: Mapping[str, EditableLayer]) -> None:
        self._graph, self._layers = model.graph, layers
        self._holding = held(model.graph)
        self._tensors = model.graph.tensors()
        self._read = self._before_layers()
        self._few: set[str] = {layer.layer.data.name for layer in layers.values()}
        self._few |= {t.name for t in self._tensors.values() if dequantized_grid(t) is not None}

    def _before_layers(self) -> set[str]:
        """The tensors that some layer depends on."""
        found: set[str] = set()
        for node in reversed(self._graph.nodes):
            if node.name in self._layers or any(t.name in found for t in node.outputs):
                found |= reads(node)
        return found

    def spread(self, forwards: bool) -> None:
        """Add tensors until nothing more follows; those behind others only if asked to go forwards."""
        before = -1
        while before < len(self._few):
            before = len(self._few)
            for node in self._graph.nodes if forwards else ():
                self._forwards(node)
            for node in reversed(self._graph.nodes):
                self._backwards(node)

    def _forwards(self, node: gs.Node) -> None:
        sources = _sources(node)
        known = bool(sources) and all(t.name in self._few for t in sources)
        if node.name in self._layers or (known and is_op(node, *SUMS)):
            self._add(result_of(node, self._holding))
        elif known and is_op(node, *COMPUTED):
            self._add(node.outputs[0])
        elif known and _shares(node):
            for tensor in node.outputs:
                self._add(tensor)

    def _backwards(self, node: gs.Node) -> None:
        if _shares(node) and any(t.name in self._few for t in node.outputs):
            for tensor in _sources(node):
                self._add(tensor)

    def _add(self, tensor: gs.Tensor) -> None:
        if _is_float(tensor) and tensor.name in self._read and not _is_requantized(tensor):
            self._few.add(tensor.name)

    def placement(self) -> Placement:
        """Who shares which grid; tensors that come from two grids of the model get one of their own."""
        given = {name: grid for name in self._few if (grid := dequantized_grid(self._tensors[name])) is not None}
        shared, handed_on = [], []
        for group in self._joined():
            own, grids = [name for name in group if name not in given], {given[name] for name in group if name in given}
            if len(grids) == 1:
                handed_on += own
                given |= dict.fromkeys(own, grids.pop())
            elif own:
                shared.append(tuple(own))
        return Placement(tuple(self._layers), tuple(shared), tuple(handed_on), given)

    def _joined(self) -> list[list[str]]:
        """All tensors with few bits, those that nodes move into one another together."""
        home = {name: [name] for name in self._tensors if name in self._few}
        for node in self._graph.nodes:
            if not _shares(node):
                continue
            names = [t.name for t in (*_sources(node), *node.outputs) if t.name in home]
            for name in names[1:]:
                _join(home, names[0], name)
        return list({id(group): group for group in home.values()}.values())


def _join(home: dict[str, list[str]], one: str, other: str) -> None:
    if home[one] is not home[other]:
        home[one].extend(home[other])
        for name in home[other]:
            home[name] = home[one]


def _shares(node: gs.Node) -> bool:
    """Whether the results of a node have the numbers of what it reads."""
    if is_op(node, "Resize", "Upsample"):
        return node.attrs.get("mode", "nearest") in ("nearest", b"nearest")
    if is_op(node, "Pad"):
        filled = array(operand(node, 2))
        return node.attrs.get("mode", "constant") != "constant" or (
            operand(node, 2) is None or (filled is not None and not filled.any())
        )
    return is_op(node, *MOVED, "Concat") and not (is_op(node, "MaxPool") and len(node.outputs) > 1)


def _sources(node: gs.Node) -> list[gs.Tensor]:
    """The tensors of numbers that a node computes with or moves."""
    given = [t for t in node.inputs if not t.is_empty()]
    if is_op(node, "PRelu") or (_shares(node) and not is_op(node, "Concat")) or is_op(node, "Clip"):
        given = given[:1]
    return given
