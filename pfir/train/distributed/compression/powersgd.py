"""Gradients as products of thin matrices, by PyTorch's own hook."""

from __future__ import annotations

from typing import Any

import numpy as np

from pfir.train.distributed.compression.base import Collectives
from pfir.train.flat import FlatBuffer

RANK = 2
"""Of the matrices: the paper's for image classification."""
FIRST_STEP = 2
"""Steps before are sent whole: the least that error feedback and warm start allow."""


class PowerSgd:
    """See Hook. Vectors travel whole, matrices as two factors; what these miss is added to the next gradient.

    Source: Vogels et al., "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization", NeurIPS
    2019, arXiv:1905.13727, as torch.distributed.algorithms.ddp_comm_hooks has it.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._state: Any = None

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """See Hook. A gradient that is not finite in one worker is so in all, and leaves nothing for later ones."""
        from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState, powerSGD_hook

        if self._state is None:
            self._state = PowerSGDState(
                None, RANK, FIRST_STEP, random_seed=self._seed, compression_stats_logging_frequency=1 << 30
            )
        bucket: Any = _Bucket(gradients, group.tensor(gradients.flat))  # stands for a GradBucket of torch
        before = self._state.total_numel_after_compression
        reduced = powerSGD_hook(self._state, bucket).wait()
        gradients.flat[:] = reduced.cpu().numpy()
        sent = self._state.total_numel_after_compression - before
        group.sent_bytes += 4 * (sent or gradients.flat.size)

    def forget(self) -> None:
        """See Hook."""
        self._state = None


class _Bucket:
    """What PyTorch's hook reads of a DDP bucket: the flat gradient and each parameter's part of it."""

    def __init__(self, gradients: FlatBuffer, flat: Any) -> None:
        self._flat, self._views = flat, [_part(flat, gradients.flat, view) for view in gradients.views.values()]

    def buffer(self) -> Any:
        return self._flat

    def gradients(self) -> list[Any]:
        return self._views

    def index(self) -> int:
        return 0

    def is_last(self) -> bool:
        return True


def _part(tensor: Any, flat: np.ndarray, view: np.ndarray) -> Any:
    start = (view.ctypes.data - flat.ctypes.data) // flat.itemsize
    return tensor[start : start + view.size].view(view.shape)
