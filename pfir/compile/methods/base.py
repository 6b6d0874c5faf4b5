"""The contract of a compressing method: what it lets a search choose, what that costs, and how it is built.

The search composes any set of methods: their spaces side by side, their costs and their rewrites one after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pfir.artifact import Kernel
from pfir.compile.deadline import NEVER, Deadline
from pfir.compile.methods.sizing import Sizing
from pfir.data.base import Dataset
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.model import Model
from pfir.passes.base import Context
from pfir.space import Space

Parameters = Mapping[str, float]
Change = tuple[float, float]
"""A quantity before and after, such as the channels of a group."""


class ModelCost(ABC):
    """What a model would cost, each figure computed when it is asked for: a search asks for few of them, often."""

    @property
    @abstractmethod
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels that a compiler would make of the model."""

    def latency_s(self, device: EstimateDevice) -> float:
        """Estimated seconds of one inference."""
        return device.estimate(self.kernels).seconds

    @property
    @abstractmethod
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""

    @property
    @abstractmethod
    def size_bytes(self) -> int:
        """Bytes of the weights."""

    def bytes_in(self, share: float) -> float:
        """Bytes of the weights if each value had this share of its bits."""
        return share * self.size_bytes

    @property
    @abstractmethod
    def key(self) -> tuple:
        """What tells this model from others that the same methods make; equal keys mean equal costs."""

    @abstractmethod
    def model(self) -> Model:
        """The model itself, its weights as they happen to be: what a method reads that prices by building."""


class Choice(ABC):
    """What a method does to one model, once its parameters are chosen."""

    @property
    @abstractmethod
    def text(self) -> str:
        """The pass that does the same, as text; empty where nothing changes."""

    @abstractmethod
    def recipe(self) -> dict[str, object]:
        """The method's part of recipe.json, by key; `Method.read` makes the choice of it again."""

    @property
    def changes(self) -> Mapping[str, Change]:
        """What the report shows as before and after, by name."""
        return {}

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        """Nodes that the method had to leave as they are, each with the reason."""
        return ()


class Method(ABC):
    """A way to make a model cheaper. Subclasses are frozen dataclasses; a search in processes pickles them."""

    noun: ClassVar[str]
    """What the method is called in a sentence, such as `pruning`."""
    fits: ClassVar[bool] = False
    """Whether `fit` does something."""

    @abstractmethod
    def space(self) -> Space:
        """What a search may choose; empty where all is fixed."""

    @abstractmethod
    def cost(self, before: ModelCost, parameters: Parameters) -> ModelCost:
        """The cost of a model of this cost once the method has changed it."""

    @abstractmethod
    def choose(self, parameters: Parameters, before: ModelCost) -> Choice:
        """What is done by these parameters to a model of this cost, as the methods before left it."""

    @abstractmethod
    def read(self, parts: Mapping[str, object]) -> Choice:
        """The choice that a recipe with these parts holds.

        Raises:
            UsageError: It is of another model.
        """

    @abstractmethod
    def build(self, model: Model, choice: Choice) -> Model:
        """The changed model, its other weights making up for what goes where that takes no training.

        Args:
            model: The caller's own copy, which may be changed in place.
        """

    def rounded(self, model: Model, choice: Choice) -> Model:
        """A built model as its weights will be at last, told quickly: what it is scored as, while training comes
        first; itself where the method leaves nothing for the end."""
        del choice
        return model

    @property
    def summary(self) -> str:
        """What may be chosen, in a line for a person."""
        return f"{self.noun}: {len(self.space().parameters)} parameters to search"

    def whole(self) -> ModelCost | None:
        """The cost of the model before the method, where the method counts it in a way of its own."""
        return None

    def snap(self, parameters: Parameters) -> dict[str, float]:
        """The method's parameters as they will really be built."""
        return {p.name: p.nearest(parameters[p.name]) for p in self.space().parameters}

    def warm_starts(self) -> tuple[dict[str, float], ...]:
        """Candidates that a person would try first."""
        return (self.space().defaults(),)

    def ranked(self, data: Dataset, deadline: Deadline = NEVER) -> Method:
        """The method with what only trials on data can tell, made before a search; one without the like is itself."""
        del data, deadline
        return self

    def bounded(self, device: EstimateDevice, costly_first: bool) -> Method:
        """The method as `ranked` might make it at best, or at worst, for a device; told without any trial."""
        del device, costly_first
        return self

    def priced(self, sizing: Sizing) -> Method:
        """The method, its costs those of models that are looked at so."""
        del sizing
        return self

    def fit(self, model: Model, choice: Choice, context: Context, original: Model) -> None:
        """Fit a built model in place, layer by layer, to what the original gives there."""
        del model, choice, context, original

    @property
    def fingerprint(self) -> tuple:
        """What scores depend on beside the model and the data; part of what trials of one journal share."""
        return tuple((p.name, p.low, p.high) for p in self.space().parameters)
