"""Gradients as products of thin matrices, by PyTorch's own hook."""

from __future__ import annotations

from typing import Any

import numpy as np

from pfir.train.distributed.compression.base import LEFT, STEP, Arrays, Collectives
from pfir.train.flat import FlatBuffer

RANK = 2
"""Of the matrices: the paper's for image classification."""
FIRST_STEP = 2
"""Steps before are sent whole: the least that error feedback and warm start allow."""
_BUCKET = 0
"""The number of the only bucket that PyTorch's hook is shown."""


class PowerSgd:
    """See Hook. Vectors travel whole, matrices as two factors; what these miss is added to the next gradient.

    Source: Vogels et al., "PowerSGD: Practical Low-Rank Gradient Compression for Distributed Optimization", NeurIPS
    2019, arXiv:1905.13727, as torch.distributed.algorithms.ddp_comm_hooks has it.
    """

    compensates = True

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._state: Any = None
        self._restored: dict[str, np.ndarray] = {}

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        """See Hook. A gradient that is not finite in one worker is so in all, and leaves nothing for later ones."""
        from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import powerSGD_hook

        if self._state is None:
            self._state = self._begun(group)
        bucket: Any = _Bucket(gradients, group.tensor(gradients.flat))  # stands for a GradBucket of torch
        before = self._state.total_numel_after_compression
        reduced = powerSGD_hook(self._state, bucket).wait()
        gradients.flat[:] = reduced.cpu().numpy()
        sent = self._state.total_numel_after_compression - before
        group.sent_bytes += 4 * (sent or gradients.flat.size)

    def forget(self) -> None:
        """See Hook."""
        self._state, self._restored = None, {}

    def state(self) -> dict[str, np.ndarray]:
        """See Hook. The generator is not in it: it draws the first factors, and none after these."""
        if self._state is None:
            return {STEP: np.array(0), **self._restored}
        held = {name: kept[_BUCKET] for name, kept in _kept(self._state).items() if _BUCKET in kept}
        return {STEP: np.array(self._state.iter), **{name: x.cpu().numpy().copy() for name, x in held.items()}}

    def restore(self, state: Arrays) -> None:
        """See Hook."""
        self._state, self._restored = None, dict(state)

    def _begun(self, group: Collectives) -> Any:
        """The state of PyTorch's hook at the start, or where it was restored to."""
        from torch.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState

        state = PowerSGDState(
            None, RANK, FIRST_STEP, random_seed=self._seed, compression_stats_logging_frequency=1 << 30
        )
        state.iter = int(self._restored.get(STEP, 0))
        for name, kept in _kept(state).items():
            if name in self._restored:
                kept[_BUCKET] = group.tensor(self._restored[name].copy())
        return state


def _kept(state: Any) -> dict[str, dict[int, Any]]:
    """What PyTorch's state keeps from step to step, by our names, each by bucket."""
    return {LEFT: state.error_dict, "p": state.p_memory_dict, "q": state.q_memory_dict}


class _Bucket:
    """What PyTorch's hook reads of a DDP bucket: the flat gradient and each parameter's part of it."""

    def __init__(self, gradients: FlatBuffer, flat: Any) -> None:
        self._flat, self._views = flat, [_part(flat, gradients.flat, view) for view in gradients.views.values()]

    def buffer(self) -> Any:
        return self._flat

    def gradients(self) -> list[Any]:
        return self._views

    def index(self) -> int:
        return _BUCKET

    def is_last(self) -> bool:
        return True


def _part(tensor: Any, flat: np.ndarray, view: np.ndarray) -> Any:
    start = (view.ctypes.data - flat.ctypes.data) // flat.itemsize
    return tensor[start : start + view.size].view(view.shape)
