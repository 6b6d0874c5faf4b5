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

    # With CUDA's libraries there but no driver, asking for the provider ends the process: the driver is asked first.
    count = gpus() if _CUDA in onnxruntime.get_available_providers() else 0
    if not count:
        return [CPU]
    return [(_CUDA, {"device_id": str(int(os.environ.get("LOCAL_RANK", "0")) % count)}), CPU]


def gpus() -> int:
    """How many GPUs CUDA's driver lets this process use, as CUDA_VISIBLE_DEVICES has it; 0 without a driver.

    Source: CUDA Driver API, cuInit and cuDeviceGetCount; both give 0 where they succeed.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError:
        return 0
    count = ctypes.c_int(0)
    works = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if works else 0
