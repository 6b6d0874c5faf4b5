"""How a model is looked at to be priced: every size a number, and which nodes share a kernel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from pfir.artifact import Kernel
from pfir.ir.costs.grouping import Groups, as_usual
from pfir.ir.costs.model_cost import kernels
from pfir.ir.model import Model


@dataclass(frozen=True)
class Sizing:
    """Both can be pickled.

    Args:
        fixed: Gives a model the sizes that its library will have.
        grouping: Of the backend, for the target.
    """

    fixed: Callable[[Model], Model]
    grouping: Groups = as_usual

    def kernels(self, sized: Model) -> tuple[Kernel, ...]:
        """The kernels of a model that `fixed` gave its sizes."""
        return kernels(sized, self.grouping(sized))
