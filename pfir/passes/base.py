"""What a pass is: a frozen record whose fields are its text and whose one method rewrites a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.space import Space

Activations = Callable[[Model, Sequence[str]], Iterator[Mapping[str, np.ndarray]]]
Gradients = Callable[[Model, Sequence[str]], Mapping[str, np.ndarray]]
Arrays = Mapping[str, np.ndarray]
Slopes = Callable[[Arrays], tuple[float, Arrays]]
"""The loss, and its gradient by name, where some of the trainable initializers of a graph have these values."""

Steps = Callable[[Arrays, Arrays], tuple[float, Arrays]]
"""The loss, and its gradient by name, where some of the trainable initializers of a graph have these values, on a batch
of what its inputs are fed."""


@dataclass(frozen=True)
class Context:
    """What a pass may need from elsewhere; compile fills it, and a pass that lacks something says so.

    Args:
        activations: Runs a model on the calibration data and yields, a batch at a time, the named tensors.
        gradients: Loss gradients of the named initializers, averaged over the calibration data.
        labels: Gives the class indices int64 [N] of the samples that `activations` runs on, in its order.
        differentiate: Makes a training graph ready on the calibration data; labels are those of `labels`.
        steps: Makes a training graph ready for batches of the sizes of this one; its inputs are fed by the pass alone.
        train: Fits a training graph in a bounded number of steps; the new values by name of the initializer.
        keep: Nodes whose output channels must stay, and which stay float.
        only: If not empty, the only nodes whose output channels may be removed, or which may be quantized.
        seed: Of every random choice.
        input_shapes: Full shapes by input name, for costs of models that do not tell all sizes; the models keep theirs.
        generated: As `activations`, on generated inputs: for a pass that makes do with them where there is no data.
    """

    activations: Activations | None = None
    gradients: Gradients | None = None
    labels: Callable[[], np.ndarray] | None = None
    differentiate: Callable[[TrainingGraph], Slopes] | None = None
    steps: Callable[[TrainingGraph, Arrays], Steps] | None = None
    train: Callable[[TrainingGraph], Arrays] | None = None
    keep: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    seed: int = 0
    input_shapes: Mapping[str, Sequence[int]] = field(default_factory=dict)
    generated: Activations | None = None


@dataclass(frozen=True)
class Change:
    """What a pass did: whether the model is another one now, and what a user should know."""

    changed: bool
    notes: tuple[str, ...] = ()


class Pass(ABC):
    """A rewrite of a model. Subclasses are frozen dataclasses; their fields are their text."""

    name: ClassVar[str]
    compresses: ClassVar[bool] = False
    """Whether it gives up some of the function for a lower cost, so that training afterwards may help."""
    settled: ClassVar[bool] = True
    """Whether constants are brought where passes look for them before this one (`pfir.ir.constants.settle`)."""

    @property
    def is_open(self) -> bool:
        """Whether fields that decide how much is done were left out: `pfir compile` then searches them."""
        return False

    def opened(self) -> Pass:
        """This pass with the fields left out that a search may choose."""
        return self

    def space(self, model: Model, context: Context) -> Space:
        """What a search may choose for this model; empty if all is fixed, or there is nothing to choose."""
        del model, context
        return Space()

    def with_parameters(self, parameters: Mapping[str, float]) -> Pass:
        """This pass with its open fields as a search chose them.

        Args:
            parameters: A value for each parameter of `space`.
        """
        del parameters
        return self

    @abstractmethod
    def apply(self, model: Model, context: Context) -> Change:
        """Rewrite the model in place (arrays are replaced, never written: clones share them).

        Raises:
            Infeasible: The model offers nothing that this pass may do, and a choice was asked for.
            UsageError: The context lacks what the pass needs.
        """
