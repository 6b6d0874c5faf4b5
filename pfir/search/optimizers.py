"""Nevergrad behind ask and tell over plain dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pfir.errors import UsageError
from pfir.space import Space

Parameters = dict[str, float]

# Measured by benchmarks/optimizers.py: after 20, 60, 200 trials in 30 dimensions it is at 0.71, 0.53, 0.50 of the
# uniform ratio's loss (random search 0.80, 0.74, 0.69; CMA 0.88, 0.73, 0.48). NGOpt, which is COBYLA here, is at 0.87,
# 0.48, 0.41: better with many trials, but poor with few, and it works in sequence only.
DEFAULT = "OnePlusOne"


class Optimizer:
    """Proposes candidates and learns from their losses (lower is better).

    Args:
        space: Each parameter is searched over its range, or its values.
        seed: With the same seed and the same losses the proposals are the same.
        trials: How many there will be; some optimizers plan by it.
        jobs: How many are asked for before the first is told.
        warm_starts: Proposed first, in this order.
        name: Nevergrad's name of the optimizer; empty for `DEFAULT`.

    Raises:
        UsageError: Nevergrad has no optimizer of this name, or a warm start lacks a parameter.
    """

    def __init__(
        self,
        space: Space,
        seed: int = 0,
        trials: int = 50,
        jobs: int = 1,
        warm_starts: Sequence[Mapping[str, float]] = (),
        name: str = "",
    ) -> None:
        import nevergrad as ng

        kind = ng.optimizers.registry.get(name or DEFAULT)
        if kind is None:
            raise UsageError(f"optimizer {name}: Nevergrad has none of this name; {DEFAULT}, CMA or TBPSA, for example")
        self._space = space
        array = ng.p.Array(init=self._vector(space.defaults()), lower=0.0, upper=1.0)
        array.random_state.seed(seed)
        self._optimizer = kind(array, budget=trials, num_workers=jobs)
        for start in reversed(warm_starts):  # Nevergrad asks for its last suggestion first
            missing = [n for n in space.names if n not in start]
            if missing:
                raise UsageError(f"a warm start lacks the parameter {missing[0]}")
            self._optimizer.suggest(self._vector(start))
        self._losses: list[float] = []

    def ask(self) -> tuple[Parameters, object]:
        """The next candidate, and the handle by which its loss is told."""
        handle = self._optimizer.ask()
        values = zip(self._space.parameters, handle.value, strict=True)
        return {p.name: p.at(v) for p, v in values}, handle

    def tell(self, handle: object, loss: float | None) -> None:
        """The loss of an asked candidate; None or a value that is not finite counts as worse than all before."""
        if loss is not None and np.isfinite(loss):
            value = float(loss)
            self._losses.append(value)
        else:
            value = self._worse_than_all()
        self._optimizer.tell(handle, value)

    def learn(self, parameters: Mapping[str, float], loss: float | None) -> None:
        """Learn from a candidate that was not asked for, as far as the optimizer can."""
        from nevergrad.common.errors import TellNotAskedNotSupportedError

        try:
            self.tell(self._optimizer.parametrization.spawn_child(new_value=self._vector(parameters)), loss)
        except TellNotAskedNotSupportedError:
            _, handle = self.ask()
            self.tell(handle, loss)

    def _vector(self, parameters: Mapping[str, float]) -> np.ndarray:
        """[n] in [0, 1]; a parameter without a range stands at 0."""
        return np.array([p.share(parameters[p.name]) for p in self._space.parameters])

    def _worse_than_all(self) -> float:
        """An honest bad value: further above the worst loss than the worst is above the best."""
        if not self._losses:
            return 1.0
        return max(self._losses) + max(max(self._losses) - min(self._losses), abs(max(self._losses)) * 0.1, 1e-6)
