"""Integers of eight bits as the target's instructions take them: signed on Arm, unsigned on x86, channels last.

The zero points of a model's QuantizeLinear and DequantizeLinear nodes shift by 128, and the integers with them.
"""

# ruff: noqa: SIM905  (a list of operators reads best as words)
from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.lowering.quantized.nodes import EIGHT_BITS, quantization_of, type_of
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.ir.edit import Names, held, is_op, set_input

_SHIFT = 128
# Integers go elsewhere, or the largest one is taken.
_MOVES = frozenset(
    "Concat DepthToSpace Expand Flatten Gather Identity MaxPool Reshape Slice SpaceToDepth Split Squeeze Transpose "
    "Unsqueeze".split()
)


def store_as(graph: gs.Graph, dtype: str) -> None:
    """Let the integers of eight bits between nodes that make and read them be of this type, all that are joined by
    moves together; those that something else makes or reads stay."""
    kept, names = held(graph) | {tensor.name for tensor in graph.inputs}, Names(graph)
    for tensors in _joined(graph):
        if type_of(tensors[0]) == dtype or any(tensor.name in kept for tensor in tensors):
            continue
        nodes = list({id(node): node for tensor in tensors for node in (*tensor.inputs, *tensor.outputs)}.values())
        ends = [node for node in nodes if not is_op(node, *_MOVES)]
        if all(quantization_of(node) is not None for node in ends) and not _others(nodes, tensors):
            for node in ends:
                _shift(node, dtype, names)
            for tensor in tensors:
                tensor.dtype = np.dtype(dtype)


def is_for_layers(tensor: gs.Tensor) -> bool:
    """Whether a convolution reads these integers, of so many channels that it wants those side by side."""
    integers = type_of(tensor) in EIGHT_BITS and int(tensor.shape[1]) >= FEWEST_LANES
    readers = (reader for node in tensor.outputs for result in node.outputs for reader in result.outputs)
    return integers and any(reader.op == "Conv" for reader in readers)


def _joined(graph: gs.Graph) -> Iterable[list[gs.Tensor]]:
    """The tensors of eight bits, those together that moves join."""
    variables = [t for node in graph.nodes for t in node.outputs if type_of(t) in EIGHT_BITS]
    group = {t.name: [t] for t in variables}
    for node in graph.nodes:
        if not is_op(node, *_MOVES):
            continue
        first, *others = [t for t in (*node.inputs, *node.outputs) if t.name in group] or [None]
        for tensor in others:
            if group[tensor.name] is not group[first.name]:
                group[first.name] += group[tensor.name]
                group |= dict.fromkeys([t.name for t in group[tensor.name]], group[first.name])
    return list({id(tensors): tensors for tensors in group.values()}.values())


def _others(nodes: list[gs.Node], tensors: list[gs.Tensor]) -> bool:
    """Whether moves read further integers of eight bits: constants, or inputs of the graph."""
    known = {tensor.name for tensor in tensors}
    read = [tensor for node in nodes if is_op(node, *_MOVES) for tensor in node.inputs]
    return any(type_of(tensor) in EIGHT_BITS and tensor.name not in known for tensor in read)


def _shift(node: gs.Node, dtype: str, names: Names) -> None:
    """Let a node make or read integers of the other type."""
    point = quantization_of(node).zero_point + (_SHIFT if dtype == "uint8" else -_SHIFT)
    set_input(node, 2, gs.Constant(names.fresh(f"{node.name}_zero_point"), np.array(point, dtype)))
    node.attrs.pop("output_dtype", None)
