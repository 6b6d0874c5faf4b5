"""Products whose weights have blocks of zeros: 1x1 convolutions over images, and dense layers of few rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.estimator.counting import SingleKernel
from benchmarks.estimator.grids.winograd import channels_last
from pfir.ir.model import Model
from tests.support.net import Net

IMAGES = (
    (14, 4, 0.8, (96, 64, 144, 36, 128)),
    (14, 8, 0.8, (96, 64, 144, 40)),
    (7, 8, 0.7, (160, 320, 64)),
    (7, 4, 0.9, (320, 160, 100, 48)),
    (28, 16, 0.8, (48, 96, 32)),
)
"""Rows and columns, outputs of a block, the share of zeros, and channels one after the other."""
DENSE = ((1, 4, 0.8, (128, 64, 256, 40)), (2, 8, 0.9, (160, 64)), (5, 4, 0.8, (96, 48)))
"""Rows, then as above."""


def nets() -> Iterator[tuple[Model, str]]:
    for rows, width, share, channels in DENSE:
        yield dense(rows, width, share, channels), "arm"
    for size, width, share, channels in IMAGES:
        yield image(size, width, share, channels), "arm"
    yield residual(14, 4, 0.8, (64, 48)), "arm"
    yield residual(7, 8, 0.8, (96, 160)), "arm"
    for target in ("cortex-a53", "cortex-a55", "cortex-a76"):
        yield image(14, 8, 0.8, (64, 96, 48)), target


def dense(rows: int, width: int, share: float, channels: tuple[int, ...]) -> Model:
    """Dense layers with bias and Relu, one after the other."""
    net = Net(0)
    x = net.relu(net.input(rows, channels[0]))
    for here, there in zip(channels, channels[1:], strict=False):
        weight = net.const(blocks(net, there, here, width, share).T, np.float32)
        x = net.relu(net.op("Gemm", x, weight, net.w(there)))
    return net.model((x,))


def image(size: int, width: int, share: float, channels: tuple[int, ...]) -> Model:
    """Convolutions of 1x1 with bias, some with a Relu."""
    net = Net(0)
    x = channels_last(net, 1, channels[0], size)
    for i, (here, there) in enumerate(zip(channels, channels[1:], strict=False)):
        weight = net.const(blocks(net, there, here, width, share)[:, :, None, None], np.float32)
        x = net.op("Conv", x, weight, net.w(there))
        x = net.relu(x) if i % 2 else x
    return net.model((x,))


def residual(size: int, width: int, share: float, channels: tuple[int, ...]) -> Model:
    """Convolutions of 1x1 to which their input is added, and some without a bias."""
    net, results = Net(0), []
    for count in channels:
        x = channels_last(net, 1, count, size)
        weights = [net.const(blocks(net, count, count, width, share)[:, :, None, None], np.float32) for _ in range(2)]
        results += [net.op("Add", net.op("Conv", x, weights[0], net.w(count)), x), net.op("Conv", x, weights[1])]
    return net.model(tuple(results))


def blocks(net: Net, outputs: int, inputs: int, width: int, share: float) -> np.ndarray:
    """Weights `[O, I]` of which each block of `width` outputs is zero with this chance."""
    kept = net.rng.random((outputs // width, inputs)) >= share
    return net.rng.standard_normal((outputs, inputs)) * kept.repeat(width, axis=0)


def wanted(kernel: SingleKernel) -> bool:
    """The products whose zeros are skipped."""
    return kernel.workload is not None and bool(kernel.workload.rounds)
