"""Quantization of weights to the few numbers of a codebook, wherever these lie: a file of a few bits a weight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs

from pfir.errors import Infeasible, UsageError
from pfir.ir.checking.verify import check_finite
from pfir.ir.constants.codebooks import codebook_weight
from pfir.ir.edit import Names
from pfir.ir.linear import linear_layers
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Activations, Change, Context, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.bits.choice import Layers, bits_on_average
from pfir.passes.bits.importance import importances
from pfir.passes.bits.searched import AVERAGE_BITS, average_space
from pfir.passes.codebook.books import WeightBooks, fitted
from pfir.passes.codebook.clustering import STARTS
from pfir.passes.codebook.compensated import compensate
from pfir.passes.codebook.encoding import FIRST_WITH_BIT_SHIFT, Encoder
from pfir.passes.quantization.opset import lift_opset
from pfir.passes.quantization.placement import layers_of
from pfir.passes.simplification.simplify import Simplify
from pfir.space import Space

BITS = range(1, 9)
"""The bits that a weight may have."""
WEIGHTINGS = ("hessian", "none")
ROUNDINGS = ("nearest", "compensated")
NODES_BYTES = 800
"""About what the nodes of a decoding take in a file."""


@dataclass(frozen=True)
class QuantizeCodebook(Pass):
    """Give each weight one of the few values of a codebook, and store which one in a few bits.

    Rewrite of a layer, where the places are unpacked from bytes when the model is loaded::

        y = W x      ->      y = Reshape(Gather(codebook, places)) x

    The model is simplified and BatchNormalization folded first. Layers are Conv, ConvTranspose, Gemm and MatMul with
    constant float32 weights in the main graph; activations and biases stay float. Weights that are zero stay zero.
    Layers that would be no smaller stay as they are, and so do those that are to be kept. A second run changes nothing.

    Args:
        bits: 1 to 8, of each weight; None leaves alone what `layer_bits` does not name, and without `layer_bits` and
            `average_bits` leaves bits to a search.
        average_bits: Bits of a weight on average over all layers, 1 to 8; each layer gets those that are worth most to
            the outputs on calibration data. None takes `bits` everywhere.
        layer_bits: Bits of layers by name of their node, in place of both.
        channels: Output channels that share a codebook, at most; 0 lets all of a layer.
        start: Where the values begin: kmeans, which is the best choice of all where it can be found, or quantile.
        weighting: What the error of a weight counts: hessian, by the inputs that it multiplies on calibration data, as
            far as there is some, or none.
        rounding: nearest, or compensated, by which the others of an output make up for each weight, and codebooks are
            fitted to what layers give on calibration data.

    Raises:
        UsageError: A field is out of its range, there is no data where it is needed, or no node of a name.
        FrontendError: A weight is NaN or infinite, or the opset is below 11 and cannot be lifted.
        DataError: The calibration data is too little, or gives NaN.
        Infeasible: The model has no layer whose weights may be in a codebook.

    Source: Han, Mao, Dally, "Deep Compression", ICLR 2016, arXiv:1510.00149, section 3, for shared weights.
    """

    name: ClassVar[str] = "quantize-codebook"
    compresses: ClassVar[bool] = True

    bits: int | None = 4
    average_bits: float | None = None
    layer_bits: tuple[tuple[str, int], ...] = ()
    channels: int = 0
    start: str = "kmeans"
    weighting: str = "hessian"
    rounding: str = "nearest"

    def __post_init__(self) -> None:
        given: list[tuple[str, float | None]] = [("bits", self.bits), ("average_bits", self.average_bits)]
        given += [(f"layer_bits of {name}", bits) for name, bits in self.layer_bits]
        for label, bits in ((label, bits) for label, bits in given if bits is not None):
            if not min(BITS) <= bits <= max(BITS):
                raise UsageError(f"{label} is {bits}; it must be 1 to 8")
        for label, value, known in (
            ("start", self.start, STARTS),
            ("weighting", self.weighting, WEIGHTINGS),
            ("rounding", self.rounding, ROUNDINGS),
        ):
            if value not in known:
                raise UsageError(f"{label} is {value}; it must be one of {', '.join(known)}")
        if self.channels < 0:
            raise UsageError(f"channels is {self.channels}; it must be at least 0")

    @property
    def is_open(self) -> bool:
        return self.bits is None and self.average_bits is None and not self.layer_bits

    def opened(self) -> QuantizeCodebook:
        return replace(self, bits=None, average_bits=None, layer_bits=())

    def space(self, model: Model, context: Context) -> Space:
        """One parameter, the bits on average, where they are left to a search."""
        del model, context
        return average_space() if self.is_open else Space()

    def with_parameters(self, parameters: Mapping[str, float]) -> QuantizeCodebook:
        return replace(self, average_bits=parameters[AVERAGE_BITS])

    @property
    def choices(self) -> Sequence[int]:
        """The bits that a layer may have."""
        return BITS

    def rounded(self, layer: EditableLayer, bits: int) -> np.ndarray:
        """The weight of a layer as so many bits hold it, told from itself alone."""
        alike = np.ones(layer.weight.shape)
        return fitted(layer.weight, layer.layer.output_axis, bits, alike, self.channels, self.start).values()

    def apply(self, model: Model, context: Context) -> Change:
        if self.is_open:
            raise UsageError(f"{self.name} needs one of the fields bits, average_bits and layer_bits")
        check_finite(model)
        start = _prepared(model, context)
        layers = {name: layer for name, layer in layers_of(start).items() if name not in _left_by_user(model, context)}
        for name, _ in self.layer_bits:
            if name not in layers:
                raise UsageError(f"layer_bits names {name}, which is no layer that may have a codebook")
        if not layers:
            return _nothing_to_do(model)
        work = _Work(self, context, start, layers)
        books, dense = work.books(), work.dense
        if not books:
            return Change(False, ("no layer would be smaller with a codebook",))
        write(dense, books)
        model.graph, model.ir_version = dense.graph, dense.ir_version
        return Change(True, work.notes(books))


class _Work:
    """The steps from a float model to codebooks, and what they found.

    Args:
        start: The float model, simplified and folded; it is not changed.
        layers: Its layers that may have codebooks, by name of the node.

    Attributes:
        dense: The model with what the codebooks stand for, as floats.
    """

    def __init__(
        self, chosen: QuantizeCodebook, context: Context, start: Model, layers: Mapping[str, EditableLayer]
    ) -> None:
        self._pass, self._context, self._start, self._layers = chosen, context, start, layers
        self.dense = start.clone()
        self._fitted: dict[tuple[str, int], WeightBooks] = {}
        self._improved = 0
        samples = (context.activations or context.generated) if chosen.weighting == "hessian" else None
        self._importance = importances(start, layers, samples)

    def books(self) -> dict[str, WeightBooks]:
        """The codebooks of all layers that are smaller with them, by name of the node."""
        bits = self._bits()
        found = {name: self._book(name, count) for name, count in bits.items()}
        found = {name: books for name, books in found.items() if _is_worth(books)}
        weights = {self._layers[name].layer.weight.name: books.values() for name, books in found.items()}
        self.dense.set_arrays(weights)
        if self._pass.rounding == "compensated" and found:
            better = compensate(self.dense, self._start, found, replace(self._context, activations=self._samples()))
            found, self._improved = found | better, len(better)
        return found

    def notes(self, books: Mapping[str, WeightBooks]) -> tuple[str, ...]:
        """What a user should know."""
        sizes = {name: self._layers[name].weight.size for name in books}
        average = sum(each.bits * sizes[name] for name, each in books.items()) / sum(sizes.values())
        said = [f"{len(books)} of {len(self._layers)} layers, {average:.2f} bits a weight on average"]
        counts = {name: each.bits for name, each in books.items()}
        if len(set(counts.values())) > 1:
            said.append("bits by layer: " + ", ".join(f"{name} {bits}" for name, bits in counts.items()))
        if self._pass.rounding == "compensated":
            said.append(f"{self._improved} layers rounded by compensated")
        return tuple(said)

    def _bits(self) -> dict[str, int]:
        fixed = dict(self._pass.layer_bits)
        found = {} if self._pass.bits is None else dict.fromkeys(self._layers, self._pass.bits)
        if self._pass.average_bits is not None:
            given = Layers(self._start, self._layers, self._importance, self._rounded, BITS)
            found = bits_on_average(given, self._pass.average_bits, self._samples())
        return found | fixed

    def _rounded(self, name: str, bits: int) -> np.ndarray:
        return self._book(name, bits).values()

    def _book(self, name: str, bits: int) -> WeightBooks:
        if (name, bits) not in self._fitted:
            layer, chosen = self._layers[name], self._pass
            given = layer.weight, layer.layer.output_axis, bits, self._importance[name]
            self._fitted[name, bits] = fitted(*given, chosen.channels, chosen.start)
        return self._fitted[name, bits]

    def _samples(self) -> Activations:
        found = self._context.activations or self._context.generated
        if found is None:
            raise UsageError("average_bits and rounding=compensated need calibration data, and none was given (--data)")
        return found


def write(model: Model, books: Mapping[str, WeightBooks]) -> None:
    """Give layers their weights out of codebooks, in place.

    Args:
        model: Float, of opset 11 or newer.
        books: By name of the layer's node.
    """
    encoder, names, layers, nodes = Encoder(model.graph), Names(model.graph), layers_of(model), []
    for node in model.graph.nodes:
        if node.name in books:
            layer = layers[node.name].layer
            made, weight = encoder.write(_free_name(layer.weight, names), books[node.name])
            node.inputs[layer.place] = weight
            nodes += made
        nodes.append(node)
    model.graph.nodes = nodes
    infer_shapes(model)


def _free_name(weight: gs.Tensor, names: Names) -> str:
    """The weight's own name, which is free once its only reader reads it no more, or one like it."""
    return str(weight.name) if len(weight.outputs) == 1 else names.fresh(weight.name)


