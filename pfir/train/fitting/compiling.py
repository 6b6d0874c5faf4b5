"""Whether the steps of a training are compiled: as was decided before, as is asked, or where that pays."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pfir.errors import TrainingError, UsageError
from pfir.train.engines.base import ALWAYS_COMPILE, AUTO_COMPILE, NEVER_COMPILE
from pfir.train.engines.choice import why_not_compiled
from pfir.train.session import TrainSession

SAVED = 0.1
"""The share of a step that compiling saves: 0.11 to 0.16 (benchmarks/results/training_compiled.md)."""
COMPILING_S = 0.5
"""What compiling takes for a node of the training graph: 0.28 to 0.49 s of the processor, in the same place."""
WORTH = 2.0
"""What is saved must be so many times that."""
LEAST_STEPS = 100
"""A training of fewer steps is not timed: the steps that tell, and teach nothing, would be too large a part of it."""
TRIES = 3
"""Steps that tell at most, before and after; the shortest counts, since the first ones of a process take longer."""

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Plan:
    """A training, as far as it tells whether compiling pays.

    Args:
        asked: One of `engines.base.COMPILES`.
        nodes: Of the training graph.
        steps: Batches that are left to be differentiated.
        budget_s: Seconds that are left of its time; None without a limit.
        several: Whether several processes train.
    """

    asked: str = AUTO_COMPILE
    nodes: int = 0
    steps: int = 0
    budget_s: float | None = None
    several: bool = False

    def pays(self, step_s: float = math.inf) -> bool:
        """Whether compiling saves enough, where a step takes at most so long without it."""
        if self.steps < LEAST_STEPS:
            return False
        left_s = min(self.steps * step_s, math.inf if self.budget_s is None else self.budget_s)
        return SAVED * left_s > WORTH * COMPILING_S * self.nodes


def prepare(session: TrainSession, plan: Plan, feeds: Feeds, decided: bool | None) -> tuple[bool, str | None]:
    """Compile the steps of a training before the first of them, or leave them; nothing is learnt by it.

    Args:
        session: Of the training, as it begins or goes on.
        plan: What is left of it.
        feeds: A batch.
        decided: Whether its earlier steps were compiled, which is followed unless several processes go on where one
            was; None where it begins.

    Returns:
        Whether steps are compiled; and a note where they are not, though they should be.

    Raises:
        UsageError: They are asked to be always, and cannot be.
    """
    start = session.statistics.flat.copy()
    try:
        if decided is None:
            return _decided(session, plan, feeds)
        return _compiled(session, plan, feeds, _OTHERS) if decided and not plan.several else (False, None)
    finally:
        session.set_statistics(start)


_OTHERS = ", and the weights will be others than without the interruption"


def _decided(session: TrainSession, plan: Plan, feeds: Feeds) -> tuple[bool, str | None]:
    if plan.asked == NEVER_COMPILE or (plan.asked == AUTO_COMPILE and not plan.pays()):
        return False, None
    why_not = why_not_compiled(session.chosen, plan.several)
    if plan.asked == ALWAYS_COMPILE:
        if why_not:
            raise UsageError(f"--train compile={plan.asked}: {why_not}")
        return _compiled(session, plan, feeds)
    return (False, None) if why_not else _where_faster(session, plan, feeds)


def _where_faster(session: TrainSession, plan: Plan, feeds: Feeds) -> tuple[bool, str | None]:
    """Compile where the training is long enough; and leave it at that where the steps take less time so."""
    before_s = math.inf
    for _ in range(TRIES):
        before_s = min(before_s, _step_s(session, feeds))
        if not plan.pays(before_s):
            return False, None
    is_compiled, note = _compiled(session, plan, feeds)
    if not is_compiled:
        return False, note
    ratio = min(_step_s(session, feeds) for _ in range(TRIES)) / before_s
    if ratio < 1:
        return True, None
    session.uncompile()
    return False, f"{_WITHOUT}: they take {ratio:.2f} of the time of others"


def _compiled(session: TrainSession, plan: Plan, feeds: Feeds, so: str = "") -> tuple[bool, str | None]:
    """Compile, or say that it cannot be, and `so` what follows."""
    try:
        session.compile(feeds)
    except TrainingError as error:
        if plan.asked == ALWAYS_COMPILE:
            raise UsageError(f"--train compile={plan.asked}: {error}; compile=auto trains without") from error
        return False, f"{_WITHOUT}{so}: {error}"
    return True, None


_WITHOUT = "training goes on without compiled steps"


@np.errstate(over="ignore", invalid="ignore")  # A loss may be infinite; who trains notices.
def _step_s(session: TrainSession, feeds: Feeds) -> float:
    began = time.monotonic()
    session.step(feeds)
    return time.monotonic() - began
