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
        """The initializer for such a weight, its zeros positive; of integers those stay that do not become zero."""
        matrix = self.uses[0]
        if not self.is_integer:
            stored: np.ndarray = matrix.weight(weight, like) + like.dtype.type(0)  # -0.0 + 0.0 is 0.0
            return stored
        keep = matrix.weight(weight != 0, np.zeros(like.shape, bool))
        return np.where(keep, like, self.zero).astype(like.dtype)


def sparse_layers(model: Model, pattern: Pattern, context: Context) -> tuple[list[SparseLayer], Reasons]:
    """The weights of the main graph that may get this pattern, in the order of the nodes.

    Layers are Conv, ConvTranspose, Gemm and MatMul with a constant matrix of floats, or of integers that a
    DequantizeLinear turns to floats.
    """
    shared: dict[str, list[_Use]] = {}
    for use in _uses(model):
        shared.setdefault(use.constant.name, []).append(use)
    found: list[SparseLayer] = []
    reasons: Reasons = {}
    holding = held(model.graph)
    for tensor, uses in shared.items():
        layer = None if tensor in holding else _shared(uses)
        reason = "their weights are read elsewhere, too" if layer is None else _reason(layer, uses, pattern, context)
        if reason or layer is None:
            reasons.setdefault(reason, []).extend(use.layer.node.name for use in uses)
        else:
            found.append(layer)
    return found, reasons


@dataclass(frozen=True, eq=False)
class _Use:
    """A layer with the initializer of its weight, what its numbers stand for, and what stands for zero."""

    layer: LinearLayer
    constant: gs.Constant
    weight: np.ndarray
    zero: np.ndarray

    @property
    def is_usual(self) -> bool:
        """Whether outputs are products of what is read with rows of the weight."""
        operator = self.layer.operator.weight
        first = operator is None or self.layer.place != operator.place
        return not (first or self.layer.is_transposed or self.layer.turns_data)


def _uses(model: Model) -> Iterator[_Use]:
    for node in model.nodes():
        layer = plain_layer(node)
        constant = None if layer is None else _constant(layer)
        if layer is None or constant is None:
            continue
        weight = numbers(layer.weight)
        zero = np.zeros(()) if constant is layer.weight else zero_of(layer.weight.inputs[0], 0, constant.shape)
        if weight is not None and zero is not None and _is_matrix(layer, weight):
            yield _Use(layer, constant, weight, zero)


def _is_matrix(layer: LinearLayer, weight: np.ndarray) -> bool:
    fits = weight.ndim > 2 if layer.is_convolution else weight.ndim == 2
    return fits and weight.size > 0 and weight.dtype.kind == "f"


def _constant(layer: LinearLayer) -> gs.Constant | None:
    """The initializer behind a weight, perhaps behind a DequantizeLinear."""
    step = producer(layer.weight)
    tensor = step.inputs[0] if step is not None and is_op(step, "DequantizeLinear") else layer.weight
    return tensor if isinstance(tensor, gs.Constant) else None


def _shared(uses: list[_Use]) -> SparseLayer | None:
    """The weight of these layers; None where others read it, or they read it in different ways."""
    first = uses[0]
    kinds = {(use.layer.layout, use.layer.operator.form) for use in uses}
    if len(kinds) > 1 or len(_readers(first.constant)) > len(uses):
        return None
    is_integer = first.constant is not first.layer.weight
    alone = len(uses) == 1 and not is_integer
    matrices = tuple(_matrix(use, own_bias(use.layer) if alone else {}) for use in uses)
    return SparseLayer(
        first.constant.name,
        tuple(use.layer.node.name for use in uses),
        matrices,
        matrices[0].matrix(first.weight),
        first.zero,
        is_integer,
        all(use.is_usual for use in uses),
    )


def _readers(constant: gs.Constant) -> list[gs.Node]:
    """The nodes that read a constant or what a DequantizeLinear makes of it."""
    through = [n.outputs[0].outputs if is_op(n, "DequantizeLinear") else [n] for n in constant.outputs]
    return [node for nodes in through for node in nodes]


def _matrix(use: _Use, bias: dict) -> ConsumerMatrix:
    layer, shape = use.layer, use.weight.shape
    windows = layer.windows(shape[2:]) if layer.is_convolution else Windows()
    channels = shape[layer.input_axis] // (layer.layout.groups if layer.layout.inputs_first else 1)
    names = layer.node.name, use.constant.name, layer.data.name
    axes = layer.data_axis, layer.result_axis
    return ConsumerMatrix(*names, layer.layout, channels, *axes, windows=windows, **bias)


def _reason(layer: SparseLayer, uses: list[_Use], pattern: Pattern, context: Context) -> str:
    """Why a weight stays dense; empty where it need not."""
    if any(name in context.keep for name in layer.nodes):
        return "they are to be kept"
    if context.only and not any(name in context.only for name in layer.nodes):
        return "others are named by --only"
    if uses[0].layer.is_convolution and layer.uses[0].channels < FEWEST_CHANNELS:
        return f"their outputs sum fewer than {FEWEST_CHANNELS} channels"
    return pattern.refusal(layer.weight.shape[1], layer.weight.shape[2], layer.taps)
