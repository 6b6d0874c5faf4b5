"""Bits of weights as a method: a search says how many there are on average, an integer programme which layer has how
many of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import ceil
from typing import ClassVar

from pfir.artifact import Kernel
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.base import Choice, Method, ModelCost, Parameters
from pfir.compile.methods.sizing import Sizing
from pfir.compile.precision.kept_layers import kept_layers
from pfir.data.base import Dataset
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.errors import OutOfTime
from pfir.ir.linear_edits import EditableLayer
from pfir.ir.model import Model
from pfir.ir.shapes import infer_shapes
from pfir.passes.base import Context
from pfir.passes.bits.choice import Layers, Rounded, layer_losses, usual_bits, weight_losses
from pfir.passes.bits.importance import importances
from pfir.passes.bits.programme import ByLayer
from pfir.passes.bits.searched import AVERAGE_BITS, START, bits_within
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.quantization.output_error import OutputError
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.run.activations import activations
from pfir.space import Space

FLOAT_BITS, INTEGER_BITS = 32, 8
"""Of a weight, as methods before this one price it."""
BATCH = 16
STARTS = (START, 3.0, 5.0, 6.0)
"""Bits on average that a person would try first."""


@dataclass(frozen=True)
class ChosenBits(Choice):
    """Weights get so many bits on average, once all else is done; the last pass says so in a recipe."""

    text: ClassVar[str] = ""

    average: float

    def recipe(self) -> dict[str, object]:
        return {}


@dataclass(frozen=True)
class FewBitsCost(ModelCost):
    """The cost of a model whose weights have fewer bits; it computes in what it computed in before.

    Args:
        before: Of the same model with all bits.
        share: Of all bits, that are left.
    """

    before: ModelCost
    share: float

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.before.kernels

    def latency_s(self, device: EstimateDevice) -> float:
        return self.before.latency_s(device)

    @property
    def macs(self) -> int:
        return self.before.macs

    @cached_property
    def size_bytes(self) -> int:
        return ceil(self.before.bytes_in(self.share))

    @property
    def key(self) -> tuple:
        return (self.before.key, self.share)

    def model(self) -> Model:
        return self.before.model()


@dataclass(frozen=True)
class FewBits(Method):
    """Gives weights few bits. Training comes before it, so that candidates are scored with it and built without.

    Args:
        model: As it was before all methods; it is not changed.
        searched: The pass that does it, whose bits are left open.
        keep, only: As in `Context`: layers that stay float.
        stored_bits: Of a weight, as methods before this one price it.
        losses: What the model's outputs lose by the bits of each layer; of layers that are missing, what their weights
            do.
    """

    noun: ClassVar[str] = "bits"

    model: Model
    searched: QuantizeCodebook | QuantizeUniform
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    stored_bits: int = FLOAT_BITS
    losses: ByLayer = field(default_factory=dict)
    _known: dict[tuple, FewBitsCost] = field(default_factory=dict, repr=False, compare=False)

    def space(self) -> Space:
        own = self.searched.space(self.model, Context())
        return Space(tuple(replace(p, name=self._named(p.name)) for p in own.parameters))

    def cost(self, before: ModelCost, parameters: Parameters) -> ModelCost:
        share = parameters[self._named(AVERAGE_BITS)] / self.stored_bits
        return self._known.setdefault((before.key, share), FewBitsCost(before, share))

    def choose(self, parameters: Parameters, before: ModelCost) -> ChosenBits:
        del before
        return ChosenBits(parameters[self._named(AVERAGE_BITS)])

    def read(self, parts: Mapping[str, object]) -> ChosenBits:
        """All of them: a recipe's last pass has the bits of every layer."""
        del parts
        return ChosenBits(float(self.stored_bits))

    def build(self, model: Model, choice: Choice) -> Model:
        return model

    def rounded(self, model: Model, choice: Choice) -> Model:
        assert isinstance(choice, ChosenBits)
        copy = _with_shapes(model)
        layers, bits = self._layers(copy), self.layer_bits(copy, choice)
        rounded = {layers[name].layer.weight.name: self.searched.rounded(layers[name], n) for name, n in bits.items()}
        copy.set_arrays(rounded)
        return copy

    def fixed(self, model: Model, choice: ChosenBits) -> QuantizeCodebook | QuantizeUniform:
        """The pass that gives the layers of a model their bits."""
        bits = tuple(self.layer_bits(_with_shapes(model), choice).items())
        if isinstance(self.searched, QuantizeCodebook):
            return replace(self.searched, layer_bits=bits)
        return replace(self.searched, weight_bits=INTEGER_BITS, layer_bits=bits)

    def layer_bits(self, model: Model, choice: ChosenBits) -> dict[str, int]:
        """Bits by name of the layer's node, for a model whose shapes are inferred."""
        layers = self._layers(model)
        missing = {name: layer for name, layer in layers.items() if name not in self.losses}
        losses = {**self.losses, **self._of_weights(model, missing)}
        return bits_within(layers, losses, self.searched.choices, choice.average)

    @property
    def summary(self) -> str:
        space = self.space().parameters
        return f"weights may have {space[0].low:g} to {space[0].high:g} bits on average, layer by layer"

    def warm_starts(self) -> tuple[dict[str, float], ...]:
        return tuple({self._named(AVERAGE_BITS): bits} for bits in STARTS)

    def ranked(self, data: Dataset, deadline: Deadline = NEVER) -> FewBits:
        """The method with what the outputs lose on samples, or where there is no time for that, what weights do."""
        model = _with_shapes(self.model)
        guarded = deadline.guard(lambda m, names: activations(m, names, data, BATCH))
        layers = self._layers(model)
        try:
            weights = importances(model, layers, guarded)
            given = Layers(model, layers, weights, self._rounder(layers), self.searched.choices)
            usual = usual_bits(self.searched.choices, START)
            return replace(self, losses=layer_losses(given, usual, OutputError(model, guarded)))
        except OutOfTime:
            return replace(self, losses=self._of_weights(model, layers))

    def priced(self, sizing: Sizing) -> FewBits:
        return replace(self, stored_bits=INTEGER_BITS if sizing.precision.integers else FLOAT_BITS, _known={})

    def _layers(self, model: Model) -> dict[str, EditableLayer]:
        """The layers that may have few bits, by name of their node."""
        kept = kept_layers(model, self.keep, self.only)
        return {name: layer for name, layer in layers_of(model).items() if name not in kept}

    def _of_weights(self, model: Model, layers: Mapping[str, EditableLayer]) -> ByLayer:
        alike = importances(model, layers, None)
        given = Layers(model, layers, alike, self._rounder(layers), self.searched.choices)
        return {name: weight_losses(given, name) for name in layers}

    def _rounder(self, layers: Mapping[str, EditableLayer]) -> Rounded:
        return lambda name, bits: self.searched.rounded(layers[name], bits)

    def _named(self, parameter: str) -> str:
        return f"{self.searched.name}.{parameter}"


def _with_shapes(model: Model) -> Model:
    copy = model.clone()
    infer_shapes(copy)
    return copy
