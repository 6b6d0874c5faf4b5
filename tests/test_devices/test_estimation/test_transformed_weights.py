"""Weights that kernels read transformed: more bytes than the model has, on every target."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.artifact import Kernel
from pfir.backends.tvm.backend import TvmBackend
from pfir.backends.tvm.counts.kernel import KernelCounts
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.target import FLOAT16, Target, parse_target, with_arithmetic
from pfir.workload import Workload

TARGETS = "arm", "cortex-a53", "cortex-a76", "x86-64:x86-64-v3"


def _convolution(size: int, channels: int = 64) -> Kernel:
    """A convolution of a square kernel on images of 16 rows and columns."""
    shape, pads = (1, channels, 16, 16), (size // 2, size // 2)
    work = Workload("conv", shape, shape, (0, 2, 3, 1), (size, size), pads=pads)
    return Kernel("c", "conv", 1, 4 * channels**2 * size**2, 1, 4 * channels**2 * size**2, work)


@pytest.mark.parametrize("target", TARGETS)
def test_transformed_weights_are_four_times_those_of_the_model(target: str):
    where, count = parse_target(target), KernelCounts()
    assert count.more_weights(_convolution(3), where) == 3 * _convolution(3).weight_bytes
    assert count.more_weights(_convolution(5), where) == 0


def _waiting(where: Target, kernel: Kernel) -> float:
    """Seconds that the backend's estimator adds for weights that the model does not have."""
    told = TvmBackend().estimator(where)
    plain = EstimateDevice(where, told.count, told.around)
    return told.estimate([kernel]).seconds - plain.estimate([kernel]).seconds


@pytest.mark.parametrize("target", TARGETS)
def test_what_the_caches_do_not_hold_of_them_comes_from_memory(target: str):
    where, kernel = parse_target(target), _convolution(3, 512)
    model, kept = (max(0, n * kernel.weight_bytes - where.core.kept_bytes) / where.core.bandwidth for n in (1, 4))
    assert kept > model and np.isclose(_waiting(where, kernel), kept - model)


def test_in_float16_they_are_half_as_many_bytes():
    half, kernel = with_arithmetic(parse_target("cortex-a76"), FLOAT16), _convolution(3, 512)
    more = KernelCounts().more_weights(kernel, half)
    assert more > 0 and np.isclose(_waiting(half, kernel), more / 2 / half.core.bandwidth)


def test_an_estimator_adds_what_more_weights_there_are():
    target = parse_target("x86-64:x86-64-v3")
    work, weights = Workload("product", (1, 8), (1, 8), (0, 1)), target.core.l3_bytes
    net = [Kernel("d", "dense", 64, weights + 32, 32, weights, work)]
    plain, more = (EstimateDevice(target, more=more).estimate(net).seconds for more in (None, lambda k, t: 16_000.0))
    assert np.isclose(more - plain, 1e-6)
