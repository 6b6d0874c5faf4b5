"""What hooks kept back of gradients, for workers that go on from a checkpoint."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pfir.train.distributed.compression.base import LEFT, Arrays


def divided(states: Sequence[Arrays], count: int) -> list[Arrays]:
    """What each of so many workers goes on with: its own state, or of another number of workers the mean of theirs.

    A step takes the mean of the workers' gradients, so what n workers owe it is the mean of what they keep back. Any
    number of workers that each keep this mean owe the same: nothing is lost, and nothing counts twice.

    Args:
        states: Of the hooks that there were, in the order of ranks; at least one.
    """
    if len(states) == count:
        return list(states)
    left = [state[LEFT] for state in states if LEFT in state]
    mean = {LEFT: np.asarray(np.mean(left, axis=0, dtype=np.float32))} if left else {}
    return [{**states[0], **mean}] * count


def dropped(count: int) -> str:
    """The note where nothing here can send what so many workers kept back."""
    return f"what {count} processes had kept back of compressed gradients is left out: nothing here sends it later"
