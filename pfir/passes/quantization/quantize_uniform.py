"""Quantization without training: integers of few bits for weights and activations, as standard ONNX says them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import ClassVar

import numpy as np

from pfir.errors import FrontendError, Infeasible, UsageError
from pfir.ir.checking.verify import check_finite
from pfir.ir.linear import linear_layers
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.ir.module_paths import names_meant
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Activations, Change, Context, Pass
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.bits.searched import AVERAGE_BITS, average_space
from pfir.passes.bits.uniform import BITS, uniform_bits
from pfir.passes.quantization.bias_correction import correct_biases
from pfir.passes.quantization.calibration import CALIBRATIONS, range_finder
from pfir.passes.quantization.equalize import POWERS, equalize
from pfir.passes.quantization.grids import LARGEST_BITS
from pfir.passes.quantization.opset import FEW_BITS, FIRST_WITH_CHANNELS, FIRST_WITH_FOUR_BITS, lift_opset
from pfir.passes.quantization.output_error import OutputError
from pfir.passes.quantization.placement import KERNELS, OPERATORS, layers_of, place
from pfir.passes.quantization.planning import Settings, constant_layers, plan_quantized
from pfir.passes.quantization.ranges import Histogram, observe
from pfir.passes.quantization.rounding.adaround import adaround
from pfir.passes.quantization.rounding.base import Rounding
from pfir.passes.quantization.rounding.blocks.reconstruct import round_blocks
from pfir.passes.quantization.rounding.chains import shorten_chains
from pfir.passes.quantization.rounding.compensated import compensate
from pfir.passes.quantization.rounding.nearest import nearest
from pfir.passes.quantization.sensitivity import most_sensitive, sensitivities, within_share
from pfir.passes.quantization.structure import Bits
from pfir.passes.quantization.weights import weight_grid
from pfir.passes.quantization.writing import Quantized, written
from pfir.passes.simplification.simplify import Simplify
from pfir.space import Parameter, Space

FLOAT_LAYERS = "float_layers"
"""The name of the parameter to search."""
MOST_FLOAT = 0.25
"""The share of layers that a search may leave in float."""
ROUNDINGS: Mapping[str, Rounding] = {
    "nearest": nearest,
    "compensated": compensate,
    "adaround": adaround,
    "blocks": round_blocks,
}
"""Ways of rounding weights by name."""


@dataclass(frozen=True)
class QuantizeUniform(Pass):
    """Give weights and activations few bits, by ranges measured on calibration data, as QuantizeLinear says it.

    Rewrite of a layer and the activation function behind it, where Q and DQ are QuantizeLinear and DequantizeLinear::

        y = f(W x + b)      ->      y = DQ(Q(f(DQ(W8) DQ(Q(x)) + DQ(b32))))

    The model is simplified and BatchNormalization folded first. Layers are Conv, ConvTranspose, Gemm and MatMul with
    constant float32 weights in the main graph. What came quantized keeps its scales, and the interface stays float.
    What is not needed by any quantized layer, as the scores of a classifier, stays float, too; so do layers that are to
    be kept, and one next to a tensor that is constant on the calibration data, which tells no range. Without data,
    ranges are measured on generated inputs. The outputs change. A second run changes nothing.

    Args:
        weight_bits: 2 to 8, symmetric. Up to four are stored in four where onnx can lift the opset to 21, else in
            eight. None leaves them to `average_bits`, and without that to a search.
        activation_bits: 2 to 8, with a zero point; fewer than eight are simulated.
        calibration: How the range of an activation is found: min-max, percentile, entropy or mse. By mse weights get
            scales of the least squared error, too.
        percentile: What share of the values, in percent, lies within the range by calibration=percentile.
        per_channel: Whether each output channel of a weight has a scale of its own.
        equalize: Whether channels are equalised across layers first, where that lowers the error of the outputs.
        bias_correction: Whether biases make up for the mean error of each layer, where that lowers the error of the
            outputs.
        rounding: How weights are rounded: nearest; compensated, where the others of an output make up for each, which
            takes seconds and is worth most of four bits and fewer; adaround, which learns to round up or down, layer by
            layer; blocks, which goes on from compensated and learns block by block, in minutes. What does not lower the
            error of the outputs is left.
        float_layers: How many of the most sensitive layers stay in float; none leaves it to a search.
        float_share: Share of all multiply-accumulates and of all weights, in [0, 1]: without float_layers, the layers
            that are the most sensitive for what they cost, so many together, stay in float. A twentieth often costs
            hardly any time.
        pairs: Where activations are rounded: behind all operators, by which ONNX Runtime computes layers in front of a
            sum in integers, too; or in front of kernels alone, by which less is lost, as `pfir compile` does.
        eight_bit_share: Share of all weights, in [0, 1]: the layers of the fewest weights, so many together, have eight
            bits; depthwise ones and the first, which lose most by fewer, are among them.
        average_bits: Bits of a weight on average over all layers, 2 to 8; each layer gets those that are worth most to
            the outputs. None takes `weight_bits` everywhere.
        layer_bits: Bits of the weights of layers by name of their node, in place of all of these.

    Raises:
        UsageError: A field is out of its range, there is no calibration data, or no node of a name to keep.
        DataError: The calibration data is too little, or gives NaN.
        FrontendError: A weight is NaN or infinite, or the opset is below 13 and cannot be lifted.
        Infeasible: The model has no layer that may be quantized, or all are left in float.

    Source: Nagel et al., "A White Paper on Neural Network Quantization", 2021, arXiv:2106.08295, section 3, for the
    order of the steps.
    """

    name: ClassVar[str] = "quantize-uniform"
    compresses: ClassVar[bool] = True

    weight_bits: int | None = LARGEST_BITS
    activation_bits: int = 8
    calibration: str = "mse"
    percentile: float = 99.99
    per_channel: bool = True
    equalize: bool = True
    bias_correction: bool = True
    rounding: str = "nearest"
    float_layers: int | None = 0
    float_share: float = 0.0
    pairs: str = OPERATORS
    eight_bit_share: float = 0.0
    average_bits: float | None = None
    layer_bits: tuple[tuple[str, int], ...] = ()

    def __post_init__(self) -> None:
        given = [("weight_bits", self._weight_bits), ("activation_bits", self.activation_bits)]
        given += [(f"layer_bits of {name}", bits) for name, bits in self.layer_bits]
        for label, bits in (*given, ("average_bits", 8 if self.average_bits is None else self.average_bits)):
            if not 2 <= bits <= 8:
                raise UsageError(f"{label} is {bits}; it must be 2 to 8")
        for label, value, known in (
            ("calibration", self.calibration, CALIBRATIONS),
            ("rounding", self.rounding, ROUNDINGS),
            ("pairs", self.pairs, (KERNELS, OPERATORS)),
        ):
            if value not in known:
                raise UsageError(f"{label} is {value}; it must be one of {', '.join(known)}")
        if not 50 < self.percentile <= 100:
            raise UsageError(f"percentile is {self.percentile}; it must be in (50, 100]")
        for label, share in (("eight_bit_share", self.eight_bit_share), ("float_share", self.float_share)):
            if not 0 <= share <= 1:
                raise UsageError(f"{label} is {share}; it must be in [0, 1]")
        if self.float_layers is not None and self.float_layers < 0:
            raise UsageError(f"float_layers is {self.float_layers}; it must be at least 0")

    @property
    def is_open(self) -> bool:
        return self.float_layers is None or self.searches_bits

    @property
    def searches_bits(self) -> bool:
        """Whether the bits of weights are left to a search."""
        return self.weight_bits is None and self.average_bits is None

    def opened(self) -> QuantizeUniform:
        return replace(self, float_layers=None)

    def space(self, model: Model, context: Context) -> Space:
        """The number of layers that stay in float, up to a quarter of them, and the bits of weights on average."""
        copy = model.clone()
        infer_shapes(copy)
        most = int(MOST_FLOAT * len(layers_of(copy))) if self.float_layers is None else 0
        values = tuple(float(count) for count in range(most + 1))
        floats = (Parameter(FLOAT_LAYERS, 0.0, float(most), 0.0, values=values, low_is_cheap=True),) if most else ()
        return Space((*floats, *(average_space().parameters if self.searches_bits else ())))

    def with_parameters(self, parameters: Mapping[str, float]) -> QuantizeUniform:
        count = int(parameters.get(FLOAT_LAYERS, self.float_layers or 0))
        return replace(self, float_layers=count, average_bits=parameters.get(AVERAGE_BITS, self.average_bits))

    @property
    def choices(self) -> Sequence[int]:
        """The bits that a layer may have."""
        return BITS

    def rounded(self, layer: EditableLayer, bits: int) -> np.ndarray:
        """The weight of a layer as so many bits hold it, told from itself alone."""
        grid = weight_grid(layer, bits, self.per_channel, self.settings().least_error)
        return grid.numbers(grid.integers(layer.weight))

    def apply(self, model: Model, context: Context) -> Change:
        if self.float_layers is None:
            raise UsageError("quantize-uniform needs the field float_layers, which was left to a search")
        if self.searches_bits:
            raise UsageError("quantize-uniform needs one of the fields weight_bits and average_bits")
        check_finite(model)
        start = _prepared(model, 2 if self.average_bits is not None else self.bits.least, context)
        if not layers_of(start):
            return _nothing_to_do(model)
        asked, samples = _left_by_user(model, start, context), _activations(context)
        for name, _ in self.layer_bits:
            if name not in layers_of(start):
                raise UsageError(f"layer_bits names {name}, which is no layer that may be quantized")
        work = _Work(self.with_bits(start, asked, samples), context, samples, start, asked)
        quantized = work.quantized()
        model.graph, model.ir_version = quantized.graph, quantized.ir_version
        return Change(True, work.notes())

    @property
    def bits(self) -> Bits:
        """What decides about nodes, types and sizes."""
        return Bits(
            self._weight_bits,
            self.activation_bits,
            self.per_channel,
            self.pairs,
            self.eight_bit_share,
            self.layer_bits,
        )

    @property
    def _weight_bits(self) -> int:
        """Those of layers for which nothing else says them."""
        return LARGEST_BITS if self.weight_bits is None else self.weight_bits

    def with_bits(self, model: Model, left_in_float: Collection[str], activations: Activations) -> QuantizeUniform:
        """This pass with the bits of each layer that `average_bits` stands for, for a model that is simplified."""
        if self.average_bits is None:
            return self
        found = uniform_bits(model, self.settings(), left_in_float, self.average_bits, activations)
        return replace(self, average_bits=None, layer_bits=tuple({**found, **dict(self.layer_bits)}.items()))

    def settings(self) -> Settings:
        """How grids are chosen."""
        return Settings(
            self._weight_bits,
            self.activation_bits,
            range_finder(self.calibration, self.percentile),
            self.per_channel,
            self.calibration == "mse",
            self.pairs,
            self.eight_bit_share,
            dict(self.layer_bits),
        )


class _Work:
    """The steps from a float model to a quantized one, and what they found.

    Args:
        start: Simplified and folded; it is not changed.
        asked: The layers that are to stay in float.

    Raises:
        Infeasible: No other layer is left, but for those of which calibration tells no range.
    """

    def __init__(
        self, chosen: QuantizeUniform, context: Context, activations: Activations, start: Model, asked: set[str]
    ) -> None:
        self._pass, self._context = chosen, replace(context, activations=activations)
        self._activations = activations
        self._start = self._model = self._reference = start
        self._histograms = self._observed(start)
        self._constant = constant_layers(start, self._histograms)
        self._left = {*asked, *self._constant}
        self._sensitive: tuple[str, ...] = ()
        self._equalised = 0
        self._settings = chosen.settings()
        self._done: list[str] = []
        if len(self._left) == len(layers_of(start)):
            raise Infeasible(f"no layer is left to quantize: all stay float, as {', '.join(sorted(self._left)[:5])}")

    @cached_property
    def _error(self) -> OutputError:
        return OutputError(self._start, self._activations)

    def quantized(self) -> Model:
        """The quantized model."""
        if self._pass.equalize:
            self._equalize()
        if self._pass.float_layers or self._pass.float_share:
            self._keep_sensitive()
        self._reference, plan = self._model, self._plan()
        if self._pass.bias_correction:
            self._correct_biases(plan)
        return self._rounded(written(self._model, plan), {name: grid.bits for name, grid in plan.weights.items()})

    def notes(self) -> tuple[str, ...]:
        """What a user should know."""
        layers = layers_of(self._model)
        count = len(layers) - len(self._left) - len(self._sensitive)
        constant = [f"{n} stays float: {t} is constant on the calibration data" for n, t in self._constant.items()]
        sensitive = [f"the most sensitive layers stay float: {', '.join(self._sensitive)}"] if self._sensitive else []
        equalised = [f"{self._equalised} channels equalised"] if self._equalised else []
        bits = [f"bits by layer: {', '.join(f'{n} {b}' for n, b in self._pass.layer_bits)}"] * bool(
            self._pass.layer_bits
        )
        return (f"{count} of {len(layers)} layers quantized", *bits, *constant, *sensitive, *equalised, *self._done)

    def _observed(self, model: Model) -> dict[str, Histogram]:
        return observe(model, self._tensors(model), self._activations)

    def _tensors(self, model: Model) -> tuple[str, ...]:
        return place(model, pairs=self._pass.pairs).tensors

    def _plan(self, but_for: Collection[str] = ()) -> Quantized:
        left = {*self._left, *self._sensitive, *but_for}
        return plan_quantized(self._model, self._histograms, self._settings, left)

    def _loss(self) -> float:
        return self._error.of(written(self._model, self._plan()))

    def _equalize(self) -> None:
        """Keep the best of what it is and what it becomes by each power."""
        plain, least = self._model, self._loss()
        for power in POWERS if self._pass.per_channel else POWERS[:1]:
            seen = self._model, self._histograms
            self._model = plain.clone()
            changed = equalize(self._model, self._tensors(plain), self._activations, self._pass.per_channel, power)
            self._histograms = self._observed(self._model)
            loss = self._loss()
            if changed and loss < least:
                least, self._equalised = loss, changed
            else:
                self._model, self._histograms = seen

    def _keep_sensitive(self) -> None:
        layers = [name for name in layers_of(self._model) if name not in self._left]
        found = sensitivities(layers, self._error, lambda name: self._alone(name, layers))
        count, sizes = self._pass.float_layers, self._context.input_shapes
        if count:
            self._sensitive = most_sensitive(self._model, found, count, sizes)
        else:
            self._sensitive = within_share(self._model, found, self._pass.float_share, sizes)

    def _alone(self, name: str, layers: Sequence[str]) -> Model:
        """The model with one layer quantized."""
        return written(self._model, self._plan(but_for=[other for other in layers if other != name]))

    def _correct_biases(self, plan: Quantized) -> None:
        before, corrected = self._error.of(written(self._model, plan)), self._model.clone()
        correct_biases(corrected, plan.placement.layers, self._activations, partial(written, quantized=plan))
        if self._error.of(written(corrected, plan)) < before:
            self._model = corrected
            self._done.append("biases corrected")

    def _rounded(self, nearest: Model, bits: Mapping[str, int]) -> Model:
        made = nearest.clone()
        chosen = ROUNDINGS[self._pass.rounding](made, self._reference, bits, self._context)
        shorten_chains(made, chosen)
        if not chosen or self._error.of(made) >= self._error.of(nearest):
            return nearest
        self._done.append(f"{len(chosen)} layers rounded by {self._pass.rounding}")
        return made


def _prepared(model: Model, weight_bits: int, context: Context) -> Model:
    """A copy, simplified and folded, since every multiplication is one more rounding, of an opset that suits."""
    copy = model.clone()
    Simplify().apply(copy, context)
    FoldBatchNorm().apply(copy, context)
    lift_opset(copy, FIRST_WITH_CHANNELS)
    if weight_bits <= FEW_BITS:
        with suppress(FrontendError):  # Eight bits hold such integers, too.
            lift_opset(copy, FIRST_WITH_FOUR_BITS)
    infer_shapes(copy)
    return copy


def _left_by_user(model: Model, start: Model, context: Context) -> set[str]:
    """The layers that are to stay in float: those to keep, and all but those that alone may change.

    Raises:
        UsageError: The model as it was given has no node of such a name.
    """
    for name in (*context.keep, *context.only):
        if not names_meant(model.graph, name):
            raise UsageError(f"no node is called {name}")
    keep, only = (
        {n for name in names for n in names_meant(model.graph, name)} for names in (context.keep, context.only)
    )
    return {name for name in layers_of(start) if name in keep or (only and name not in only)}


def _activations(context: Context) -> Activations:
    found = context.activations or context.generated
    if found is None:
        raise UsageError("quantize-uniform needs calibration data, and none was given (--data)")
    return found


def _nothing_to_do(model: Model) -> Change:
    """Nothing, where all layers came quantized.

    Raises:
        Infeasible: There are none.
    """
    if any(layer.is_integer or layer.weight_scale is not None for layer in linear_layers(model)):
        return Change(False, ("every layer came quantized, and keeps its scales",))
    raise Infeasible(
        "no layer may be quantized: the main graph has no Conv, ConvTranspose, Gemm or MatMul with float32 weights"
    )
