"""Adam with decoupled weight decay on a flat buffer."""

from __future__ import annotations

import numpy as np

from pfir.train.optimizing.base import Arrays, copy_into, limit

SQUARE_DECAY = 0.999
SMALLEST = 1e-8
"""Kingma and Ba's beta2 and epsilon."""


class AdamW:
    """Adam, whose weight decay acts on the parameters and not through the gradient.

    m <- b m + (1 - b) g;  s <- b2 s + (1 - b2) g^2;  p <- p - rate (m' / (sqrt(s') + epsilon) + decay p), where m' and
    s' are m and s over 1 - b^t and 1 - b2^t after t steps, which takes out that both began at zero.

    Args:
        size: Of the flat buffer.
        decay: float32 [size], the weight decay of each position; None for none.
        momentum: b, 0 <= b < 1.
        clip: Largest L2 norm of the gradient; None for no limit.

    Source: Loshchilov and Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, arXiv:1711.05101, algorithm 2;
    the rate, and not its schedule alone, multiplies the decay (as in torch.optim.AdamW).
    """

    def __init__(
        self, size: int, decay: np.ndarray | None = None, momentum: float = 0.9, clip: float | None = None
    ) -> None:
        self._mean, self._square = np.zeros(size, np.float32), np.zeros(size, np.float32)
        self._steps = np.zeros(1, np.int64)
        self._decay, self._momentum, self._clip = decay, float(momentum), clip
        self._scratch = np.empty(size, np.float32)

    @np.errstate(over="ignore")  # Who trains notices by loss and parameters that it diverged.
    def step(self, parameters: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Update the parameters in place; the gradient is used up."""
        limit(gradient, self._clip)
        self._steps += 1
        self._average(gradient)
        steps = int(self._steps[0])
        if self._decay is not None:
            np.multiply(parameters, self._decay, out=self._scratch)
            self._scratch *= np.float32(rate)
            parameters -= self._scratch
        np.divide(self._square, np.float32(1 - SQUARE_DECAY**steps), out=self._scratch)
        np.sqrt(self._scratch, out=self._scratch)
        self._scratch += np.float32(SMALLEST)
        np.divide(self._mean, self._scratch, out=self._scratch)
        self._scratch *= np.float32(rate / (1 - self._momentum**steps))
        parameters -= self._scratch

    def state(self) -> dict[str, np.ndarray]:
        """Both averages and the number of steps."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def restore(self, arrays: Arrays) -> None:
        """Go back to a state."""
        copy_into(self.state(), arrays)

    def _average(self, gradient: np.ndarray) -> None:
        """Take the gradient into both averages."""
        self._mean *= np.float32(self._momentum)
        np.multiply(gradient, np.float32(1 - self._momentum), out=self._scratch)
        self._mean += self._scratch
        self._square *= np.float32(SQUARE_DECAY)
        gradient *= gradient
        gradient *= np.float32(1 - SQUARE_DECAY)
        self._square += gradient
