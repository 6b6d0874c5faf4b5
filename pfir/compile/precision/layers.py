"""Which layers of a model compute in integers of eight bits, before and after it is quantized."""

from __future__ import annotations

from dataclasses import dataclass

from pfir.ir.model import Model
from pfir.passes.quantization.structure import structure


@dataclass(frozen=True)
class Precision:
    """What the layers of a model compute in, before any number is rounded.

    Args:
        integers: Whether layers compute in integers of eight bits; all is float where not.
        left_in_float: Those that do not, by the name of their node.
    """

    integers: bool = False
    left_in_float: tuple[str, ...] = ()

    def seen(self, model: Model) -> Model:
        """The model as it is priced: itself, or with the nodes of a quantized one and zeros for weights.

        Args:
            model: Float, its shapes inferred.
        """
        return structure(model, self.left_in_float) if self.integers else model


FLOATS = Precision()
INTEGERS = Precision(True)


@dataclass(frozen=True)
class Quantization:
    """How a model was quantized.

    Args:
        text: The pass that did it.
        left_in_float: Layers that stayed float, by the name of their node.
    """

    text: str
    left_in_float: tuple[str, ...] = ()
