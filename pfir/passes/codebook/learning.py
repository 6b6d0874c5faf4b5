"""A model with codebooks whose values can be trained, and the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from pfir.ir.constants.codebooks import CodebookWeight, codebook_weights
from pfir.ir.edit import Names, remove_dead
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.quantization.qdq.straight_through import StraightThrough

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class LearntBook:
    """A codebook that moves from where it was: start + step * move, move an initializer of zeros at first.

    A value's gradient is the sum of those of all weights that have it. A step is the root of one over how many these
    are: plain gradient descent on the move then moves the value by the mean of its weights' gradients.

    Args:
        start: float32 [K].
        step: float32 [K].
        move: The name of the initializer.
    """

    start: np.ndarray
    step: np.ndarray
    move: str

    def values(self, arrays: Arrays) -> np.ndarray:
        """The codebook where the move has the value given by name, or none; a value of zero stays."""
        moved = self.start + self.step * arrays.get(self.move, np.zeros_like(self.start))
        return np.where(self.start == 0, 0, moved).astype(np.float32)


@dataclass(frozen=True, eq=False)
class LearntCodebooks:
    """A model with codebooks as one that can be trained.

    Args:
        model: Inputs, outputs and function are those of `coded`.
        coded: What it was made of.
        books: By name of the initializer of a codebook.
    """

    model: Model
    coded: Model
    books: Mapping[str, LearntBook]

    def training(self, graph: TrainingGraph) -> TrainingGraph:
        """A training graph that a rewrite made of `model`, in which codebooks are trainable."""
        moves = (book.move for book in self.books.values())
        return replace(graph, trainable=tuple(dict.fromkeys((*graph.trainable, *moves))))

    def learnt(self, arrays: Arrays) -> Model:
        """Another model with codebooks, with what was learnt; what is not given stays as it was.

        Args:
            arrays: By name of the initializers of `model`.
        """
        result = self.coded.clone()
        held = result.initializers()
        result.set_arrays({name: array for name, array in arrays.items() if name in held and name not in self.books})
        result.set_arrays({name: book.values(arrays) for name, book in self.books.items()})
        result.source = None
        return result


def learnable(model: Model) -> LearntCodebooks:
    """The model with codebooks that move, their places known::

        W = Gather(codebook, unpacked(bytes))      ->      W = Gather(start + step * move, places)

    Args:
        model: With weights out of codebooks; not changed.

    Source: Han, Mao, Dally, "Deep Compression", ICLR 2016, arXiv:1510.00149, section 3.3, for the gradient.
    """
    copy = model.clone()
    write, books = StraightThrough(copy.graph, Names(copy.graph)), {}
    for weight in list(codebook_weights(copy.graph)):
        name = weight.book.name
        books[name] = _moving(weight, write)
    remove_dead(copy.graph)
    copy.source = None
    return LearntCodebooks(copy, model, books)


def _moving(weight: CodebookWeight, write: StraightThrough) -> LearntBook:
    name, start, gather = weight.book.name, np.asarray(weight.book.values, np.float32), weight.gather
    counts = np.maximum(np.bincount(weight.places.ravel(), minlength=start.size), 1)
    step = (1 / np.sqrt(counts)).astype(np.float32)
    move, scale, origin = (
        write.constant(f"{name}_{what}", values)
        for what, values in (("move", np.zeros_like(start)), ("step", step), ("start", start))
    )
    moved = write.op("Add", origin, write.op("Mul", move, scale, where=gather), where=gather)
    places = gs.Constant(f"{name}_places", weight.places.astype(np.int64))
    gather.inputs[0], gather.inputs[1] = moved, places
    return LearntBook(start, step, move.name)
