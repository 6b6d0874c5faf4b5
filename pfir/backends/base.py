"""The one contract of everything that turns a model into something a device runs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from pfir.artifact import Artifact, Kernel
from pfir.ir.model import Model
from pfir.target import Target


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

    @abstractmethod
    def build(self, model: Model, target: Target) -> Artifact:
        """The compiled model.

        Raises:
            CompileError: The model cannot be compiled for this target.
        """
