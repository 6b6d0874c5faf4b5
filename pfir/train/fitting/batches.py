"""Loss and gradient of a step whose samples are more than the session takes at a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.train.session import TrainSession


@np.errstate(over="ignore", invalid="ignore")  # Who trains notices that it diverged.
def mean_step(session: TrainSession, feeds: Mapping[str, np.ndarray], parts: int) -> np.ndarray:
    """Loss and metrics, float32 [n], and in `session.gradients` the gradient, all as means over the parts.

    Args:
        session: Its batch is the size of a part.
        feeds: [parts * batch, ...] by input name.
        parts: How many batches the step has, >= 1.
    """
    if parts == 1:
        return session.step(feeds).scalars
    total = np.zeros_like(session.gradients.flat)
    scalars = np.zeros(len(session.scalars), np.float32)
    for start in range(0, parts * session.batch, session.batch):
        scalars += session.step({n: x[start : start + session.batch] for n, x in feeds.items()}).scalars
        total += session.gradients.flat
    np.divide(total, np.float32(parts), out=session.gradients.flat)
    return scalars / np.float32(parts)
