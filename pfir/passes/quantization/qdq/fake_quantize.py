"""A quantized model as floats that can be trained: every integer a rounded float, every scale learnt, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, sweep
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph, sparse_initializers
from pfir.ir.weights import numbers
from pfir.passes.quantization.qdq.activation_pairs import (
    ActivationPair,
    activation_pairs,
    replace_pair,
    scale_arrays,
)
from pfir.passes.quantization.qdq.integer_layers import (
    Bits,
    IntegerLayer,
    bits_of,
    fitting_biases,
    integer_layers,
    largest_integer,
)
from pfir.passes.quantization.qdq.straight_through import StraightThrough

SPARSE = "sparsify-weights"
"""How the text of the pass begins that makes weights sparse."""
SMALLEST = 1e-3
"""The share of itself below which no scale falls, however it is trained."""

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class LearntScale:
    """A scale that moves from where it was: start + step * move, move an initializer of zeros at first.

    A step is the root of the factor by which learned step size quantization multiplies a scale's gradient: plain
    gradient descent on the move then moves the scale as the paper does.

    Args:
        start: Above 0, one number or [O].
        step: Above 0.
        move: The name of the initializer.
    """

    start: np.ndarray
    step: float
    move: str

    def value(self, arrays: Arrays) -> np.ndarray:
        """The scale where the move has the value given by name, or none."""
        moved = self.start + np.float32(self.step) * arrays.get(self.move, np.zeros_like(self.start))
        return np.maximum(moved, (SMALLEST * self.start).astype(np.float32))


@dataclass(frozen=True, eq=False)
class FakeQuantized:
    """A quantized model as floats, and the way back.

    Args:
        model: Inputs, outputs and function are those of the quantized model; gradients go straight through.
        quantized: What it was made of.
        limits: The largest integer of a weight by its initializer.
        weights: Initializer of integers to that of the floats which are rounded.
        biases: Initializer of a bias to that of its floats.
        weight_scales: Initializer of a weight's scale to how it moves.
        scales: Group of activation pairs to how their scale moves.
    """

    model: Model
    quantized: Model
    limits: Mapping[str, int]
    weights: Mapping[str, str]
    biases: Mapping[str, str]
    weight_scales: Mapping[str, LearntScale]
    scales: Mapping[str, LearntScale]

    @property
    def trainable(self) -> tuple[str, ...]:
        """What is learnt: floats that are rounded, biases, moves of scales."""
        moves = (scale.move for scale in (*self.weight_scales.values(), *self.scales.values()))
        return (*self.weights.values(), *self.biases.values(), *moves)

    def training(self, graph: TrainingGraph) -> TrainingGraph:
        """A training graph that a rewrite made of `model`, in which all this is trainable.

        The zeros of weights stay where the model was made sparse; otherwise few bits alone made them, and they may go.
        """
        trainable = tuple(dict.fromkeys((*graph.trainable, *self.trainable)))
        is_sparse = any(text.startswith(SPARSE) for text in self.quantized.provenance)
        weights = sparse_initializers(graph.model, tuple(self.weights.values())) if is_sparse else ()
        return replace(graph, trainable=trainable, masked=(*graph.masked, *weights))

    def learnt(self, arrays: Arrays) -> Model:
        """Another quantized model, with integers and scales of what was learnt; what is not given stays as it was.

        Args:
            arrays: By name of the initializers of `model`.
        """
        result = self.quantized.clone()
        held, floats = result.initializers(), self.model.initializers()
        pairs = activation_pairs(result)
        found = scale_arrays(pairs, {group: float(scale.value(arrays).item()) for group, scale in self.scales.items()})
        found |= {name: _like(scale.value(arrays), held[name]) for name, scale in self.weight_scales.items()}
        found |= {name: array for name, array in arrays.items() if name in held}
        result.set_arrays(found)
        result.set_arrays(self._integers(result, arrays, floats))
        biases = {name: np.ravel(arrays.get(mine, floats[mine].values)) for name, mine in self.biases.items()}
        result.set_arrays(fitting_biases(result, biases))
        result.source = None
        return result

    def _integers(self, result: Model, arrays: Arrays, floats: Mapping[str, gs.Constant]) -> dict[str, np.ndarray]:
        found = {}
        for layer in integer_layers(result):
            mine, limit = self.weights[layer.integers], self.limits[layer.integers]
            steps = np.rint(arrays.get(mine, floats[mine].values) / layer.scale)
            like = result.initializers()[layer.integers].values
            found[layer.integers] = np.clip(steps, -limit, limit).astype(like.dtype)
        return found


def fake_quantized(model: Model, weight_bits: Bits) -> FakeQuantized:
    """The floats of a quantized model, to be trained by any loss that is put on it::

        y = DQ(w8) * DQ(Q(x))      ->      y = s_w clip(round(w / s_w)) * s_x clip(round(x / s_x))

    where w, s_w and s_x are learnt. Untrained it is the quantized model, and `learnt` gives that back.

    Args:
        model: Standard ONNX Q/DQ; not changed.
        weight_bits: 2 to 8: learnt integers stay within +-(2^(weight_bits - 1) - 1).

    Raises:
        UsageError: weight_bits is out of its range, or an activation has scales that cannot be learnt.

    Source: Esser, McKinstry, Bablani, Appuswamy, Modha, "Learned Step Size Quantization", ICLR 2020, arXiv:1902.08153,
    sections 2.1 and 2.2. Ours starts from calibrated scales and keeps zero points.
    """
    return _Writer(model, weight_bits).written()


class _Writer:
    def __init__(self, model: Model, bits: Bits) -> None:
        self._quantized, self._model, self._bits = model, model.clone(), bits
        self._graph = self._model.graph
        self._write = StraightThrough(self._graph, Names(self._graph))
        self._limits: dict[str, int] = {}
        self._weights: dict[str, str] = {}
        self._biases: dict[str, str] = {}
        self._moves: dict[str, gs.Constant] = {}

    def written(self) -> FakeQuantized:
        weight_scales = {layer.scales: self._layer(layer) for layer in list(integer_layers(self._model))}
        scales: dict[str, LearntScale] = {}
        for pair in activation_pairs(self._model):
            scales[pair.group] = self._pair(pair, scales.get(pair.group))
        sweep(self._graph)
        self._model.source = None
        return FakeQuantized(
            self._model, self._quantized, self._limits, self._weights, self._biases, weight_scales, scales
        )

    def _layer(self, found: IntegerLayer) -> LearntScale:
        layer, node = found.layer, found.layer.node
        weight = self._write.constant(f"{found.integers}_float", numbers(layer.weight))
        self._weights[found.integers] = weight.name
        limit = self._limits[found.integers] = largest_integer(bits_of(found.node, self._bits))
        share = weight.values.size / found.scale.size
        scale = self._scale(found.scales, np.ravel(found.scale), share * limit)
        shape = list(found.scale.shape)
        factor = self._write.shaped(self._moved(scale, node), shape, where=node)
        node.inputs[layer.place] = self._write.rounded(weight, factor, -limit, limit, where=node)
        if found.bias is not None and layer.operator.bias is not None:
            bias = self._write.constant(f"{found.bias.tensor}_float", numbers(layer.bias))
            node.inputs[layer.operator.bias] = bias
            self._biases[found.bias.tensor] = bias.name
        return scale

    def _pair(self, pair: ActivationPair, known: LearntScale | None) -> LearntScale:
        sizes = [n for n in (pair.data.shape or ())[1:] if isinstance(n, int | np.integer)]
        start = np.array([pair.scale], np.float32)
        scale = known or self._scale(pair.group, start, math.prod(sizes) * (pair.most - pair.least))
        bounds = pair.least - pair.zero_point, pair.most - pair.zero_point
        moved = self._moved(scale, pair.quantize)
        replace_pair(self._graph, pair, self._write.rounded(pair.data, moved, *bounds, where=pair.quantize))
        return scale

    def _scale(self, name: str, start: np.ndarray, weight: float) -> LearntScale:
        """A scale whose gradient counts 1 / sqrt(weight): how many numbers it scales, times their largest integer."""
        move = self._write.constant(f"{name}_move", np.zeros_like(start))
        self._moves[move.name] = move
        return LearntScale(start, float(weight**-0.25), move.name)

    def _moved(self, scale: LearntScale, where: gs.Node) -> gs.Variable:
        """The scale as it is learnt, one number or [O]."""
        write = self._write
        step, start, least = (
            write.constant(f"{scale.move}_{what}", value)
            for what, value in (("step", scale.step), ("start", scale.start), ("least", SMALLEST * scale.start))
        )
        moved = write.op("Add", start, write.op("Mul", self._moves[scale.move], step, where=where), where=where)
        return write.op("Max", moved, least, where=where)


def _like(values: np.ndarray, tensor: gs.Constant) -> np.ndarray:
    return values.reshape(tensor.values.shape).astype(tensor.values.dtype)
