"""Where ONNX Runtime computes gradients: on this process's GPU where all that takes is there, else on the CPU."""

from __future__ import annotations

import ctypes
import os
from typing import Any

CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
_DRIVER = "libcuda.so.1"


def providers() -> list[Any]:
    """Execution providers in the order of preference, as sessions take them."""
    import onnxruntime

    # With CUDA's libraries there but no driver, asking for the provider ends the process: the driver is tried first.
    if _CUDA not in onnxruntime.get_available_providers() or not _has_driver():
        return [CPU]
    return [(_CUDA, {"device_id": os.environ.get("LOCAL_RANK", "0")}), CPU]


def _has_driver() -> bool:
    try:
        ctypes.CDLL(_DRIVER)
    except OSError:
        return False
    return True
