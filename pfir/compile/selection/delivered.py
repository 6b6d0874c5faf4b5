"""A candidate as it will be delivered, its numbers found quickly: what is packed to tell its size."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pfir.compile.methods.few_bits import ChosenBits, FewBits
from pfir.compile.precision.codebooks import coded
from pfir.compile.precision.layers import FLOATS, Precision
from pfir.compile.precision.quantizing import Quantizing
from pfir.compile.run_context import RunContext
from pfir.errors import Infeasible
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pipeline import run
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights


@dataclass(frozen=True)
class Delivered:
    """What is done to a candidate's weights at last, without care.

    Args:
        run: What the run works with.
        precision: What layers compute in.
        quantizing: How they are quantized; None where all is float.
        sparsifier: Makes zeros; None where none come.
        coder: Gives codebooks; None where there are none.
        few_bits: Says which layer has how many bits where a search says how many there are on average.
    """

    run: RunContext
    precision: Precision = FLOATS
    quantizing: Quantizing | None = None
    sparsifier: SparsifyWeights | None = None
    coder: QuantizeCodebook | None = None
    few_bits: FewBits | None = None

    def __call__(self, model: Model, average: float | None = None) -> Model:
        """The model in the form in which it will be; bits on average where the search says them."""
        model = self._with_zeros(model)
        given = self._few_bits(model, average)
        if isinstance(given, QuantizeCodebook):
            quick = replace(given, weighting="none", rounding="nearest")
            return coded(model, quick, self.run.samples, self.run.request)[0]
        if self.quantizing is None or not self.precision.integers:
            return model
        way = self.quantizing.ways[0] if given is None else given
        quick = replace(way, equalize=False, bias_correction=False, rounding="nearest")
        return replace(self.quantizing, ways=(quick,)).first(model, self.precision).model

    def _with_zeros(self, model: Model) -> Model:
        if self.sparsifier is None:
            return model
        request = self.run.request
        pattern = self.sparsifier.pattern
        quick = SparsifyWeights(self.sparsifier.sparsity, pattern, sparsities=self.sparsifier.sparsities)
        try:
            return run((quick,), model, Context(keep=request.keep, only=request.only))[0]
        except Infeasible:
            return model

    def _few_bits(self, model: Model, average: float | None) -> QuantizeCodebook | QuantizeUniform | None:
        if self.few_bits is None or average is None:
            return self.coder
        return self.few_bits.fixed(model, ChosenBits(average))
