"""What a run works with, fixed before the search, and what it ends up with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from pfir.backends.base import Backend
from pfir.compile.calibration.samples import Samples
from pfir.compile.plan import Plan
from pfir.compile.precision.layers import Quantization
from pfir.compile.prepare import Prepared, RunModels
from pfir.compile.request import Request
from pfir.compile.selection.searching import Found
from pfir.compile.stages import Stages
from pfir.compile.training.fine_tuning import FineTuned
from pfir.compile.training.judging import Judge
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.report.progress import Progress
from pfir.report.record import Alone, Finalist
from pfir.system.host_cpu import usable_cores
from pfir.target import Target


@dataclass(frozen=True)
class RunContext:
    """Everything but the device and the output folder."""

    request: Request
    target: Target
    backend: Backend
    prepared: Prepared
    samples: Samples
    plan: Plan
    stages: Stages
    progress: Progress

    @cached_property
    def judge(self) -> Judge:
        """What models are judged by, before training and after it."""
        return Judge(self.models.teacher, self.samples, self.request.jobs or usable_cores(), self.request.seed)

    @property
    def models(self) -> RunModels:
        """The models that play a part in the run."""
        return self.prepared.models

    def has_time(self, seconds: float) -> bool:
        """Whether so many seconds are left of the time budget; always where no clock may change the run."""
        left = self.plan.left_s(self.stages.elapsed_s)
        return left is None or left >= seconds


@dataclass(frozen=True)
class Chosen:
    """The compressed model and how it came about.

    Args:
        found: The candidate.
        fine_tuned: The same, trained, and quantized where layers compute in eight bits.
        notes: What a user should know, a sentence each.
        quantization: How it was quantized; None where all is float.
        alone: What eight bits and channels would have given alone.
        finalists: What a short training found of the candidates, where it compared some.
        codebooks: The pass that gave weights codebooks, with the bits of every layer; empty where none did.
        zeros: The pass that made weights zero behind the channels; empty where none did.
        coder: The pass that pfir chose to give it codebooks, before it did; None where it chose none.
    """

    found: Found
    fine_tuned: FineTuned
    notes: tuple[str, ...] = ()
    quantization: Quantization | None = None
    alone: tuple[Alone, ...] = ()
    finalists: tuple[Finalist, ...] = ()
    codebooks: str = ""
    zeros: str = ""
    coder: QuantizeCodebook | None = None
