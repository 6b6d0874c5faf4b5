"""ONNX Runtime on this machine's CPU as a device."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pfir.artifact import Artifact
from pfir.devices.base import Device
from pfir.devices.feeds import named, ordered, sample
from pfir.devices.host import MIN_REPEAT_S, REPEATS, cpu_name, summarise
from pfir.devices.worker import Worker
from pfir.errors import DeviceError, UsageError
from pfir.measurement import Measurement
from pfir.system.children import run_module


class OrtHost(Device):
    """Runs and measures artifacts of the ort backend here, in a process of its own.

    Args:
        threads: Threads within an operator, >= 1.
        timeout_s: Longest time one run or measurement may take.

    Raises:
        UsageError: `threads` is below 1.
    """

    def __init__(self, threads: int = 1, timeout_s: float = 600.0) -> None:
        if threads < 1:
            raise UsageError(f"ONNX Runtime on {threads} threads was asked for; at least 1 is needed")
        self.name = f"ONNX Runtime on the host ({cpu_name()})"
        self.threads = threads
        command = run_module("pfir.backends.ort.worker_main", str(threads))
        self._worker = Worker(self.name, threads, timeout_s=timeout_s, command=command)

    def measure(self, artifact: Artifact) -> Measurement:
        _check(artifact)
        seconds = self._worker.time(artifact, sample(artifact), REPEATS, MIN_REPEAT_S)
        return summarise(seconds, self.name, self.threads)

    def run(self, artifact: Artifact, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        _check(artifact)
        outputs = self._worker.run(artifact, ordered(artifact, inputs))
        return named(artifact, outputs)

    def close(self) -> None:
        self._worker.close()


def _check(artifact: Artifact) -> None:
    if artifact.backend != "ort":
        raise DeviceError(f"ONNX Runtime runs artifacts of the ort backend; this one comes from {artifact.backend}")
