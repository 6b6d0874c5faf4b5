"""How a model is looked at to be priced: every size a number, in its precision, and which nodes share a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pfir.artifact import Kernel
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.ir.costs.grouping import Groups, as_usual
from pfir.ir.costs.model_cost import kernels
from pfir.ir.model import Model


@dataclass(frozen=True)
class Sizing:
    """It can be pickled.

    Args:
        fixed: Gives a model the sizes that its library will have.
        grouping: Of the backend, for the target.
        precision: What its layers will compute in.
    """

    fixed: Callable[[Model], Model]
    grouping: Groups = as_usual
    precision: Precision = FLOATS

    def seen(self, model: Model) -> Model:
        """A float model as its library will be made of it, but for the numbers."""
        return self.precision.seen(self.fixed(model))

    def kernels(self, seen: Model) -> tuple[Kernel, ...]:
        """The kernels of a model as `seen` gives it."""
        return kernels(seen, self.grouping(seen))
