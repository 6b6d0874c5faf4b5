"""Zeros that spread while a student is fine-tuned, along a cubic curve, as many in each layer as were chosen for it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pfir.ir.model import Model
from pfir.ir.training import Growth
from pfir.passes.base import Context
from pfir.passes.sparsity.gradual import growth_of
from pfir.passes.sparsity.layers import SparseLayer, sparse_layers
from pfir.passes.sparsity.patterns import parse_pattern

_ALIKE = 0.99


@dataclass(frozen=True)
class Growing:
    """Where zeros come in training.

    Args:
        dense: The student without them, which is trained.
        sparse: The same with zeros that were made at once: it tells how many there are in which weight.
        pattern: Of the zeros, as the pass says it.
    """

    dense: Model
    sparse: Model
    pattern: str

    def growth(self, student: Model) -> Growth:
        """How zeros spread in the dense student as it is trained, with BatchNormalization put back."""
        pattern = parse_pattern(self.pattern)
        return growth_of(self._layers(student), pattern, self._shares())

    def has_its_zeros(self, trained: Model) -> bool:
        """Whether a trained student has as many zeros as were to come: those of shared weights may not."""
        wanted, found = (self._zeros(model) for model in (self.sparse, trained))
        return all(found.get(name, 0) >= _ALIKE * count for name, count in wanted.items())

    def _shares(self) -> dict[str, float]:
        held = self.sparse.initializers()
        return {name: count / held[name].values.size for name, count in self._zeros(self.sparse).items()}

    def _zeros(self, model: Model) -> dict[str, int]:
        held = model.initializers()
        names = {layer.tensor for layer in self._layers(self.sparse)} & held.keys()
        counts = {name: int(np.sum(held[name].values == 0)) for name in names}
        return {name: count for name, count in counts.items() if count}

    def _layers(self, model: Model) -> list[SparseLayer]:
        return [x for x in sparse_layers(model, parse_pattern(self.pattern), Context())[0] if not x.is_integer]
