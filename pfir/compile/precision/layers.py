"""Which layers of a model compute in integers of eight bits, before and after it is quantized."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pfir.errors import UsageError
from pfir.ir.model import Model
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.quantization.structure import EIGHT_BITS, Bits, structure
from pfir.passes.spec import parse


@dataclass(frozen=True)
class Precision:
    """What the layers of a model compute in, before any number is rounded.

    Args:
        integers: Whether layers compute in integers of eight bits; all is float where not.
        left_in_float: Those that do not, by the name of their node.
        bits: Those of weights and activations, as far as integers of eight bits are narrower numbers.
    """

    integers: bool = False
    left_in_float: tuple[str, ...] = ()
    bits: Bits = EIGHT_BITS

    def seen(self, model: Model) -> Model:
        """The model as it is priced: itself, or with the nodes of a quantized one and zeros for weights.

        Args:
            model: Float, its shapes inferred.
        """
        return structure(model, self.left_in_float, self.bits) if self.integers else model


FLOATS = Precision()
INTEGERS = Precision(True)


TRAINED = "train-quantized"
"""What stands in the provenance of a model that was trained once it was quantized."""


@dataclass(frozen=True)
class Quantization:
    """How a model was quantized.

    Args:
        text: The pass that did it.
        left_in_float: Layers that stayed float, by the name of their node.
        training: Settings of the training with integers in place; empty if there was none.
    """

    text: str
    left_in_float: tuple[str, ...] = ()
    training: Mapping[str, object] = field(default_factory=dict)

    @property
    def way(self) -> QuantizeUniform:
        """The pass that did it.

        Raises:
            UsageError: This version has no such pass.
        """
        passes = parse(self.text)
        if len(passes) != 1 or not isinstance(passes[0], QuantizeUniform):
            raise UsageError(f"the recipe's model was quantized by {self.text}; this version has quantize-uniform only")
        return passes[0]
