"""Floats as integers of eight bits, and back, element by element."""

from __future__ import annotations

from typing import Any

import numpy as np

from pfir.backends.tvm.lowering.form import Quantization
from pfir.target import SINGLE

# Added to it, a number of at most 2^22 is rounded to the nearest integer, to the even one of two, in the low bits.
_ROUNDING = 1.5 * 2.0**23


def quantized(value: Any, quantization: Quantization, dtype: str) -> Any:
    """The integer nearest to `value / scale + zero_point`, the even one of two; outside the type its nearest one."""
    from tvm import tirx

    limits, zero = np.iinfo(dtype), quantization.zero_point
    steps = value if quantization.scale == 1 else value * tirx.const(1 / quantization.scale, SINGLE)
    least, most = (tirx.const(float(limit - zero), SINGLE) for limit in (limits.min, limits.max))
    steps = tirx.min(tirx.max(steps, least), most) + tirx.const(_ROUNDING, SINGLE)
    bits = int(np.float32(_ROUNDING).view(np.int32))
    return (tirx.reinterpret("int32", steps) + tirx.const(zero - bits, "int32")).astype(dtype)


def dequantized(value: Any, quantization: Quantization) -> Any:
    """The float32 that an integer stands for, or those of a vector."""
    from tvm import tirx

    steps = value
    if quantization.zero_point:
        whole = value.astype(_with_lanes("int32", value))
        steps = whole - tirx.const(quantization.zero_point, _with_lanes("int32", value))
    floats = _with_lanes(SINGLE, value)
    steps = steps.astype(floats)
    return steps if quantization.scale == 1 else steps * tirx.const(quantization.scale, floats)


def _with_lanes(dtype: str, value: Any) -> str:
    """The type of a vector of as many lanes."""
    _, lanes, count = str(value.ty).partition("x")
    return dtype + lanes + count
