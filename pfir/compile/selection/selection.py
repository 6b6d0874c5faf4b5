"""What the selection of a result works with, and the stages that all its ways share: fitting and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pfir.compile.deadline import Deadline
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.pricing import Limits
from pfir.compile.plan import Plan
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.precision.quantizing import Quantizing
from pfir.compile.run_context import Chosen, RunContext
from pfir.compile.selection.fitted_search import fitted_if_nearer
from pfir.compile.selection.search_context import SearchContext, calibrated
from pfir.compile.selection.searching import Found, SearchRun
from pfir.compile.training.fine_tuning import FineTuned, FineTuning, fine_tune
from pfir.compile.workspace import Workspace


@dataclass(frozen=True)
class Selection:
    """The selection of a run's result.

    Args:
        run: What the run works with.
        evaluator: Judges models, on the device where there is one.
        workspace: Keeps the journals and the checkpoint.
        limits: What the goals allow.
        precision: What the layers of the result compute in.
        quantizing: How it is quantized; None where all is float.
    """

    run: RunContext
    evaluator: Evaluator
    workspace: Workspace
    limits: Limits
    precision: Precision = FLOATS
    quantizing: Quantizing | None = None

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return self.run.stages.elapsed_s

    def under(self, plan: Plan) -> Selection:
        """The same under a plan for a part of the time."""
        return replace(self, run=replace(self.run, plan=plan))

    def how(self, journal: Path, ends: Deadline) -> SearchRun:
        """A search of this run."""
        return SearchRun(self.run.plan, self.run.request, journal, self.run.progress, ends)

    def excess(self, found: Found) -> float:
        """The candidate's share of the latency that the goals allow; 0 where they allow any, or nothing is measured."""
        return self.evaluator.excess(found.model, self.run.models.baseline, self.precision)

    def fitted(self, search_context: SearchContext, found: Found) -> Found:
        """The candidate with its layers fitted, where that brings it nearer to the original."""
        with self.run.stages("fit layers"):
            ends = self.run.plan.fitting_ends(self.elapsed_s)
            return fitted_if_nearer(search_context, found, self.run.plan, self.run.request.seed, ends)

    def finished(self, found: Found) -> Chosen:
        """The candidate after training and, where layers compute in eight bits, quantized."""
        return self.quantized(self._fine_tuned(found))

    def quantized(self, chosen: Chosen) -> Chosen:
        """The result with integers for weights where layers compute in eight bits."""
        if self.quantizing is None or not self.precision.integers:
            return chosen
        with self.run.stages("quantize"):
            how = replace(self.quantizing, ends=self.run.plan.quantizing_ends(self.elapsed_s))
            made = how.nearest(chosen.fine_tuned.model, self.precision)
        return replace(chosen, fine_tuned=replace(chosen.fine_tuned, model=made.model), quantization=made.how)

    def _fine_tuned(self, found: Found) -> Chosen:
        """The candidate after training, as far as the plan has epochs and time for it."""
        plan, request = self.run.plan, self.run.request
        budget_s = plan.training_s(self.elapsed_s, self.precision.integers)
        if not plan.epochs:
            return Chosen(found, FineTuned(found.model))
        if budget_s is not None and budget_s <= 0:
            return Chosen(found, FineTuned(found.model), ("No time was left to fine-tune (--time-budget).",))
        how = FineTuning(plan.epochs, budget_s, request.seed, request.jobs, self.workspace.checkpoint, request.engine)
        samples, teacher = self.run.samples, self.run.models.teacher
        with self.run.stages("fine-tune"):
            tuned = fine_tune(found.model, teacher, samples, calibrated(samples), how, self.run.progress)
            return Chosen(found, tuned)
