"""The training graph of a block: soft weights in place of integers, learnt scales of activations, the float output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names, sweep
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.ir.weights import numbers
from pfir.passes.quantization.qdq.activation_pairs import ActivationPair, activation_pairs, replace_pair
from pfir.passes.quantization.qdq.integer_layers import integer_layers
from pfir.passes.quantization.qdq.straight_through import StraightThrough

PREFIX = "pfir_block"


@dataclass(frozen=True)
class BlockGraph:
    """A block as floats, with a loss.

    Args:
        training: Its trainable initializers are those named below; every input is fed.
        weights: Name of the layer's node to the initializer that holds what its weights stand for.
        moves: Group of activation pairs to the initializer that holds by which share their scale has moved.
        kept: Inputs of bool that say which numbers of an activation are quantized, by name, to the activation.
        targets: Input that takes what the float block gives, by name of the block's output.
    """

    training: TrainingGraph
    weights: Mapping[str, str]
    moves: Mapping[str, str]
    kept: Mapping[str, str]
    targets: Mapping[str, str]


def block_graph(block: Model, variances: Mapping[str, float]) -> BlockGraph:
    """The training graph of a block of a Q/DQ model.

    The loss is the mean over outputs of the squared error over the output's variance.

    Args:
        block: From its inputs to its outputs, as `between` gives it; changed.
        variances: By name of the output.
    """
    builder = _Builder(block)
    weights, moves, kept = builder.layers(), *builder.pairs()
    targets = builder.loss(variances)
    block.source = None
    trainable = (*weights.values(), *moves.values())
    return BlockGraph(TrainingGraph(block, PREFIX, trainable), weights, moves, kept, targets)


class _Builder:
    def __init__(self, block: Model) -> None:
        self._model, self._graph, self._names = block, block.graph, Names(block.graph)
        self._write = StraightThrough(block.graph, self._names)
        self._batch = block.graph.inputs[0].shape[0] if block.graph.inputs[0].shape else None

    def layers(self) -> dict[str, str]:
        """Weights and biases become floats; the initializers of the weights, by name of the node."""
        found = {}
        for each in list(integer_layers(self._model)):
            layer = each.layer
            weight = self._write.constant(f"{each.integers}_soft", numbers(layer.weight))
            layer.node.inputs[layer.place] = weight
            if layer.bias is not None and layer.operator.bias is not None:
                bias = self._write.constant(f"{layer.bias.name}_float", numbers(layer.bias))
                layer.node.inputs[layer.operator.bias] = bias
            found[each.node] = weight.name
        return found

    def pairs(self) -> tuple[dict[str, str], dict[str, str]]:
        """Pairs become floats that are quantized here and there; the moves of scales, and the inputs that say where."""
        moves: dict[str, gs.Constant] = {}
        kept = {}
        for pair in activation_pairs(self._model):
            if pair.group not in moves:
                moves[pair.group] = self._write.constant(f"{pair.group}_move", [0.0])
            mask = gs.Variable(self._names.fresh(f"{pair.data.name}_kept"), np.dtype(np.bool_), self._shape(pair.data))
            self._graph.inputs.append(mask)
            kept[mask.name] = pair.data.name
            self._replace(pair, moves[pair.group], mask)
        sweep(self._graph)
        return {group: move.name for group, move in moves.items()}, kept

    def loss(self, variances: Mapping[str, float]) -> dict[str, str]:
        """The mean error over the outputs, the only output from now on; the inputs that take the targets."""
        targets, total = {}, None
        outputs, last = list(self._graph.outputs), self._end()
        for tensor in outputs:
            target = gs.Variable(self._names.fresh(f"{tensor.name}_target"), np.dtype(np.float32), self._shape(tensor))
            self._graph.inputs.append(target)
            targets[tensor.name] = target.name
            gap = self._write.op("Sub", tensor, target, where=last)
            mean = self._write.op("ReduceMean", self._write.op("Mul", gap, gap, where=last), where=last)
            mean.inputs[0].attrs["keepdims"] = 0
            share = self._write.constant(f"{tensor.name}_share", 1 / (len(outputs) * variances[tensor.name]))
            term = self._write.op("Mul", mean, share, where=last)
            total = term if total is None else self._write.op("Add", total, term, where=last)
        last.inputs.append(total)
        self._graph.outputs = list(last.outputs)
        return targets

    def _end(self) -> gs.Node:
        """A node at the end of the graph that writes the loss."""
        loss = gs.Variable(PREFIX, np.dtype(np.float32), [])
        node = gs.Node("Identity", self._names.fresh(f"{PREFIX}_Identity"), {}, [], [loss])
        self._graph.nodes.append(node)
        return node

    def _replace(self, pair: ActivationPair, move: gs.Constant, mask: gs.Variable) -> None:
        write, node, x = self._write, pair.quantize, pair.data
        start = write.constant(f"{node.name}_scale", pair.scale)
        scale = write.op("Add", start, write.op("Mul", start, move, where=node), where=node)
        bounds = pair.least - pair.zero_point, pair.most - pair.zero_point
        rounded = write.rounded(x, scale, *bounds, where=node)
        result = write.op("Where", mask, rounded, x, where=node)
        replace_pair(self._graph, pair, result)

    def _shape(self, tensor: gs.Tensor) -> list | None:
        return None if tensor.shape is None else [self._batch, *tensor.shape[1:]]
