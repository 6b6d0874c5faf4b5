"""Block by block: roundings and scales learnt together, so that a block gives what the float one gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.base import Context, Steps
from pfir.passes.quantization.qdq.activation_pairs import activation_pairs, scale_arrays
from pfir.passes.quantization.qdq.integer_layers import Bits, fitting_biases, integer_layers
from pfir.passes.quantization.rounding.adam import Adam
from pfir.passes.quantization.rounding.blocks.block_graph import BlockGraph, block_graph
from pfir.passes.quantization.rounding.compensated import compensate
from pfir.passes.quantization.rounding.flow import Arrays, Flow
from pfir.passes.quantization.rounding.layers import QuantizedLayer, quantized_layers
from pfir.passes.quantization.rounding.segments import Segment, between, segments
from pfir.passes.quantization.rounding.soft import Annealing, SoftWeights


@dataclass(frozen=True)
class BlockSettings:
    """How long and how blocks learn.

    Args:
        steps: Of Adam, for each block, >= 1.
        batch: Samples in a step, >= 1.
        rate: Adam's for roundings, > 0.
        scale_rate: Adam's for the scales of activations, as a share of the scale, >= 0; it falls to zero.
        dropped: Share of an activation's numbers that stay as they are in a step, in [0, 1).
        annealing: How weights are made to choose; its weight counts in units of the block's error at first, shared out
            over its weights.
        samples: Calibration samples to take at most, >= 1.
    """

    steps: int = 500
    batch: int = 32
    rate: float = 0.03
    scale_rate: float = 1e-3
    dropped: float = 0.5
    annealing: Annealing = field(default_factory=lambda: Annealing(weight=100.0, warm_share=0.2))
    samples: int = 1024

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "samples"):
            if not getattr(self, name) >= 1:
                raise UsageError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not self.rate > 0 or not self.scale_rate >= 0:
            raise UsageError(f"rates are {self.rate} and {self.scale_rate}; they must be above 0, and at least 0")
        if not 0 <= self.dropped < 1:
            raise UsageError(f"dropped is {self.dropped}; it must be in [0, 1)")


def round_blocks(model: Model, reference: Model, weight_bits: Bits, context: Context) -> tuple[str, ...]:
    """Round with compensation, then reconstruct the blocks, in place; the nodes of the layers that were chosen anew.

    Args and Raises: as `reconstruct_blocks`.
    """
    chosen = compensate(model, reference, weight_bits, context)
    learnt = reconstruct_blocks(model, reference, weight_bits, context)
    return tuple(dict.fromkeys((*chosen, *learnt)))


def reconstruct_blocks(
    model: Model, reference: Model, weight_bits: Bits, context: Context, settings: BlockSettings | None = None
) -> tuple[str, ...]:
    """Choose, in place and in turn, integers and scales of a quantized model's blocks; the nodes of layers in those.

    A block keeps what it has where that is better on the calibration data, or where it has nothing to learn.

    Args:
        model: Standard ONNX Q/DQ, best rounded layer by layer already; names of nodes and of tensors that both models
            have are those of `reference`.
        reference: The float model that was quantized.
        weight_bits: 2 to 8; integers stay within +-(2^(weight_bits - 1) - 1).
        context: Gives the samples, and steps of training.
        settings: See BlockSettings.

    Raises:
        UsageError: weight_bits is out of its range, the context has no samples or cannot train, or an operator of a
            block has no gradient.

    Source: Li et al., "BRECQ: Pushing the Limit of Post-Training Quantization by Block Reconstruction", ICLR 2021,
    arXiv:2102.05426, section 3.2, without the Fisher weights; Wei et al., "QDrop: Randomly Dropping Quantization for
    Extremely Low-bit Post-Training Quantization", ICLR 2022, arXiv:2203.05740, section 3.3, its input mixed likewise.
    Ours starts from the integers that the block has.
    """
    if context.steps is None:
        raise UsageError("rounding by blocks needs training, which this context lacks (--data)")
    settings, rng = settings or BlockSettings(), np.random.default_rng(context.seed)
    layers = quantized_layers(model, reference, weight_bits)
    flow = Flow(model, reference, context, settings.samples)
    chosen: list[str] = []
    for segment in segments(model, reference):
        inside = {name: layers[name] for name in segment.nodes if name in layers}
        if inside:
            chosen += _Block(model, segment, inside, flow, settings, rng).reconstruct(context.steps)
        flow.advance(segment)
    return tuple(chosen)


class _Block:
    def __init__(
        self,
        model: Model,
        segment: Segment,
        layers: Mapping[str, QuantizedLayer],
        flow: Flow,
        settings: BlockSettings,
        rng: np.random.Generator,
    ) -> None:
        self._model, self._segment, self._layers, self._flow = model, segment, layers, flow
        self._settings, self._rng = settings, rng
        parts = list(flow.floats(segment, segment.outputs))
        self._wanted = {name: np.concatenate([part[name] for part in parts]) for name in segment.outputs}
        self._variances = {name: max(float(y.var()), 1e-12) for name, y in self._wanted.items()}

    def reconstruct(self, steps: Callable[..., Steps]) -> tuple[str, ...]:
        """Learn, and keep what was learnt if it is better; the nodes of the block's layers then."""
        before = self._error()
        held = {name: tensor.values for name, tensor in self._model.initializers().items()}
        self._model.set_arrays(self._learnt(steps, before))
        if self._error() < before:
            return tuple(self._layers)
        self._model.set_arrays(held)
        return ()

    def _error(self) -> float:
        """The error of the block as it is, relative to the variance of what it should give."""
        total, at = 0.0, 0
        for part in self._flow.quantized(self._segment, self._segment.outputs):
            for name, y in part.items():
                gap = np.square(y - self._wanted[name][at : at + len(y)]).sum(dtype=np.float64)
                total += float(gap) / (self._wanted[name].size * self._variances[name])
            at += len(next(iter(part.values())))
        return total / len(self._segment.outputs)

    def _learnt(self, make: Callable[..., Steps], error: float) -> Arrays:
        """The initializers of the block after training."""
        block = between(self._model, self._segment.inputs, self._segment.outputs)
        graph = block_graph(block, self._variances)
        batches = _Batches(graph, self._flow, self._wanted, self._settings, self._rng)
        layers = {n: x for n, x in self._layers.items() if n in graph.weights}
        soft = {name: self._soft(layer) for name, layer in layers.items()}
        moves = {group: np.zeros(1, np.float32) for group in graph.moves}
        self._train(make(graph.training, batches.next()), graph, batches, soft, moves, error)
        return self._arrays(soft, moves)

    def _soft(self, layer: QuantizedLayer) -> SoftWeights:
        start = np.asarray(self._model.initializers()[layer.own.integers].values, np.float32)
        return SoftWeights(layer.weight, layer.own.scale, layer.limit, start)

    def _train(
        self,
        steps: Steps,
        graph: BlockGraph,
        batches: _Batches,
        soft: Mapping[str, SoftWeights],
        moves: Mapping[str, np.ndarray],
        error: float,
    ) -> None:
        settings, annealing = self._settings, self._settings.annealing
        pull = annealing.weight * error / sum(x.values.size for x in soft.values())
        adams = {group: Adam((1,)) for group in moves}
        for step in range(settings.steps):
            progress = step / settings.steps
            arrays = {graph.weights[name]: x.values for name, x in soft.items()}
            arrays |= {graph.moves[group]: move for group, move in moves.items()}
            _, gradients = steps(arrays, batches.next())
            for name, weights in soft.items():
                weights.step(gradients[graph.weights[name]], settings.rate, annealing.beta(progress), pull)
            for group, move in moves.items():
                rate = settings.scale_rate * 0.5 * (1 + np.cos(np.pi * progress))
                adams[group].step(move, gradients[graph.moves[group]], rate)

    def _arrays(self, soft: Mapping[str, SoftWeights], moves: Mapping[str, np.ndarray]) -> Arrays:
        """Integers, scales and biases of the whole model as they were learnt."""
        model, held = self._model.clone(), self._model.initializers()
        pairs = activation_pairs(model)
        scales = {pair.group: pair.scale * (1 + float(moves[pair.group][0])) for pair in pairs if pair.group in moves}
        arrays = scale_arrays(pairs, scales)
        for name, weights in soft.items():
            integers = self._layers[name].own.integers
            arrays[integers] = weights.integers.astype(held[integers].values.dtype)
        biases = [layer.bias for layer in integer_layers(model) if layer.bias is not None]
        values = {bias.tensor: bias.values(held[bias.tensor].values) for bias in biases}
        model.set_arrays(arrays)
        return arrays | fitting_biases(model, values)


