"""Gradients in half precision, scaled so that neither they nor their sum overflow."""

from __future__ import annotations

import math

import numpy as np

from pfir.train.distributed.compression.base import Arrays, Collectives
from pfir.train.flat import FlatBuffer

# The largest sum of all workers' values: half of float16's largest number, since they are rounded on the way.
_LARGEST_SUM = 32768.0


class Half:
    """See Hook: two bytes a value. The scale is a power of two and common to all, so it rounds nothing itself."""

    compensates = False

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """See Hook. What is not finite in one worker becomes so in all."""
        flat = gradients.flat
        largest = group.largest(_magnitude(flat))
        if not math.isfinite(largest):
            flat[:] = np.nan
        elif largest > 0:
            scale = np.float32(2.0 ** math.floor(math.log2(_LARGEST_SUM / group.count / largest)))
            sent = (flat * scale).astype(np.float16)
            group.mean(sent)
            np.divide(sent, scale, out=flat, dtype=np.float32)

    def forget(self) -> None:
        """See Hook: nothing is left."""

    def state(self) -> dict[str, np.ndarray]:
        """See Hook."""
        return {}

    def restore(self, state: Arrays) -> None:
        """See Hook."""


def _magnitude(flat: np.ndarray) -> float:
    largest = float(np.abs(flat).max(initial=0.0))
    return largest if math.isfinite(largest) else math.inf
