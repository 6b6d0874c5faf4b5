"""Constants that several nodes read: one for each use where nothing is meant by it, one for all in a file."""

# ruff: noqa: SIM905  (a list of operators reads best as words)
from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.edit import Names
from pfir.ir.onnx_io.metadata import note_origin, origin_of
from pfir.ir.operators.table import operator_of

# Above it a constant of several axes is a mask or a table, of which copies would cost more than they free.
_MOST_ELEMENTS = 4096
_POSITION_BY_POSITION = frozenset(
    "Add BiasGelu Div GroupNormalization InstanceNormalization LayerNormalization Max Mean Min Mul PRelu Pow Sub Sum "
    "SkipLayerNormalization Where LSTM GRU RNN".split()
)
"""Operators whose other inputs are addends, factors, slopes and states, however many axes they have."""

_Use = tuple[gs.Node, int]

_TURNS = frozenset("Cast DequantizeLinear Expand Flatten Identity Reshape Squeeze Transpose Unsqueeze".split())
"""Operators that hand on a vector of weights in another form."""


def separate_constants(graph: gs.Graph) -> int:
    """Biases, factors and their like that several uses share become one constant a use; how many were added.

    A constant that is shared couples the layers that read it, which a bias of zeros for all of them is not meant to.
    The copies share their array, and `shared_again` makes those one again that are equal. Kernels and tables stay
    shared, and so does what has a single element, or what other weights are computed from.
    """
    inner = _made_of_weights(graph)
    held = {id(t) for each in _graphs(graph) for t in each.outputs}
    names, count = None, 0
    for tensor, uses in _uses(graph):
        able = [(n, i) for n, i in uses if _is_copied(tensor, n, i) and (id(n) not in inner or _turns(tensor, n))]
        alone = len(able) == len(uses) and id(tensor) not in held
        for node, place in able[1 if alone else 0 :]:
            names = names or Names(graph)
            note_origin(tensor, tensor.name)
            node.inputs[place] = gs.Constant(names.fresh(tensor.name), tensor._values, tensor.data_location)
            note_origin(node.inputs[place], origin_of(tensor))
            count += 1
    return count


def shared_again(graph: gs.Graph) -> int:
    """Constants that came as one and are still equal become one again; how many went."""
    held = {id(t) for each in _graphs(graph) for t in each.outputs}
    first: dict[tuple, gs.Constant] = {}
    count = 0
    for tensor, uses in _uses(graph):
        if origin_of(tensor) is None or id(tensor) in held:
            continue
        values = np.asarray(tensor.values)
        kept = first.setdefault((origin_of(tensor), values.dtype.str, values.shape, values.tobytes()), tensor)
        if kept is tensor:
            continue
        count += 1
        for node, place in uses:
            node.inputs[place] = kept
    return count


def _graphs(graph: gs.Graph) -> list[gs.Graph]:
    return [graph, *graph.subgraphs(recursive=True)]


def _uses(graph: gs.Graph) -> Iterator[tuple[gs.Constant, list[_Use]]]:
    """Every constant with the inputs that read it, in the order of the nodes, bodies behind the graph around them."""
    found: dict[int, tuple[gs.Constant, list[_Use]]] = {}
    for each in _graphs(graph):
        for node in each.nodes:
            for place, tensor in enumerate(node.inputs):
                if isinstance(tensor, gs.Constant):
                    found.setdefault(id(tensor), (tensor, []))[1].append((node, place))
    yield from found.values()


def _made_of_weights(graph: gs.Graph) -> set[int]:
    """The nodes that read nothing but constants, and what such nodes make of them."""
    made: set[int] = set()
    for node in (n for each in _graphs(graph) for n in each.nodes):
        given = [t for t in node.inputs if not t.is_empty()]
        if given and all(isinstance(t, gs.Constant) or (t.inputs and id(t.inputs[0]) in made) for t in given):
            made.add(id(node))
    return made


def _turns(tensor: gs.Constant, node: gs.Node) -> bool:
    return node.op in _TURNS and _wide_axes(tensor) == 1


def _wide_axes(tensor: gs.Constant) -> int:
    return sum(n > 1 for n in tensor.shape)


def _kernels(node: gs.Node) -> tuple[int, ...]:
    """Inputs that hold a kernel, or the rows of a table: one that is used twice is tied on purpose, and stays so."""
    operator = operator_of(node)
    return () if operator is None else operator.kernels


def _is_copied(tensor: gs.Constant, node: gs.Node, place: int) -> bool:
    """Whether this use is no kernel and no setting of the node, and the constant has something to lose."""
    dtype, wide = np.dtype(tensor.dtype), _wide_axes(tensor)
    number = dtype.kind in "fV" or (dtype.kind in "iu" and dtype.itemsize < 8)
    if not number or not wide or node.op == "Einsum" or place in _kernels(node):
        return False
    small = int(np.prod(tensor.shape)) <= _MOST_ELEMENTS
    return wide == 1 or (small and node.op in _POSITION_BY_POSITION)
