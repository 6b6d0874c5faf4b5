"""Any pass whose fields may be searched, as a method: a candidate is built to be priced."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from pfir.artifact import Kernel
from pfir.compile.methods.base import Choice, Method, ModelCost, Parameters
from pfir.compile.methods.sizing import Sizing
from pfir.errors import UsageError
from pfir.ir.costs.model_cost import Cost, model_cost
from pfir.ir.costs.sparse_size import sparse_size_bytes
from pfir.ir.model import Model
from pfir.passes.base import Context, Pass
from pfir.passes.pipeline import run
from pfir.passes.spec import format_pass, parse
from pfir.space import Space

APPLIED = "applied"
"""The key of recipes under which the passes stand that a search completed."""


@dataclass(frozen=True)
class AppliedPass(Choice):
    """A pass with all its fields."""

    chosen: Pass

    @property
    def text(self) -> str:
        return format_pass(self.chosen)

    def recipe(self) -> dict[str, object]:
        return {APPLIED: [self.text]}


@dataclass(frozen=True)
class BuiltCost(ModelCost):
    """The cost of a model that is built when a figure is asked for, and not kept: a search prices thousands.

    Args:
        source: Makes the model.
        sizing: How it is looked at.
        key: See `ModelCost`.
    """

    source: Callable[[], Model]
    sizing: Sizing
    key: tuple = ()

    def model(self) -> Model:
        return self.source()

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self._figures[0]

    @property
    def macs(self) -> int:
        return self._figures[1].macs

    @property
    def size_bytes(self) -> int:
        """Of integers as a file holds them; of floats each tensor without its zeros, where that is less."""
        return self._figures[2]

    def bytes_in(self, share: float) -> float:
        """As `size_bytes`; where zeros lie takes a bit of each value all the same."""
        if self.sizing.precision.integers:
            return share * self.size_bytes
        return sparse_size_bytes(self.sizing.seen(self.source()), share)

    @cached_property
    def _figures(self) -> tuple[tuple[Kernel, ...], Cost, int]:
        seen = self.sizing.seen(self.source())
        cost = model_cost(seen)
        size = cost.size_bytes if self.sizing.precision.integers else sparse_size_bytes(seen)
        return self.sizing.kernels(seen), cost, size


@dataclass(frozen=True)
class SearchedPass(Method):
    """A pass whose open fields are searched.

    Args:
        model: What it is applied to, as far as it was not changed by methods before it.
        searched: The pass.
        sizing: How a model is looked at to be priced.
        keep, only: As in `Context`.
    """

    model: Model
    searched: Pass
    sizing: Sizing
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    _known: dict[tuple, ModelCost] = field(default_factory=dict, repr=False, compare=False)

    @property
    def noun(self) -> str:
        return self.searched.name

    def space(self) -> Space:
        """The space of the pass, its parameters under the name of the pass."""
        return self._space

    def choose(self, parameters: Parameters, before: ModelCost) -> AppliedPass:
        return self._chosen(self._own_values(parameters), before.model())

    def read(self, parts: Mapping[str, object]) -> AppliedPass:
        found = [p for text in parts.get(APPLIED, ()) for p in parse(str(text)) if p.name == self.searched.name]
        if len(found) != 1:
            raise UsageError(f"the recipe does not say how {self.searched.name} was applied")
        return AppliedPass(found[0])

    def build(self, model: Model, choice: Choice) -> Model:
        return run((choice.chosen,), model, self._context)[0]

    def cost(self, before: ModelCost, parameters: Parameters) -> ModelCost:
        """The cost of the model that is built by these parameters, whose figures are kept: a search asks again."""
        own = self._own_values(parameters)
        key = (before.key, tuple(own.items()))
        if key not in self._known:
            self._known[key] = BuiltCost(partial(self._built, before, own), self.sizing, key)
        return self._known[key]

    def priced(self, sizing: Sizing) -> SearchedPass:
        return replace(self, sizing=sizing, _known={})

    def _built(self, before: ModelCost, own: Parameters) -> Model:
        model = before.model()
        return self.build(model, self._chosen(own, model))

    def _chosen(self, own: Parameters, model: Model) -> AppliedPass:
        """The pass by these parameters, as far as a model still has what they are of: a layer may have gone."""
        there = self.searched.space(model, self._context).names
        return AppliedPass(self.searched.with_parameters({n: v for n, v in own.items() if n in there}))

    def _own_values(self, parameters: Parameters) -> dict[str, float]:
        """The parameters by the names of the pass."""
        return {p.name: p.nearest(parameters[self._prefix + p.name]) for p in self._own.parameters}

    @property
    def _prefix(self) -> str:
        return f"{self.searched.name}."

    @cached_property
    def _context(self) -> Context:
        return Context(keep=self.keep, only=self.only)

    @cached_property
    def _own(self) -> Space:
        return self.searched.space(self.model, self._context)

    @cached_property
    def _space(self) -> Space:
        return Space(tuple(replace(p, name=self._prefix + p.name) for p in self._own.parameters))


def whole_cost(methods: Sequence[Method], model: Model, sizing: Sizing) -> ModelCost:
    """The cost of a model before any of these methods, counted as the first of them counts that has its own way."""
    counted = (method.whole() for method in methods)
    return next((cost for cost in counted if cost is not None), BuiltCost(partial(_itself, model), sizing))


def _itself(model: Model) -> Model:
    return model
