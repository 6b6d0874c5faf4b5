"""Who looks at the weights after every epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pfir.train.fitting.moments import Arrays

Evaluate = Callable[[Arrays], float]
Watch = Callable[[Arrays], Mapping[str, float]]


@dataclass(frozen=True)
class Judges:
    """Both read arrays by initializer name.

    Args:
        evaluate: A score, higher is better, that decides which epoch is delivered; None where the last one is.
        watch: Further figures by name, for the curve alone; None for none.
    """

    evaluate: Evaluate | None = None
    watch: Watch | None = None

    def watched(self, arrays: Arrays) -> dict[str, float]:
        return dict(self.watch(arrays)) if self.watch else {}


NOBODY = Judges()
