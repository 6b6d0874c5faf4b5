"""Codebooks with error compensation: what rounding one weight changes, the others of its output make up for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.linear import LinearLayer, plain_layer
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.codebook.books import WeightBooks, rows, unrolled
from pfir.passes.codebook.clustering import nearest
from pfir.passes.pruning.consumer_matrix import ConsumerMatrix
from pfir.passes.quantization.qdq.integer_layers import IntegerBias, own_bias
from pfir.passes.quantization.rounding.compensated import Descent, ridge
from pfir.passes.quantization.rounding.flow import Flow
from pfir.passes.quantization.rounding.goals import goal_of
from pfir.passes.quantization.rounding.layers import matrix_of
from pfir.passes.quantization.rounding.objective import Objective
from pfir.passes.quantization.rounding.rows import Rows, rows_of
from pfir.passes.quantization.rounding.segments import segments

SAMPLES = 512
"""Calibration samples that are looked at, at most."""
ROUNDS = 2
"""Of fitting the codebooks to the places, and choosing the places anew."""
STEPS = 20
"""Most steps of conjugate gradients by which a codebook is fitted: as many as it has values, or enough."""


def compensate(
    model: Model, reference: Model, books: Mapping[str, WeightBooks], context: Context
) -> dict[str, WeightBooks]:
    """Better codebooks and places of those layers where some are found, by name of the layer's node.

    Layer by layer, each reads what the layers before it give by then, and is to give what the float layer gives; its
    bias takes up what is lacking on average.

    Args:
        model: The float model with what the codebooks stand for as weights; it gets the new weights and biases.
        reference: The float model.
        books: Of each layer, by name of its node.
        context: Gives the samples.

    Raises:
        UsageError: There are no samples.

    Source: as of `compensated` of the uniform rounding; van Baalen et al., "GPTVQ: The Blessing of Dimensionality for
    LLM Quantization", 2024, arXiv:2402.15319, section 3.3, for codebooks that are fitted to the layer's output.
    """
    flow, rng = Flow(model, reference, context, SAMPLES), np.random.default_rng(context.seed)
    nodes, floats = ({node.name: node for node in each.nodes()} for each in (model, reference))
    found, waiting = dict[str, WeightBooks](), set(books)
    for segment in segments(model, reference):
        for name in (name for name in segment.nodes if name in books):
            waiting.remove(name)
            task = _task(model, nodes[name], floats[name], books[name])
            if task is not None:
                goal = goal_of(nodes[name], reference, waiting)
                taken = rows_of(task.layer.data.name, goal, task.matrix, segment, flow, rng)
                better = task.improved(task.objective(taken, goal.bounds))
                found |= {} if better is None else {name: better}
        flow.advance(segment)
    return found


@dataclass(frozen=True, eq=False)
class _Task:
    """A layer whose codebooks are to be improved.

    Args:
        model: Where it lies.
        layer: It.
        weight: Its float weights.
        matrix: How it contracts.
        bias: None where it has none that is its alone.
        books: As they are.
    """

    model: Model
    layer: LinearLayer
    weight: np.ndarray
    matrix: ConsumerMatrix
    bias: IntegerBias | None
    books: WeightBooks

    def objective(self, taken: Rows, bounds: tuple[float, float]) -> Objective:
        """Its error on these rows."""
        held = self._bias_values()
        bias = None if held is None or self.bias is None else held * np.float32(self.bias.factor)
        scale = np.ones((1,) * self.weight.ndim, np.float32)
        return Objective(self.weight, scale, self.layer.factor, self.matrix, taken, bounds, bias)

    def improved(self, objective: Objective) -> WeightBooks | None:
        """Codebooks and places by which the layer's error is less, which the model has then; None if none are found."""
        books = self._found(objective)
        now, weight = (self.matrix.matrix(each.values()).astype(np.float32) for each in (self.books, books))
        shift = objective.gap(weight) if self.bias is not None else np.zeros(1, np.float32)
        if not objective.error(weight, shift) < objective.error(now):
            return None
        arrays = {self.layer.weight.name: books.values()}
        held = self._bias_values()
        if self.bias is not None and held is not None:
            values = held + shift / np.float32(self.bias.factor)
            arrays[self.bias.tensor] = self.bias.stored(values, self.model.initializers()[self.bias.tensor].values)
        self.model.set_arrays(arrays)
        return books

    def _bias_values(self) -> np.ndarray | None:
        """float32 [O], before the layer's factor for them; None where it has no bias of its own."""
        return None if self.bias is None else self.bias.values(self.model.initializers()[self.bias.tensor].values)

    def _found(self, objective: Objective) -> WeightBooks:
        second, cross = objective.moments()
        hold = ridge(second, objective.count)
        second, cross = second + hold, cross + objective.weight @ hold
        books = self.books
        values = self._descent(books, second, cross).in_turn()
        for _ in range(ROUNDS):
            values = self._descent(books, second, cross).descended(values)
            books = self._placed(books, values)
            books = books.with_levels(self._levels(books, second, cross))
            values = self.matrix.matrix(books.values())
        return self._placed(books, self._descent(books, second, cross).descended(values))

    def _descent(self, books: WeightBooks, second: np.ndarray, cross: np.ndarray) -> Descent:
        return Descent(second, cross, _Nearest(books, self._by_feature(books)))

    def _by_feature(self, books: WeightBooks) -> np.ndarray | None:
        """Which weights stay zero, bool [G, O, F]; None where none must."""
        if books.zeros is None:
            return None
        return self.matrix.matrix(unrolled(books.zeros, books.axis, books.shape).astype(np.float32)) > 0

    def _placed(self, books: WeightBooks, values: np.ndarray) -> WeightBooks:
        return books.of(self.matrix.weight(values, np.empty(books.shape, np.float32)))

    def _levels(self, books: WeightBooks, second: np.ndarray, cross: np.ndarray) -> np.ndarray:
        """The values of the codebooks by which the error is least with these places, [B, K], zeros kept.

        The error is quadratic in them: conjugate gradients find its least, as far as they come.
        """
        count, size = books.levels.shape
        places = books.places.reshape(count, -1) + size * np.arange(count)[:, None]
        free = np.ones(count * size) if books.zeros is None else (books.levels.ravel() != 0).astype(np.float64)

        def gathered(gradient: np.ndarray) -> np.ndarray:
            weight = self.matrix.weight(gradient, np.empty(books.shape, np.float64))
            return free * np.bincount(places.ravel(), rows(weight, books.axis).ravel(), count * size)

        def spread(levels: np.ndarray) -> np.ndarray:
            weight = unrolled(levels[places].reshape(books.places.shape), books.axis, books.shape)
            return self.matrix.matrix(weight)

        start = books.levels.ravel().astype(np.float64)
        gap = gathered(cross - spread(start) @ second)
        moved = _conjugate_gradients(lambda step: gathered(spread(step) @ second), gap)
        return (start + moved).reshape(count, size)


