"""What the selection of a result works with, and the stages that all its ways share: fitting and fine-tuning."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.methods.few_bits import ChosenBits, FewBits
from pfir.compile.methods.pricing import Limits
from pfir.compile.plan import Plan
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.precision.quantizing import Quantizing, integer_bits
from pfir.compile.replay import train_options
from pfir.compile.run_context import Chosen, RunContext
from pfir.compile.selection.comparing import Comparison, said
from pfir.compile.selection.fitted_search import fitted_if_nearer
from pfir.compile.selection.search_context import SearchContext, calibrated
from pfir.compile.selection.searching import Found, SearchRun
from pfir.compile.selection.size_goal import SizeGoal, average_bits
from pfir.compile.training.compiled_teacher import CompiledTeacher
from pfir.compile.training.finalists import MOST, ShortTraining, short_training
from pfir.compile.training.fine_tuning import FineTuned, FineTuning, fine_tune, settings_for
from pfir.compile.training.growing import Growing
from pfir.compile.training.quantization_aware import joined_curves, train_quantized
from pfir.compile.training.teaching import Teaching
from pfir.compile.workspace import Workspace
from pfir.ir.model import Model
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.report.record import Finalist

LEAST_S = 10.0
"""Less time is not worth a training of the quantized model, whose gradients alone take some seconds to build."""
LEAST_SHARE = 0.1
"""A smaller share of the training behind quantization is left to the float model."""


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
        rounding_loss: How far integers or codebooks alone take the start from the original, as divergence; 0 where that
            is unknown.
        few_bits: Says which layer has how many bits where the search says how many there are on average.
        size_goal: How small the result's packed file is to be, where candidates are searched for that.
        growing: Zeros that spread while the candidate is fine-tuned; None where none do.
    """

    run: RunContext
    evaluator: Evaluator
    workspace: Workspace
    limits: Limits
    precision: Precision = FLOATS
    quantizing: Quantizing | None = None
    rounding_loss: float = 0.0
    few_bits: FewBits | None = None
    size_goal: SizeGoal | None = None
    growing: Growing | None = None

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
        """The candidate after training and, where layers compute in eight bits, quantized and trained again."""
        behind = self._share_behind(found)
        chosen = self.quantized(self._fine_tuned(*self._compared(found, behind), behind))
        return self.trained_quantized(chosen) if behind else chosen

    @property
    def rivals(self) -> int:
        """How many candidates beside the best a short training will compare."""
        planned = self._short_training(self._budget_s(0.0), MOST)
        return planned.count - 1 if planned else 0

    def quantized(self, chosen: Chosen) -> Chosen:
        """The result with integers for weights where layers compute in eight bits, chosen without training."""
        if self.quantizing is None or not self.precision.integers:
            return chosen
        with self.run.stages("quantize"):
            how = replace(self.quantizing, ends=self.run.plan.quantizing_ends(self.elapsed_s))
            if (way := self._searched_way(chosen)) is not None:
                how = replace(how, ways=(way,))
            made = how.nearest(chosen.fine_tuned.model, self.precision)
        return replace(chosen, fine_tuned=replace(chosen.fine_tuned, model=made.model), quantization=made.how)

    def _searched_way(self, chosen: Chosen) -> QuantizeUniform | None:
        """The way with the bits that the search chose; None where it chose none."""
        average = average_bits(chosen.found)
        if self.few_bits is None or average is None:
            return None
        way = self.few_bits.fixed(chosen.fine_tuned.model, ChosenBits(average))
        return way if isinstance(way, QuantizeUniform) else None

    def trained_quantized(self, chosen: Chosen) -> Chosen:
        """The quantized result after training with its integers in place, as far as there are epochs and time."""
        plan, how = self.run.plan, chosen.quantization
        budget_s = plan.training_s(self.elapsed_s)
        if how is None or not plan.quantized_epochs or (budget_s is not None and budget_s < LEAST_S):
            return chosen
        tuning = self._tuning(plan.quantized_epochs, budget_s, chosen.fine_tuned.model)
        rest = (self.run.models.teacher, self.run.samples, tuning, self.run.progress, self.run.judge)
        with self.run.stages("train quantized"):
            model = chosen.fine_tuned.model
            tuned = train_quantized(model, integer_bits(model, how.way), *rest)
        joined = joined_curves(chosen.fine_tuned.curve, tuned.curve)
        notes = (*chosen.fine_tuned.notes, *tuned.notes)
        fine_tuned = replace(chosen.fine_tuned, model=tuned.model, curve=joined, notes=notes)
        return replace(chosen, fine_tuned=fine_tuned, quantization=replace(how, training=tuned.settings or {}))

    def _share_behind(self, found: Found) -> float:
        """The share of training that comes once the candidate is quantized: that of what few bits lose in all that is
        to be made up for, since a step with integers in place takes twice as long and teaches no more."""
        if not self.rounding_loss or not self.run.plan.epochs:
            return 0.0
        lost = self.run.judge.scores(found.model).divergence
        share = self.rounding_loss / (self.rounding_loss + lost)
        return share if share >= LEAST_SHARE else 0.0

    def _compared(self, found: Found, behind: float) -> tuple[Found, tuple[Finalist, ...]]:
        """The candidate that a short training of it and its rivals speaks for, and what was found of each."""
        budget_s = self._budget_s(behind)
        short = self._short_training(budget_s, 1 + len(found.rivals))
        if short is None or self.growing is not None:  # what zeros cost shows only once they have grown
            return replace(found, rivals=()), ()
        run, how = self.run, self._tuning(self.run.plan.epochs, budget_s, found.model)
        settings = settings_for(run.models.teacher, run.samples, how, self.run.judge.augment)
        activations = calibrated(run.samples)
        course = how.course(run.models.teacher, run.samples, settings, NEVER, run.progress)
        teaching = Teaching(course, activations, how.recipe)
        with run.stages("train finalists"):
            return Comparison(teaching, short, self.run.judge, self.workspace.finalist_checkpoint).best(found)

    def _short_training(self, budget_s: float | None, found: int) -> ShortTraining | None:
        """How finalists are compared; None where there is no training, or none long enough."""
        epochs, samples = self.run.plan.epochs, self.run.samples
        if not epochs or (budget_s is not None and budget_s <= 0):
            return None
        how = self._tuning(epochs, budget_s)
        settings = settings_for(self.run.models.teacher, samples, how, self.run.judge.augment)
        return short_training(found, settings, len(samples.train))

    def _budget_s(self, behind: float) -> float | None:
        """Seconds for training from now on, but for the share that comes behind quantization."""
        return self.run.plan.training_s(self.elapsed_s, self.precision.integers, behind)

    def _fine_tuned(self, found: Found, finalists: tuple[Finalist, ...], behind: float) -> Chosen:
        """The candidate after training, as far as the plan has epochs and time for it, but for the share behind it."""
        plan = self.run.plan
        budget_s = self._budget_s(behind)
        if not plan.epochs:
            return Chosen(found, FineTuned(found.model))
        if budget_s is not None and budget_s <= 0:
            return Chosen(found, FineTuned(found.model), ("No time was left to fine-tune (--time-budget).",))
        how = self._tuning(plan.epochs, budget_s, found.model)
        samples, teacher = self.run.samples, self.run.models.teacher
        with self.run.stages("fine-tune"):
            tuned = fine_tune(
                found.model, teacher, samples, calibrated(samples), how, self.run.progress, self.run.judge
            )
            return Chosen(found, tuned, said(finalists), finalists=finalists)

    def _tuning(self, epochs: int, budget_s: float | None, model: Model | None = None) -> FineTuning:
        """How a model is trained; without one, of what is planned only."""
        request = self.run.request
        checkpoint = None if model is None else self.workspace.checkpoint(model.to_bytes())
        return FineTuning(
            epochs,
            budget_s,
            request.seed,
            request.jobs,
            checkpoint,
            request.engine,
            replace(request.processes, folder=self.workspace.training_job),
            options=train_options(request),
            compiled=CompiledTeacher(self.run.backend, request.jobs, dict(request.input_shapes)),
            growing=self.growing,
        )