class _Batches:
    """Random batches of what a block's training graph is fed."""

    def __init__(
        self,
        graph: BlockGraph,
        flow: Flow,
        wanted: Arrays,
        settings: BlockSettings,
        rng: np.random.Generator,
    ) -> None:
        self._graph, self._flow, self._wanted, self._rng = graph, flow, wanted, rng
        self._share = 1 - settings.dropped
        self._count = len(next(iter(flow.ours.values())))
        self._size = min(settings.batch, self._count)
        shapes = {t.name: t.shape for t in graph.training.model.graph.inputs}
        self._masks = {name: (self._size, *shapes[name][1:]) for name in graph.kept}

    def next(self) -> Arrays:
        rows = self._rng.choice(self._count, self._size, replace=False)
        feeds = {graph_input: self._wanted[name][rows] for name, graph_input in self._graph.targets.items()}
        for name, ours in self._flow.ours.items():
            mine, theirs = ours[rows], self._flow.theirs[name][rows]
            feeds[name] = np.where(self._chosen(mine.shape), mine, theirs)
        return feeds | {name: self._chosen(shape) for name, shape in self._masks.items()}

    def _chosen(self, shape: tuple[int, ...]) -> np.ndarray:
        """Which numbers are quantized, bool."""
        return self._rng.random(shape, np.float32) < self._share
