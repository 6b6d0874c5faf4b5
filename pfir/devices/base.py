"""The one contract of everything that a library can run on or be costed by."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import numpy as np

from pfir.artifact import Artifact, Kernel
from pfir.errors import DeviceError
from pfir.measurement import Measurement


class Device(ABC):
    """Something that runs a library, measures it, or estimates it; close it when done (a context manager).

    Args:
        name: What a reader is told.
        runs: Whether it computes a library's outputs.
        measures: Whether it tells how long a library takes.
        estimates: Whether it tells the latency from kernels alone, so that no library is built for it.
    """

    name: str
    runs: bool = True
    measures: bool = True
    estimates: bool = False

    @abstractmethod
    def measure(self, artifact: Artifact) -> Measurement:
        """The latency of one inference.

        Raises:
            DeviceError: The device does not answer, or yields no latency (an emulated one never does).
        """

    @abstractmethod
    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs for one set of inputs.

        Raises:
            RunError: The device was ready, and the library did not load, crashed, hung or refused its inputs.
            DeviceError: The device cannot be set up, or is an estimator and runs nothing.
        """

    def estimate(self, kernels: Sequence[Kernel]) -> Measurement:
        """The latency of a net that runs these kernels one after another.

        Raises:
            UsageError: There is no kernel, or one that it cannot cost.
            DeviceError: It measures libraries and estimates nothing.
        """
        raise DeviceError(f"{self.name} measures libraries and estimates nothing")

    def instructions(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> int | None:
        """How many instructions one inference executes on one thread; None where the device cannot count them.

        Raises:
            RunError: The library does not run.
            DeviceError: The device cannot be set up.
        """
        return None

    def kernel_seconds(self, artifact: Artifact) -> dict[str, float] | None:
        """What the calls of each kernel take together in one inference, by the kernel's name in the library; None where
        the device cannot tell.

        Raises:
            DeviceError: The device does not answer.
        """
        return None

    def load_seconds(self, artifact: Artifact) -> float | None:
        """Until a library that lies in memory is ready to run; None where the device cannot tell.

        Raises:
            DeviceError: The device does not answer.
        """
        return None

    def connect(self) -> None:  # noqa: B027  (most devices are there)
        """Find out now rather than on first use whether the device is there.

        Raises:
            DeviceError: It is not.
        """

    def forget(self) -> None:  # noqa: B027  (most devices hold nothing)
        """Give back the memory of the libraries that ran.

        Raises:
            DeviceError: The device does not answer.
        """

    def close(self) -> None:  # noqa: B027  (most devices hold nothing)
        """Give back what the device holds."""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
