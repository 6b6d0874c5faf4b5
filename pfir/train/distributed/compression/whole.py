"""Gradients as they are: float32, averaged in one operation."""

from __future__ import annotations

import numpy as np

from pfir.train.distributed.compression.base import Arrays, Collectives
from pfir.train.flat import FlatBuffer


class Whole:
    """See Hook. One flat buffer a step: engines give all gradients at once, so there is nothing to send before."""

    compensates = False

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """See Hook."""
        group.mean(gradients.flat)

    def forget(self) -> None:
        """See Hook: nothing is left."""

    def state(self) -> dict[str, np.ndarray]:
        """See Hook."""
        return {}

    def restore(self, state: Arrays) -> None:
        """See Hook."""
