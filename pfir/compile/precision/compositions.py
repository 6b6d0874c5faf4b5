"""Codebooks alone or with zeros that make a file small enough: built without training, the nearest one kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil, floor

from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.precision.codebooks import coded
from pfir.compile.precision.sizes import SPARE, Sizes, sizes_of
from pfir.compile.prepare import RunModels
from pfir.compile.request import Request
from pfir.compile.run_context import RunContext
from pfir.compile.selection.search_context import calibrated
from pfir.errors import FrontendError, Infeasible, OutOfTime
from pfir.ir.model import Model
from pfir.passes.base import Context, Pass
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pipeline import run
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.run.evaluate import Scores

AVERAGE_BITS = (6.0, 5.0, 4.5, 4.0, 3.5, 3.0)
"""Of the rungs, from the one that loses least down."""
SPARSITIES = (0.0, 0.5)
"""Shares of zeros; each has its own rungs."""
SLACK = 0.9
"""What a quick look must give of the size for a rung to be built: codebooks that are rounded with care pack alike."""


@dataclass(frozen=True)
class Composition:
    """Codebooks of so many bits on average, for weights of which a share is zero."""

    average_bits: float
    sparsity: float = 0.0

    @property
    def way(self) -> str:
        """What it is called in a report: `4 bits`, `3.5 bits, 50 % zeros`."""
        zeros = f", {100 * self.sparsity:.0f} % zeros" if self.sparsity else ""
        return f"{self.average_bits:g} bits{zeros}"

    @property
    def coder(self) -> QuantizeCodebook:
        """The pass that gives codebooks."""
        return QuantizeCodebook(average_bits=self.average_bits, rounding="compensated")

    @property
    def sparsifier(self) -> SparsifyWeights | None:
        """The pass that makes zeros; None where there are none."""
        return SparsifyWeights(self.sparsity, criterion="sparsegpt", distribution="dp") if self.sparsity else None


@dataclass(frozen=True)
class Rung:
    """A composition that was built of the whole model.

    Args:
        composition: What was done.
        model: The result, untrained.
        sizes: Its, by packing it.
        scores: Against the original.
        notes: What a user should know of it.
    """

    composition: Composition
    model: Model
    sizes: Sizes
    scores: Scores
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ladder:
    """The compositions of a model.

    Args:
        context: What the run works with.
        size: How many times smaller than the original's file the result is to be.
        ends: When no further ones are tried, once one is small enough.
    """

    context: RunContext
    size: float
    ends: Deadline = NEVER
    _quick: dict[tuple[float, int], Sizes] = field(default_factory=dict, repr=False, compare=False)

    def rungs(self) -> tuple[Rung, ...]:
        """Of each share of zeros the composition of the most bits that is small enough, else that of the fewest.

        Raises:
            Infeasible: No layer may have a codebook.
            DataError: The calibration data is too little, or gives NaN.
            FrontendError: The model's opset is too old for codebooks.
        """
        found: list[Rung] = []
        for sparsity in SPARSITIES:
            enough = [rung for rung in found if self._suffices(rung)]
            if any(rung.composition.average_bits == AVERAGE_BITS[0] for rung in enough):
                break  # zeros could only lose more
            try:
                sparsifier = Composition(0.0, sparsity).sparsifier
                start = sparse(self.context, self.context.models.start, sparsifier, self.ends if enough else NEVER)
                found.append(self._highest(start, sparsity))
            except (Infeasible, OutOfTime):
                if not found:
                    raise
        return tuple(found)

    def _highest(self, start: Model, sparsity: float) -> Rung:
        rungs = self._built(start, sparsity)
        rung = next(rungs)
        while not self._suffices(rung) and (lower := next(rungs, None)) is not None:
            rung = lower
        return rung

    def _suffices(self, rung: Rung) -> bool:
        return rung.sizes.reach(SPARE * self.size)

    def _built(self, start: Model, sparsity: float) -> Iterator[Rung]:
        """The rungs that may be small enough by a quick look, and the last one whatever that says."""
        request, samples = self.context.request, self.context.samples
        for bits in AVERAGE_BITS:
            if bits == AVERAGE_BITS[-1] or self._may_reach(start, sparsity, bits):
                composition = Composition(bits, sparsity)
                model, notes = coded(start, composition.coder, samples, request)
                yield Rung(composition, model, self._sizes(model), self.context.judge.scores(model), notes)

    def _may_reach(self, start: Model, sparsity: float, bits: float) -> bool:
        quick = [self._quick_look(start, sparsity, whole) for whole in (floor(bits), ceil(bits))]
        return sum(each.times for each in quick) / 2 >= SLACK * self.size

    def _quick_look(self, start: Model, sparsity: float, bits: int) -> Sizes:
        """The sizes with so many bits in every layer, found without data."""
        if (sparsity, bits) not in self._quick:
            coder = QuantizeCodebook(bits, weighting="none")
            model, _ = coded(start, coder, self.context.samples, self.context.request)
            self._quick[sparsity, bits] = self._sizes(model)
        return self._quick[sparsity, bits]

    def _sizes(self, model: Model) -> Sizes:
        return sizes_of(self.context.request, model)


def smallest_sizes(request: Request, models: RunModels) -> Sizes | None:
    """The sizes of the last rung, looked at quickly and without data; None where no layer may have a codebook."""
    model, last = models.start, Composition(AVERAGE_BITS[-1], SPARSITIES[-1])
    kept = Context(keep=request.keep, only=request.only)
    try:
        model, _ = run((SparsifyWeights(last.sparsity),), model, kept)
    except Infeasible:
        model = models.start
    try:
        model, _ = run((QuantizeCodebook(floor(last.average_bits), weighting="none"),), model, kept)
    except (Infeasible, FrontendError):
        return None
    return sizes_of(request, model)


def sparse(context: RunContext, model: Model, sparsifier: Pass | None, ends: Deadline = NEVER) -> Model:
    """The model with the zeros of a pass; itself without one.

    Raises:
        Infeasible: No weight may become zero.
        OutOfTime: There is no time for it.
    """
    if sparsifier is None:
        return model
    request = context.request
    given = Context(ends.guard(calibrated(context.samples)), keep=request.keep, only=request.only, seed=request.seed)
    return run((sparsifier,), model, given)[0]
