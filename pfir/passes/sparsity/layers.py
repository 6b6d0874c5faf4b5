"""The weights that may become sparse, with the layers that multiply by them, and why others stay dense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import held, is_op, producer
from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.ir.weights import numbers, zero_of
from pfir.ir.windows import Windows
from pfir.passes.base import Context
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix, own_bias
from pfir.passes.sparsity.patterns import Pattern

FEWEST_CHANNELS = 4
"""A convolution whose outputs sum fewer input channels stays dense: depthwise ones, and the first of an image. Such
layers hold few weights, and lose most by each that goes."""

Reasons = dict[str, list[str]]
"""Why layers stay dense, and the names of their nodes."""


@dataclass(frozen=True, eq=False)
class SparseLayer:
    """A weight that may become sparse, as matrices [G, O, F]; a feature is (channel, tap), the tap running fastest.

    Args:
        tensor: The initializer that holds it.
        nodes: The names of the nodes that multiply by it.
        uses: How they contract; those of one weight differ in what they read.
        weight: float64 [G, O, F], what its numbers stand for.
        zero: What stands for zero in the initializer: broadcasts to it.
        is_integer: Whether it holds integers, which a DequantizeLinear turns to floats.
        is_measurable: Whether outputs are products of what is read with rows of the matrix, as those of a transposed
            convolution and of a weight in front of what it multiplies are not.
    """

    tensor: str
    nodes: tuple[str, ...]
    uses: tuple[ConsumerMatrix, ...]
    weight: np.ndarray
    zero: np.ndarray
    is_integer: bool
    is_measurable: bool

    @property
    def rows(self) -> np.ndarray:
        """The weight as one matrix [G * O, F]."""
        return self.weight.reshape(-1, self.weight.shape[2])

    @property
    def taps(self) -> int:
        """Features of a channel."""
        return self.uses[0].taps

    def stored(self, weight: np.ndarray, like: np.ndarray) -> np.ndarray:
        """The initializer for such a weight; of integers those stay that do not become zero."""
        matrix = self.uses[0]
        if not self.is_integer:
            return matrix.weight(weight, like)
        keep = matrix.weight(weight != 0, np.zeros(like.shape, bool))
        return np.where(keep, like, self.zero).astype(like.dtype)


def sparse_layers(model: Model, pattern: Pattern, context: Context) -> tuple[list[SparseLayer], Reasons]:
    """The weights of the main graph that may get this pattern, in the order of the nodes.

    Layers are Conv, ConvTranspose, Gemm and MatMul with a constant matrix of floats, or of integers that a
    DequantizeLinear turns to floats.
    """
    shared: dict[str, list[LinearLayer]] = {}
    for layer in _layers(model):
        shared.setdefault(_constant(layer).name, []).append(layer)
    found: list[SparseLayer] = []
    reasons: Reasons = {}
    holding = held(model.graph)
    for tensor, layers in shared.items():
        layer = None if tensor in holding else _shared(tensor, layers)
        reason = "their weights are read elsewhere, too" if layer is None else _reason(layer, layers, pattern, context)
        if reason or layer is None:
            reasons.setdefault(reason, []).extend(each.node.name for each in layers)
        else:
            found.append(layer)
    return found, reasons


def _layers(model: Model) -> Iterator[LinearLayer]:
    for node in model.nodes():
        layer = plain_layer(node)
        if layer is not None and _constant(layer) is not None:
            weight = numbers(layer.weight)
            fits = weight is not None and (weight.ndim > 2 if layer.is_convolution else weight.ndim == 2)
            if fits and weight.size and weight.dtype in (np.float16, np.float32, np.float64):
                yield layer


def _constant(layer: LinearLayer) -> gs.Constant | None:
    """The initializer behind a weight, perhaps behind a DequantizeLinear."""
    step = producer(layer.weight)
    tensor = step.inputs[0] if step is not None and is_op(step, "DequantizeLinear") else layer.weight
    return tensor if isinstance(tensor, gs.Constant) else None


def _shared(tensor: str, layers: list[LinearLayer]) -> SparseLayer | None:
    """The weight of these layers; None where others read it, or they read it in different ways."""
    first = layers[0]
    constant = _constant(first)
    if len({(x.layout, x.operator.form) for x in layers}) > 1 or len(_readers(constant)) > len(layers):
        return None
    weight = numbers(first.weight)
    alone = len(layers) == 1 and constant is first.weight
    uses = tuple(_matrix(x, tensor, weight.shape, own_bias(x) if alone else {}) for x in layers)
    step = producer(first.weight)
    zero = np.zeros(()) if step is None else zero_of(step, 0, weight.shape)
    usual = first.place == first.operator.weight.place and not first.is_transposed
    measurable = usual and not any(x.turns_data for x in layers)
    names = tuple(x.node.name for x in layers)
    matrix = uses[0].matrix(weight)
    return SparseLayer(tensor, names, uses, matrix, zero, constant is not first.weight, measurable)


def _readers(constant: gs.Constant) -> list[gs.Node]:
    """The nodes that read a constant or what a DequantizeLinear makes of it."""
    through = [n.outputs[0].outputs if is_op(n, "DequantizeLinear") else [n] for n in constant.outputs]
    return [node for nodes in through for node in nodes]


def _matrix(layer: LinearLayer, tensor: str, shape: tuple[int, ...], bias: dict) -> ConsumerMatrix:
    windows = layer.windows(shape[2:]) if layer.is_convolution else Windows()
    channels = shape[layer.input_axis] // (layer.layout.groups if layer.layout.inputs_first else 1)
    names = layer.node.name, tensor, layer.data.name
    axes = layer.data_axis, layer.result_axis
    return ConsumerMatrix(*names, layer.layout, channels, *axes, windows=windows, **bias)


def _reason(layer: SparseLayer, layers: list[LinearLayer], pattern: Pattern, context: Context) -> str:
    """Why a weight stays dense; empty where it need not."""
    if any(x.node.name in context.keep for x in layers):
        return "they are to be kept"
    if context.only and not any(x.node.name in context.only for x in layers):
        return "others are named by --only"
    if layers[0].is_convolution and layer.uses[0].channels < FEWEST_CHANNELS:
        return f"their outputs sum fewer than {FEWEST_CHANNELS} channels"
    return pattern.refusal(layer.weight.shape[1], layer.weight.shape[2], layer.taps)