def _task(model: Model, node: gs.Node, before: gs.Node, books: WeightBooks) -> _Task | None:
    """What is to be improved of a layer; None where its outputs are no products of windows with a matrix.

    Args:
        node, before: Its node, and that of the float model.
    """
    layer, plain = plain_layer(node), plain_layer(before)
    matrix = None if plain is None else matrix_of(plain, books.shape)
    if layer is None or plain is None or matrix is None:
        return None
    return _Task(model, layer, plain.weight.values, matrix, own_bias(layer, books.shape), books)


class _Nearest:
    """The value of a codebook that is nearest to each number of a feature.

    Args:
        books: The codebooks.
        zeros: Which weights stay zero, [G, O, F].
    """

    def __init__(self, books: WeightBooks, zeros: np.ndarray | None) -> None:
        self._levels, self._zeros = books.levels.astype(np.float64), zeros

    def __call__(self, values: np.ndarray, feature: int) -> np.ndarray:
        """Args: values: [G, O], of all outputs; feature: Which one they multiply."""
        by_book = values.reshape(len(self._levels), -1)
        each = zip(self._levels, by_book, strict=True)
        found = np.stack([levels[nearest(levels, x)] for levels, x in each]).reshape(values.shape)
        return found if self._zeros is None else np.where(self._zeros[:, :, feature], 0.0, found)


def _conjugate_gradients(product: Callable[[np.ndarray], np.ndarray], target: np.ndarray) -> np.ndarray:
    """x with product(x) = target, for a symmetric positive operator, as far as a few steps come."""
    x, rest = np.zeros_like(target), target.copy()
    step, energy = rest.copy(), float(rest @ rest)
    for _ in range(min(STEPS, target.size)):
        image = product(step)
        along = float(step @ image)
        if along <= 0 or energy <= 0:
            break
        x, rest = x + energy / along * step, rest - energy / along * image
        new = float(rest @ rest)
        step, energy = rest + new / energy * step, new
    return x
