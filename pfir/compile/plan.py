"""How a time budget is shared between search, fine-tuning and the rest."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.deadline import Deadline
from pfir.compile.request import DEFAULT_TIME_BUDGET_S, Request
from pfir.compile.training.finalists import SHARE

MOST_TRIALS = 200
MOST_EPOCHS = 200
_SEARCH_SHARE = 0.25
_MOST_SEARCH_S = 900.0
_REST_SHARE = 0.2
_LEAST_REST_S, _MOST_REST_S = 20.0, 240.0
_TRAINING_SHARE = 0.35
"""Reserved before anything else is planned: what analysis and search take never comes out of it."""
_QUANTIZING_SHARE = 0.08
"""Of the time budget, kept back from fine-tuning where a model is quantized behind it."""
_EPOCHS_TO_ONE = 4
"""Where the user fixed the epochs, one of the quantized model for so many of the float one: eight bits are near it."""
_MOST_QUANTIZED_EPOCHS = 30
_RANKING_SHARE = 0.1
_FITTING_SHARE = 0.15
"""Of the time budget, at most, for ranking branches and for fitting candidates layer by layer."""


@dataclass(frozen=True)
class Plan:
    """What may be spent.

    Args:
        total_s: Seconds for the whole run.
        search_s: Seconds for the trials; None where the user fixed their number.
        fitting_s: Seconds for fitting candidates layer by layer.
        rest_s: Seconds kept back for building, verification and the report.
        reserved_s: Seconds kept back for fine-tuning; 0 where there is none or the user fixed its epochs.
        quantizing_s: Seconds kept back for quantizing what was trained, where it is.
        trials: How many trials there are at most.
        epochs: How many epochs there are at most; 0 means no training.
        fixed_epochs: Whether the user fixed them.
    """

    total_s: float
    search_s: float | None
    fitting_s: float
    rest_s: float
    reserved_s: float
    trials: int
    epochs: int
    fixed_epochs: bool
    quantizing_s: float = 0.0

    @property
    def clocked(self) -> bool:
        """Whether the clock may change what is done; not where the user fixed both trials and epochs."""
        return self.search_s is not None or not self.fixed_epochs

    def text(self) -> str:
        """One line for the user, before the work starts."""
        searched = f"up to {self.search_s:.0f} s" if self.search_s is not None else f"{self.trials} trials"
        trained = "no fine-tuning"
        if self.epochs:
            trained = f"{self.epochs} epochs of fine-tuning" if self.fixed_epochs else "the rest for fine-tuning"
            trained += f" (up to {SHARE:.0%} {'more' if self.fixed_epochs else 'of it'} to compare finalists)"
        return f"plan: {self.total_s / 60:.3g} min in all (--time-budget): search {searched}, {trained}"

    def choosing_ends(self, elapsed_s: float) -> Deadline:
        """When everything before fine-tuning must be over, told `elapsed_s` seconds into the run."""
        if not self.clocked:
            return Deadline()
        return Deadline.within(self.total_s - self.rest_s - self.reserved_s - elapsed_s)

    def ranking_ends(self, elapsed_s: float) -> Deadline:
        """When ranking branches must be over."""
        return self.choosing_ends(elapsed_s).sooner(_RANKING_SHARE * self.total_s) if self.clocked else Deadline()

    def fitting_ends(self, elapsed_s: float) -> Deadline:
        """When fitting layers must be over."""
        return self.choosing_ends(elapsed_s).sooner(self.fitting_s) if self.clocked else Deadline()

    def part(self, step: int, steps: int, elapsed_s: float) -> Plan:
        """The plan of one of several rounds: an equal part of what is left of the time."""
        round_s = max(0.0, self.total_s - self.rest_s - elapsed_s) / (steps - step)
        search = None if self.search_s is None else self.search_s / steps
        reserved = min(self.reserved_s, _TRAINING_SHARE * round_s)
        # All deadlines are told from the end of the plan, which for a round is its own, with the rest kept back behind.
        end, fitting = elapsed_s + round_s + self.rest_s, self.fitting_s / steps
        quantizing = self.quantizing_s / steps
        return replace(
            self, total_s=end, search_s=search, fitting_s=fitting, reserved_s=reserved, quantizing_s=quantizing
        )

    def training_s(self, elapsed_s: float, quantizes: bool = False, behind: float = 0.0) -> float | None:
        """Seconds that fine-tuning may take from now on; None where the user fixed the epochs.

        Args:
            quantizes: Whether the model is quantized behind it.
            behind: The share of the time that is kept for training the quantized one.
        """
        kept_s = self.rest_s + (self.quantizing_s if quantizes else 0.0)
        return None if self.fixed_epochs else (1 - behind) * max(0.0, self.total_s - kept_s - elapsed_s)

    @property
    def quantized_epochs(self) -> int:
        """How many epochs a quantized model has at most; 0 means no training."""
        if self.fixed_epochs:
            return -(-self.epochs // _EPOCHS_TO_ONE)
        return min(self.epochs, _MOST_QUANTIZED_EPOCHS)

    def quantizing_ends(self, elapsed_s: float) -> Deadline:
        """When quantizing must be over, which leaves the rest of the time to training what was quantized."""
        if not self.clocked:
            return Deadline()
        return Deadline.within(min(self.quantizing_s, self.total_s - self.rest_s - elapsed_s))

    def left_s(self, elapsed_s: float) -> float | None:
        """Seconds until the end of the time budget; None where no clock may change the run."""
        return max(0.0, self.total_s - elapsed_s) if self.clocked else None


def plan(request: Request) -> Plan:
    """The plan of a request: what the user fixed stays fixed, the rest follows from the time budget."""
    total = request.time_budget_s or DEFAULT_TIME_BUDGET_S
    trains = request.epochs is None
    return Plan(
        total_s=total,
        search_s=None if request.trials else min(_SEARCH_SHARE * total, _MOST_SEARCH_S),
        fitting_s=_FITTING_SHARE * total,
        rest_s=min(max(_REST_SHARE * total, _LEAST_REST_S), _MOST_REST_S),
        reserved_s=_TRAINING_SHARE * total if trains else 0.0,
        trials=request.trials or MOST_TRIALS,
        epochs=MOST_EPOCHS if request.epochs is None else request.epochs,
        fixed_epochs=request.epochs is not None,
        quantizing_s=_QUANTIZING_SHARE * total,
    )
