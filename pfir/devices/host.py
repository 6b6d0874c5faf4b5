"""This machine's CPU as a device."""

from __future__ import annotations

import platform
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.devices.feeds import named, ordered, sample
from pfir.devices.worker import Worker
from pfir.errors import DeviceError, UsageError
from pfir.measurement import MEASURED, Measurement

REPEATS = 15
PROFILED = 5
"""Inferences whose kernels are timed one by one."""
LOADS = 5
"""How often a library is loaded to tell how long that takes."""
MIN_REPEAT_S = 0.02


class LocalDevice(Device):
    """Runs and measures artifacts on this machine, in a process of its own; whatever runs them, it is timed alike.

    Args:
        name: What runs them.
        threads: Threads of an inference, >= 1.
        timeout_s: Longest time one run or measurement may take.
        command: What starts the process, as `Worker` takes it.

    Raises:
        UsageError: `threads` is below 1.
    """

    def __init__(self, name: str, threads: int, timeout_s: float, command: Sequence[str] | None = None) -> None:
        if threads < 1:
            raise UsageError(f"{name} with {threads} threads was asked for; at least 1 is needed")
        self.name = f"{name} ({cpu_name()})"
        self.threads = threads
        self._worker = Worker(self.name, threads, timeout_s=timeout_s, command=command)

    @abstractmethod
    def check(self, artifact: Artifact) -> None:
        """Refuse an artifact that does not run here.

        Raises:
            DeviceError: It is of another backend, or built for another machine.
        """

    def measure(self, artifact: Artifact) -> Measurement:
        self.check(artifact)
        seconds = self._worker.time(artifact, sample(artifact), REPEATS, MIN_REPEAT_S)
        return summarise(seconds, self.name, self.threads)

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.check(artifact)
        outputs = self._worker.run(artifact, ordered(artifact, inputs))
        return named(artifact, outputs)

    def close(self) -> None:
        self._worker.close()


class HostDevice(LocalDevice):
    """Runs and measures libraries built for this machine.

    Args:
        threads, timeout_s: As of any `LocalDevice`.
    """

    def __init__(self, threads: int = 1, timeout_s: float = 600.0) -> None:
        super().__init__("host", threads, timeout_s)

    def check(self, artifact: Artifact) -> None:
        backend = artifact.backend
        if backend != "tvm":
            raise DeviceError(f"the host device runs libraries of the tvm backend; this one comes from {backend}")
        machine, triple = platform.machine().lower(), artifact.target.triple
        same = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
        if triple.partition("-")[0] != same:
            raise DeviceError(
                f"the library is built for {triple}; this machine is {machine}; build it with --target host"
            )

    def run_each(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The outputs `[N, ...]` by a library for one sample, for inputs `[N, ...]`, N >= 1.

        Raises:
            RunError, DeviceError: As in `run`.
        """
        self.check(artifact)
        ordered(artifact, {name: x[:1] for name, x in inputs.items()})
        arrays = [np.ascontiguousarray(inputs[spec.name]) for spec in artifact.inputs]
        return named(artifact, self._worker.run_each(artifact, arrays))

    def kernel_seconds(self, artifact: Artifact) -> dict[str, float]:
        self.check(artifact)
        return self._worker.kernel_seconds(artifact, sample(artifact), PROFILED)

    def load_seconds(self, artifact: Artifact) -> float:
        self.check(artifact)
        return float(np.median([self._worker.load_seconds(artifact) for _ in range(LOADS)]))

    def forget(self) -> None:
        self._worker.forget()


def summarise(seconds: list[float], detail: str, threads: int) -> Measurement:
    """The median of the repeats, with half their interquartile range as a share of it."""
    low, middle, high = np.percentile(seconds, [25, 50, 75])
    spread = float((high - low) / 2 / middle)
    return Measurement(float(middle), MEASURED, detail, spread, repeats=len(seconds), threads=threads)


def cpu_name() -> str:
    """What this machine calls its processor."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.lower().startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
