"""How a time budget is shared between search, fine-tuning and the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.request import DEFAULT_TIME_BUDGET_S, Request

MOST_TRIALS = 200
MOST_EPOCHS = 200
_SEARCH_SHARE = 0.25
_MOST_SEARCH_S = 900.0
_REST_SHARE = 0.2
_LEAST_REST_S, _MOST_REST_S = 20.0, 240.0


@dataclass(frozen=True)
class Plan:
    """What may be spent.

    Args:
        total_s: For the whole run.
        search_s: For the trials; None where the user fixed their number.
        rest_s: Kept back for building, verification and the report.
        trials: At most this many.
        epochs: At most this many; 0 means no training.
    """

    total_s: float
    search_s: float | None
    rest_s: float
    trials: int
    epochs: int
    fixed_epochs: bool

    def text(self) -> str:
        """One line for the user, before the work starts."""
        searched = f"up to {self.search_s:.0f} s" if self.search_s is not None else f"{self.trials} trials"
        trained = "no fine-tuning"
        if self.epochs:
            trained = f"{self.epochs} epochs of fine-tuning" if self.fixed_epochs else "the rest for fine-tuning"
        return f"plan: {self.total_s / 60:.3g} min in all (--time-budget): search {searched}, {trained}"

    def part(self, step: int, steps: int, elapsed_s: float) -> Plan:
        """The plan of one of several rounds: an equal part of what is left of the time."""
        end = elapsed_s + max(0.0, self.total_s - self.rest_s - elapsed_s) / (steps - step) + self.rest_s
        search = None if self.search_s is None else self.search_s / steps
        return replace(self, total_s=end, search_s=search)

    def training_s(self, elapsed_s: float) -> float | None:
        """Seconds that fine-tuning may take from now on; None where the user fixed the epochs."""
        return None if self.fixed_epochs else max(0.0, self.total_s - self.rest_s - elapsed_s)


def plan(request: Request) -> Plan:
    """The plan of a request: what the user fixed stays fixed, the rest follows from the time budget."""
    total = request.time_budget_s or DEFAULT_TIME_BUDGET_S
    return Plan(
        total_s=total,
        search_s=None if request.trials else min(_SEARCH_SHARE * total, _MOST_SEARCH_S),
        rest_s=min(max(_REST_SHARE * total, _LEAST_REST_S), _MOST_REST_S),
        trials=request.trials or MOST_TRIALS,
        epochs=MOST_EPOCHS if request.epochs is None else request.epochs,
        fixed_epochs=request.epochs is not None,
    )
