"""A network as a chain of segments: where one ends, a single tensor carries all that comes after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import FrontendError
from pfir.ir.edit import held, is_op, remove_dead
from pfir.ir.linear import linear_layer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.run.session import Session

MOST_IN_A_RUN = 3
"""Layers in a segment without a shortcut: as many as an inverted residual block has."""


@dataclass(frozen=True)
class Segment:
    """A part of a network between two cuts, the same in a quantized model and in its float one.

    Args:
        inputs: The tensors that it reads, by their name in both models: the network's inputs, or the cut before it.
        outputs: The tensor at its end, as its last node writes it, before it is quantized; of the last segment the
            outputs of the network.
        nodes: Names of the float model's nodes in it.
        layers: How many of these multiply by weights.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[str, ...]
    layers: int


def segments(model: Model, reference: Model) -> tuple[Segment, ...]:
    """The segments of a quantized model, from its inputs to its outputs: residual blocks, and runs between them.

    Args:
        model: Standard ONNX Q/DQ.
        reference: The float model that was quantized; tensors that both have bear the same names.
    """
    return tuple(_joined(_smallest(model, reference)))


def between(model: Model, inputs: Sequence[str], outputs: Sequence[str]) -> Model:
    """Another model from these tensors to those, of the nodes on the way alone; its arrays are shared."""
    copy = model.clone()
    copy.source = None
    tensors = copy.graph.tensors()
    if any(tensors[name].dtype is None or tensors[name].shape is None for name in (*inputs, *outputs)):
        infer_shapes(copy)
        tensors = copy.graph.tensors()
    for name in inputs:
        tensors[name].inputs.clear()
        tensors[name].dtype = tensors[name].dtype or np.dtype(np.float32)
    copy.graph.inputs = [tensors[name] for name in inputs]
    copy.graph.outputs = [tensors[name] for name in outputs]
    for tensor in copy.graph.outputs:
        tensor.dtype = tensor.dtype or np.dtype(np.float32)
    remove_dead(copy.graph)
    return copy


def opened(model: Model, inputs: Sequence[str], outputs: Sequence[str]) -> Session:
    """What computes these tensors from those.

    ONNX Runtime 1.19.2's optimizer fails on some parts of a quantized network, though not on the whole; nodes of such a
    part are computed one by one.
    """
    part = between(model, inputs, outputs)
    try:
        return Session(part)
    except FrontendError:
        return Session(part, is_fused=False)


def _smallest(model: Model, reference: Model) -> Iterator[Segment]:
    """A segment from each cut to the next."""
    given = tuple(t.name for t in reference.graph.inputs)
    border = _cuts(model, reference)
    inputs, nodes, layers = given, [], 0
    live = {name: _readers(t) for name, t in ((t.name, t) for t in reference.graph.inputs)}
    for node in reference.nodes():
        nodes.append(node.name)
        layers += linear_layer(node) is not None
        for tensor in {id(t): t for t in node.inputs}.values():
            if tensor.name in live:
                live[tensor.name] -= 1
        live.update((t.name, _readers(t)) for t in node.outputs)
        live = {name: left for name, left in live.items() if left}
        if len(live) == 1 and next(iter(live)) in border - set(inputs):
            (output,) = live
            yield Segment(inputs, (output,), tuple(nodes), layers)
            inputs, nodes, layers = (output,), [], 0
    last = tuple(t.name for t in reference.graph.outputs if t.inputs and t.inputs[0].name in nodes)
    if last:
        yield Segment(inputs, last, tuple(nodes), layers)


def _joined(parts: Iterator[Segment]) -> Iterator[Segment]:
    """Segments of one layer, or none, put together up to the size of a block; the others as they are."""
    run: list[Segment] = []
    for part in parts:
        if run and (part.layers > 1 or sum(p.layers for p in (*run, part)) > MOST_IN_A_RUN):
            yield _one(run)
            run = []
        run.append(part)
        if part.layers > 1:
            yield _one(run)
            run = []
    if run:
        yield _one(run)


def _one(run: Sequence[Segment]) -> Segment:
    nodes = tuple(name for part in run for name in part.nodes)
    return Segment(run[0].inputs, run[-1].outputs, nodes, sum(part.layers for part in run))


def _cuts(model: Model, reference: Model) -> set[str]:
    """The tensors of both models at which a segment may end: the quantized model makes integers of them."""
    tensors, holding = model.graph.tensors(), held(reference.graph)
    named = {t.name for node in reference.nodes() for t in node.outputs} - holding
    return {name for name in named if name in tensors and _is_quantized(tensors[name])}


def _is_quantized(tensor: gs.Tensor) -> bool:
    """Whether integers are made of a tensor wherever it is read, perhaps behind the Clip that simulates few bits."""
    return bool(tensor.outputs) and all(
        is_op(reader, "QuantizeLinear") or (is_op(reader, "Clip") and _is_quantized(reader.outputs[0]))
        for reader in tensor.outputs
    )


def _readers(tensor: gs.Tensor) -> int:
    """How many nodes read a tensor, in bodies too, where none is ever passed: no cut comes behind."""
    return len({id(node) for node in tensor.outputs})
