"""ONNX Runtime on this machine's CPU as a device."""

from __future__ import annotations

from pfir.artifact import Artifact
from pfir.devices.host import LocalDevice
from pfir.errors import DeviceError
from pfir.system.children import run_module


class OrtHost(LocalDevice):
    """Runs and measures artifacts of the ort backend here.

    Args:
        threads: Threads within an operator, >= 1.
        timeout_s: Longest time one run or measurement may take.

    Raises:
        UsageError: `threads` is below 1.
    """

    def __init__(self, threads: int = 1, timeout_s: float = 600.0) -> None:
        command = run_module("pfir.backends.ort.worker_main", str(threads))
        super().__init__("ONNX Runtime on the host", threads, timeout_s, command)

    def check(self, artifact: Artifact) -> None:
        backend = artifact.backend
        if backend != "ort":
            raise DeviceError(f"ONNX Runtime runs artifacts of the ort backend; this one comes from {backend}")
