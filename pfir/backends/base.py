"""The one contract of everything that turns a model into something a device runs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pfir.artifact import Artifact, Kernel, Tuning
from pfir.devices.base import Device
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.costs.grouping import Groups, as_usual
from pfir.ir.costs.model_cost import kernels
from pfir.ir.model import Model
from pfir.target import Arithmetic, Target

UNTUNED = "none"
"""In place of a file of measured kernels: there is none, so that all are computed as the model of the core says."""


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


class TuningRecords(ABC):
    """The file of what was measured of kernels on one core, to which more is added."""

    path: Path
    core: str

    @abstractmethod
    def holds(self, kernel: Tunable) -> bool:
        """Whether the kernel was measured, among just these candidates and by this compiler."""

    @abstractmethod
    def begin(self) -> None:
        """Write the file as it is, so that what cannot be written is found out before anything is measured.

        Raises:
            UsageError: It cannot be written, or is no file of such records.
        """

    @abstractmethod
    def add(self, kernel: Tunable, candidate: str, gain: float, device: str) -> None:
        """Keep what was found of a kernel, in place of what was there.

        Args:
            candidate: The fastest.
            gain: The first candidate's time as a multiple of the fastest one's; 1 where that is the first.
            device: What they were measured on.

        Raises:
            UsageError: As in `begin`.
        """


class Backend(ABC):
    """Builds artifacts; every size of the model handed to it is fixed.

    Args:
        name: What `--backend` calls it.
        library: The file that a device loads.
        arithmetics: What its libraries can compute in.
        tunes: Whether its kernels can be measured, and are then built as was measured.
        is_onnxruntime: Whether ONNX Runtime itself runs what it builds, so that there is nothing to compare it with.
    """

    name: str
    library: str
    arithmetics: tuple[Arithmetic, ...]
    tunes: bool
    is_onnxruntime: bool

    @abstractmethod
    def check(self, model: Model) -> None:
        """Return only if every operator can be compiled.

        Raises:
            CompileError: Names the node, the operator, why, and what to do.
        """

    def grouping(self, target: Target) -> Groups:
        """A function that says which nodes of a model share a kernel; it can be pickled."""
        return as_usual

    def kernels(self, model: Model, target: Target) -> tuple[Kernel, ...]:
        """The kernels that `build` would make, without building them."""
        return kernels(model, self.grouping(target)(model))

    def estimator(self, target: Target) -> EstimateDevice:
        """An estimator that prices its kernels without any hardware; it can be pickled."""
        return EstimateDevice(target)

    @abstractmethod
    def build(self, model: Model, target: Target) -> Artifact:
        """The compiled model.

        Raises:
            CompileError: The model cannot be compiled for this target.
        """

    @abstractmethod
    def device(self, url: str | None, target: Target) -> Device:
        """The device that runs, or costs, its libraries: None (the estimator), `host` (this machine), or another one.

        Raises:
            UsageError: There is no such device, or it does not run this backend's libraries.
        """

    def artifact(self, library: bytes, model: Model, target: Target) -> Artifact:
        """A library that the backend built of the model before."""
        return Artifact(self.name, target, {self.library: library}, self.library, model.inputs(), model.outputs())

    @classmethod
    def emulates(cls, target: Target) -> bool:
        """Whether the emulated device runs its libraries for this target."""
        return False

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

    def tuning_files(self) -> tuple[Path, ...]:
        """The user's files of measured kernels that builds go by; what ships with pfir is none of them."""
        return ()

    def tuning_records(self, target: Target, path: Path | None = None) -> TuningRecords | None:
        """The records of kernels for this target in a file (None: the user's own); None where a backend has no choice.

        Raises:
            UsageError: It is no such file.
        """
        return None
