"""Products over integers whose weights have units of zeros: 1x1 convolutions over images, dense layers of few rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.estimator.counting import SingleKernel
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.ir.model import Model
from tests.support.net import Net
from tests.test_backends.test_tvm_quantized.nets import QuantizedNet

TARGETS = "cortex-a76", "cortex-a72", "cortex-a53", "cortex-a55", "neoverse-n2"
IMAGES = (
    (14, (8, 4), 0.8, (96, 64, 144, 32)),
    (14, (4, 4), 0.9, (64, 128, 48)),
    (7, (16, 4), 0.7, (160, 320, 64)),
    (7, (4, 16), 0.8, (320, 160, 48)),
    (28, (8, 8), 0.8, (48, 96, 32)),
    (14, (16, 16), 0.75, (64, 128, 96)),
)
"""Rows and columns, outputs and inputs of a unit, the share of zeros, and channels one after the other."""
DENSE = ((1, (8, 4), 0.8, (128, 64, 256, 40)), (2, (4, 16), 0.9, (160, 64)), (5, (16, 8), 0.8, (96, 48)))
"""Rows, then as above."""


def nets() -> Iterator[tuple[Model, str]]:
    for target in TARGETS:
        for size, *how in IMAGES:
            yield image(size, *how), target
        for rows, *how in DENSE:
            yield dense(rows, *how), target


def dense(rows: int, unit: tuple[int, int], share: float, channels: tuple[int, ...]) -> Model:
    """Dense layers with bias, one after the other."""
    net = Net(0)
    q = QuantizedNet(net)
    x = q.image(rows, channels[0])
    for here, there in zip(channels, channels[1:], strict=False):
        weight = q.weights(units(net, there, here, unit, share).T, axis=1)
        x = q.pair(net.op("Gemm", x, weight, q.bias(there, 0.03)))
    return net.model((x,))


def image(size: int, unit: tuple[int, int], share: float, channels: tuple[int, ...]) -> Model:
    """Convolutions of 1x1 with bias, some with a Relu."""
    net = Net(0)
    q = QuantizedNet(net)
    x = q.image(1, channels[0], size, size)
    for i, (here, there) in enumerate(zip(channels, channels[1:], strict=False)):
        weight = q.weights(units(net, there, here, unit, share)[:, :, None, None])
        x = net.op("Conv", x, weight, q.bias(there, 0.03))
        x = q.pair(net.relu(x) if i % 2 else x)
    return net.model((x,))


def units(net: Net, outputs: int, inputs: int, unit: tuple[int, int], share: float) -> np.ndarray:
    """Integer weights `[O, I]` of seven bits of which each unit of outputs by inputs is zero with this chance."""
    lanes, length = unit
    kept = net.rng.random((outputs // lanes, inputs // length)) >= share
    return net.rng.integers(-63, 64, (outputs, inputs)) * kept.repeat(lanes, axis=0).repeat(length, axis=1)


def wanted(kernel: SingleKernel) -> bool:
    """The products whose zeros are skipped."""
    return kernel.workload is not None and isinstance(modelled(kernel.target, kernel.workload), SparseBlocks)