def _is_worth(books: WeightBooks) -> bool:
    """Whether a file is smaller with the codebooks than with floats."""
    return books.levels.nbytes + books.places.size * books.bits / 8 + NODES_BYTES < 4 * books.places.size


def _prepared(model: Model, context: Context) -> Model:
    copy = model.clone()
    Simplify().apply(copy, context)
    FoldBatchNorm().apply(copy, context)
    lift_opset(copy, FIRST_WITH_BIT_SHIFT)
    infer_shapes(copy)
    return copy


def _left_by_user(model: Model, context: Context) -> set[str]:
    """The nodes that are to stay as they are.

    Raises:
        UsageError: The model has no node of such a name.
    """
    meant = {name: names_meant(model.graph, name) for name in (*context.keep, *context.only)}
    for name, nodes in meant.items():
        if not nodes:
            raise UsageError(f"no node is called {name}")
    keep, only = ({n for name in names for n in meant[name]} for names in (context.keep, context.only))
    return keep | ({node.name for node in model.nodes()} - only if only else set())


def _nothing_to_do(model: Model) -> Change:
    """Nothing, where all layers came with few bits, or are to stay as they are.

    Raises:
        Infeasible: There is none.
    """
    if any(codebook_weight(layer.weight) is not None for layer in linear_layers(model)):
        return Change(False, ("every layer came with a codebook, and keeps it",))
    raise Infeasible(
        "no layer may have a codebook: the main graph has no Conv, ConvTranspose, Gemm or MatMul with float32 weights "
        "that is not to be kept"
    )
