"""The learning rate over a training."""

from __future__ import annotations

import math
from dataclasses import dataclass

COSINE, STEP, CONSTANT = "cosine", "step", "constant"
SCHEDULES = (COSINE, STEP, CONSTANT)


@dataclass(frozen=True)
class Schedule:
    """A linear warm-up, then half a cosine down to zero, or a fall at each milestone, or the peak to the end.

    Args:
        peak: Learning rate at the end of the warm-up, > 0.
        warmup_share: Share of the training that warms up, 0 <= share < 1.
        kind: One of `SCHEDULES`.
        milestones: Shares of the training at which `step` falls.
        factor: What the rate is multiplied by at each.

    Source: Loshchilov and Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, arXiv:1608.03983,
    section 3, without restarts; warm-up as in Goyal et al., arXiv:1706.02677, section 2.2; steps as in He et al., "Deep
    Residual Learning", arXiv:1512.03385, section 4.2, who divide by ten after a half and three quarters.
    """

    peak: float
    warmup_share: float = 0.05
    kind: str = COSINE
    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def rate(self, progress: float) -> float:
        """The learning rate after this share of the training, 0 <= progress <= 1."""
        if progress < self.warmup_share:
            # Half a percent of the peak at the very start: a rate of zero would waste the first step.
            return self.peak * max(progress / self.warmup_share, 0.005)
        if self.kind == CONSTANT:
            return self.peak
        if self.kind == STEP:
            return self.peak * self.factor ** sum(progress >= m for m in self.milestones)
        rest = (progress - self.warmup_share) / (1 - self.warmup_share)
        return self.peak * 0.5 * (1 + math.cos(math.pi * min(1.0, rest)))
