"""Kernels touch no memory outside their operands."""

from __future__ import annotations

import ctypes
import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pfir.backends.tvm.schedule.algorithms import OUTPUTS
from pfir.target import FLOAT16, FLOAT32
from tests.test_backends.fences import call_between_fences, convolutions, fenced, rows


def _end(workload: Callable, *arguments: Any) -> int | None:
    """How a process of its own that does the work ends."""
    process = multiprocessing.get_context("spawn").Process(target=workload, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def _read(place: int, at_end: bool) -> None:
    """Value `place` of sixteen that stand between fences."""
    array = fenced(np.ones(16, np.float32), at_end)
    assert ctypes.c_float.from_address(array.ctypes.data + 4 * place).value == 1


@pytest.mark.parametrize(("outputs", "arithmetic"), [*((outputs, FLOAT32) for outputs in OUTPUTS), (2, FLOAT16)])
def test_a_kernel_keeps_to_its_operands(outputs, arithmetic):
    assert _end(call_between_fences, convolutions, outputs, arithmetic) == 0


def test_kernels_over_rows_keep_to_their_operands():
    assert _end(call_between_fences, rows) == 0


def test_the_kernels_are_of_several_families():
    families = {spec.family for spec, _ in convolutions(OUTPUTS[0]).kernels}
    assert families >= {"depthwise", "direct", "pool", "transpose", "winograd"}
    assert "conv" in {spec.family for spec, _ in convolutions(2, FLOAT16).kernels}
    families = {spec.family for spec, _ in rows().kernels}
    assert families >= {"across", "affine", "matmul", "norm", "reduce_rows", "softmax"}


@pytest.mark.parametrize(("outside", "inside", "at_end"), ((-1, 0, False), (16, 15, True)), ids=("before", "behind"))
def test_a_fence_stops_what_reads_beyond_it(outside, inside, at_end):
    assert (_end(_read, inside, at_end), _end(_read, outside, at_end)) == (0, -signal.SIGSEGV)
