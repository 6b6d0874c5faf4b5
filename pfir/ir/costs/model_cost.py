"""What a model costs: multiply-accumulates, parameters, bytes of weights, bytes of activations, kernels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.artifact import Kernel
from pfir.ir.constants.codebooks import expand_codebooks
from pfir.ir.costs.grouping import Grouping
from pfir.ir.costs.kernels import plan_kernels
from pfir.ir.costs.plans import evaluate, itemsize
from pfir.ir.costs.storage import storage_of
from pfir.ir.costs.symbolic_cost import is_sized, mac_terms, sizes_around
from pfir.ir.edit import held, is_op
from pfir.ir.model import Model
from pfir.ir.onnx_io.sharing import shared_again
from pfir.ir.whole import sized_everywhere


@dataclass(frozen=True)
class Cost:
    """Costs of one run at batch 1 (or the model's fixed batch).

    Args:
        macs: Multiply-accumulates of convolutions and matrix products, those in local functions and bodies included: of
            an If the dearest branch, of a Loop or a Scan every run that is known. Other arithmetic is not counted, as
            is usual.
        parameters: Elements of the weights: constants of a float type or one of at most 8 bits, and quantized biases.
        size_bytes: Their bytes, each tensor once.
        peak_activation_bytes: The most that is alive at once if every tensor is freed after its last use and none is
            computed in place.
    """

    macs: int
    parameters: int
    size_bytes: int
    peak_activation_bytes: int


def model_cost(model: Model) -> Cost:
    """The cost of a model; dynamic sizes are taken as in `fix_sizes`, whose errors it shares."""
    graph = sized_everywhere(model).graph
    shared_again(graph)  # as it is in a file
    size_bytes = sum(storage_of(t).size_bytes(tuple(t.shape)) for t in weights_of(graph))
    expand_codebooks(graph)
    sizes = known_sizes(graph)
    macs = sum(t.value(sizes) for node in graph.nodes for t in mac_terms(node))
    return Cost(macs, sum(_elements(t) for t in weights_of(graph)), size_bytes, _peak_bytes(graph))


def kernels(model: Model, grouping: Grouping | None = None) -> tuple[Kernel, ...]:
    """The kernels of a model in order of execution; dynamic sizes are as in `fix_sizes`, whose errors it shares.

    Args:
        grouping: As for `plan_kernels`.
    """
    graph = sized_everywhere(model).graph
    expand_codebooks(graph)
    sizes = known_sizes(graph)
    return tuple(evaluate(plan, sizes) for plan in plan_kernels(graph, grouping))


def known_sizes(graph: gs.Graph) -> dict[str, tuple[int, ...]]:
    """Tensor name to sizes, for every tensor of which all are known, those in bodies too."""
    sizes = {t.name: tuple(t.shape) for t in weights_of(graph)} | sizes_around(graph.nodes)
    return sizes | {n: tuple(t.shape) for n, t in graph.tensors().items() if is_sized(t)}


def weights_of(graph: gs.Graph) -> list[gs.Constant]:
    """The constants that count as weights, inner graphs included."""
    graphs = [graph, *graph.subgraphs(recursive=True)]
    constants = {n: t for g in graphs for n, t in g.tensors().items() if isinstance(t, gs.Constant)}
    return [t for t in constants.values() if _is_weight(t)]


def _is_weight(tensor: gs.Constant) -> bool:
    dtype = np.dtype(tensor.dtype)
    if dtype.kind in "iu" and dtype.itemsize > 1:
        return any(is_op(node, "DequantizeLinear") and node.inputs[0] is tensor for node in tensor.outputs)
    return dtype.kind in "fViu"


def _elements(tensor: gs.Tensor) -> int:
    return int(np.prod(tensor.shape, dtype=np.int64))


def _peak_bytes(graph: gs.Graph) -> int:
    last = {t.name: i for i, node in enumerate(graph.nodes) for t in node.inputs}
    # What leaves the graph, or feeds a graph inside it, stays.
    last.update({name: len(graph.nodes) for name in held(graph)})
    alive = {t.name: _bytes(t) for t in graph.inputs}
    now = peak = sum(alive.values())
    for i, node in enumerate(graph.nodes):
        for tensor in [t for t in node.outputs if not t.is_empty()]:
            alive[tensor.name] = _bytes(tensor)
            now += alive[tensor.name]
        peak = max(peak, now)
        for tensor in {t.name: t for t in (*node.inputs, *node.outputs)}.values():
            if tensor.name in alive and last.get(tensor.name, i) <= i:
                now -= alive.pop(tensor.name)
    return peak


def _bytes(tensor: gs.Tensor) -> int:
    return _elements(tensor) * itemsize(tensor) if is_sized(tensor) and tensor.dtype is not None else 0
