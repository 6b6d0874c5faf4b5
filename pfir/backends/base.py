"""The one contract of everything that turns a model into something a device runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from pfir.artifact import Artifact, Kernel, Tuning
from pfir.ir.model import Model
from pfir.target import Target


@dataclass(frozen=True)
class Tunable:
    """A kernel of a model that can be computed in several ways.

    Args:
        name: Equal names stand for equal work.
        candidates: What can be chosen; the first is what a backend chooses that has measured nothing.
        build: A library of this kernel alone, computed in one of the ways; its weights are the model's.
        calls: How often one inference calls it.
        macs: Multiply-accumulates of one call.
    """

    name: str
    candidates: tuple[str, ...]
    build: Callable[[str], Artifact]
    calls: int = 1
    macs: int = 0


class Backend(ABC):
    """Builds artifacts; every size of the model handed to it is fixed."""

    name: str

    @abstractmethod
    def check(self, model: Model) -> None:
        """Return only if every operator can be compiled.

        Raises:
            CompileError: Names the node, the operator, why, and what to do.
        """

    @abstractmethod
    def kernels(self, model: Model, target: Target) -> tuple[Kernel, ...]:
        """The kernels that `build` would make, without building them."""

    def tunables(self, model: Model, target: Target) -> tuple[Tunable, ...]:
        """The kernels among which measurements may choose, each name once; none where a backend has no choice.

        Raises:
            CompileError: As in `check`.
        """
        return ()

    def tuning(self, model: Model, target: Target) -> Tuning | None:
        """Which kernels `build` computes as was measured, and where that stands; None where a backend has no choice.

        Raises:
            CompileError: As in `check`.
        """
        return None

    @abstractmethod
    def build(self, model: Model, target: Target) -> Artifact:
        """The compiled model.

        Raises:
            CompileError: The model cannot be compiled for this target.
        """
