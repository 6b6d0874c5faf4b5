"""Stochastic gradient descent with Nesterov momentum on a flat buffer."""

from __future__ import annotations

import numpy as np

from pfir.train.optimizing.base import Arrays, copy_into, limit


class NesterovSgd:
    """SGD with Nesterov momentum, decoupled per position into decayed and free parameters.

    v <- m v + g;  p <- p - rate (g + m v), where g includes weight decay.

    Args:
        size: Of the flat buffer.
        decay: float32 [size], the weight decay of each position; None for none.
        momentum: m, 0 <= m < 1.
        clip: Largest L2 norm of the gradient; None for no limit.

    Source: Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013, section 2,
    in the form in which the momentum buffer holds the gradient (as in torch.optim.SGD).
    """

    def __init__(
        self, size: int, decay: np.ndarray | None = None, momentum: float = 0.9, clip: float | None = None
    ) -> None:
        self.velocity = np.zeros(size, np.float32)
        self._decay, self._momentum, self._clip = decay, np.float32(momentum), clip
        self._scratch = np.empty(size, np.float32)

    @np.errstate(over="ignore")  # Who trains notices by loss and parameters that it diverged.
    def step(self, parameters: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        """Update the parameters in place; the gradient is used up."""
        limit(gradient, self._clip)
        if self._decay is not None:
            np.multiply(parameters, self._decay, out=self._scratch)
            gradient += self._scratch
        self.velocity *= self._momentum
        self.velocity += gradient
        np.multiply(self.velocity, self._momentum, out=self._scratch)
        gradient += self._scratch
        gradient *= np.float32(rate)
        parameters -= gradient

    def state(self) -> dict[str, np.ndarray]:
        """The velocity."""
        return {"velocity": self.velocity}

    def restore(self, arrays: Arrays) -> None:
        """Go back to a state."""
        copy_into(self.state(), arrays)
