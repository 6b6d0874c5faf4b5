"""Weights that a model keeps as numbers of few bits, each the place of its value in a codebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.coupling.bodies import every_graph
from pfir.ir.edit import array, is_op, producer, remove_dead, to_constant
from pfir.ir.onnx_io.tensors import numpy_dtype

MOST_PLACES = 8
"""In a byte: a place has a bit at least. A graph that makes more of its constants is left as it is."""


@dataclass(frozen=True, eq=False)
class CodebookWeight:
    """A tensor that a Gather takes out of a codebook, at places that depend on no input.

    Args:
        tensor: The weight.
        gather: The node that reads the codebook; Reshape and Transpose may stand between it and the tensor.
        packed: The constant of eight-bit integers that holds the places.
        places: Of each weight in the codebook, integers in the shape that the Gather reads.
        values: The weights.
    """

    tensor: gs.Variable
    gather: gs.Node
    packed: gs.Constant
    places: np.ndarray
    values: np.ndarray

    @property
    def book(self) -> gs.Constant:
        """The codebook, or several one behind the other."""
        return self.gather.inputs[0]

    @property
    def bits(self) -> float:
        """Bits of a weight in the file, the codebook left out."""
        return float(8 * self.packed.values.nbytes / max(self.places.size, 1))


def codebook_weight(tensor: gs.Tensor | None) -> CodebookWeight | None:
    """The tensor as a weight out of a codebook; None of any other.

    Nobody else may read what lies between it and its constants.
    """
    if tensor is None:
        return None
    way = _steps_before(tensor, "Reshape", "Transpose")
    gather = producer(way[-1].inputs[0] if way else tensor)
    if gather is None or not is_op(gather, "Gather") or not all(_is_alone(n.inputs[0]) for n in way):
        return None
    steps = _steps_before(gather.inputs[1], *_UNPACKING)
    packed = steps[-1].inputs[0] if steps else None
    if not _is_packed(packed) or not all(_is_alone(n.outputs[0]) for n in steps):
        return None
    places = _computed(packed.values, steps, MOST_PLACES * packed.values.size)
    values = None if places is None else _computed(_taken(gather, places), way, places.size)
    return None if values is None else CodebookWeight(tensor, gather, packed, places, values)


def codebook_weights(graph: gs.Graph) -> Iterator[CodebookWeight]:
    """Those that nodes of a graph and of its bodies read, in the order of the nodes, each once."""
    seen: set[int] = set()
    for node in [node for each in every_graph(graph) for node in each.nodes]:
        for tensor in node.inputs if not is_op(node, "Reshape", "Transpose") else ():
            found = None if id(tensor) in seen or not tensor.inputs else codebook_weight(tensor)
            if found is not None:
                seen.add(id(tensor))
                yield found


def expand_codebooks(graph: gs.Graph) -> int:
    """Make initializers of weights out of codebooks, under the same names; how many there were."""
    found = list(codebook_weights(graph))
    for weight in found:
        to_constant(weight.tensor, np.ascontiguousarray(weight.values))
    for each in every_graph(graph) if found else ():
        remove_dead(each)
    return len(found)


def decoding_nodes(graph: gs.Graph) -> set[int]:
    """The nodes, by `id`, that take weights out of codebooks."""
    found: set[int] = set()
    for weight in codebook_weights(graph):
        way = _steps_before(weight.tensor, "Reshape", "Transpose")
        found |= {id(node) for node in (*way, weight.gather, *_steps_before(weight.gather.inputs[1], *_UNPACKING))}
    return found


def _steps_before(tensor: gs.Tensor, *ops: str) -> list[gs.Node]:
    """The nodes of these operators that make a tensor of their first inputs, the last one first."""
    found: list[gs.Node] = []
    node = producer(tensor)
    while node is not None and is_op(node, *ops) and len(node.outputs) == 1:
        found.append(node)
        node = producer(node.inputs[0])
    return found


def _is_alone(tensor: gs.Tensor) -> bool:
    return len(tensor.outputs) == 1


def _is_packed(tensor: gs.Tensor | None) -> bool:
    """Whether it is a constant of eight-bit integers with one reader."""
    return isinstance(tensor, gs.Constant) and np.dtype(tensor.dtype) == np.uint8 and _is_alone(tensor)


def _taken(gather: gs.Node, places: np.ndarray) -> np.ndarray | None:
    """What a Gather takes out of a codebook; None where it reads anything else, or beyond its end."""
    book = array(gather.inputs[0])
    if book is None or book.ndim != 1 or book.dtype.kind != "f" or gather.attrs.get("axis", 0):
        return None
    is_inside = places.dtype.kind == "i" and (not places.size or 0 <= places.min() <= places.max() < book.size)
    return book[places] if is_inside else None


def _computed(x: np.ndarray | None, steps: list[gs.Node], most: int) -> np.ndarray | None:
    """What nodes make of an array, the last one first; None where one is of no form known here, or makes too many."""
    for node in reversed(steps):
        others = [array(t) for t in node.inputs[1:]]
        if x is None or any(other is None for other in others):
            return None
        try:
            fits = node.op not in _ELEMENTWISE or np.broadcast(x, *others).size <= most
            x = _RULES[node.op](node, x, *others) if fits else None
        except (TypeError, ValueError):  # Sizes that do not go together: ONNX Runtime says so to whoever runs it.
            return None
    return x


def _cast(node: gs.Node, x: np.ndarray) -> np.ndarray:
    to = node.attrs.get("to")
    return x.astype(numpy_dtype(to) if isinstance(to, int) else np.dtype(to))


def _shifted(node: gs.Node, x: np.ndarray, steps: np.ndarray) -> np.ndarray | None:
    return x >> steps if node.attrs.get("direction") in ("RIGHT", b"RIGHT") else None


def _first_ones(
    node: gs.Node, x: np.ndarray, start: np.ndarray, end: np.ndarray, *rest: np.ndarray
) -> np.ndarray | None:
    """The first so many of a vector."""
    del rest
    return None if x.ndim != 1 or start.any() or end.size != 1 or int(end.ravel()[0]) < 0 else x[: int(end.ravel()[0])]


_RULES: dict[str, Callable[..., np.ndarray | None]] = {
    "Add": lambda node, x, y: x + y,
    "BitShift": _shifted,
    "Cast": _cast,
    "MatMul": lambda node, x, y: x @ y if y.ndim == 1 else None,
    "Mod": lambda node, x, y: x % y if y.all() else None,
    "Reshape": lambda node, x, shape: x.reshape(tuple(int(size) for size in shape)) if shape.all() else None,
    "Slice": _first_ones,
    "Transpose": lambda node, x: x.transpose(node.attrs.get("perm")),
}
_ELEMENTWISE = ("Add", "BitShift", "Mod")
_UNPACKING = ("Add", "BitShift", "Cast", "MatMul", "Mod", "Reshape", "Slice")
