"""Products over integers whose weights have units of zeros, of many positions and of few."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.estimator.counting import SingleKernel
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.ir.model import Model
from tests.support.net import Net
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

TARGETS = "cortex-a76", "cortex-a72", "neoverse-n2", "cortex-a55"
LAYERS = (
    (196, (8, 4), 0.8, (96, 64, 144, 32)),
    (196, (4, 4), 0.9, (64, 128, 48)),
    (49, (16, 4), 0.7, (160, 320, 64)),
    (49, (4, 16), 0.8, (320, 160, 48)),
    (784, (8, 8), 0.8, (48, 96, 32)),
    (196, (16, 16), 0.75, (64, 128, 96)),
    (1, (8, 4), 0.8, (128, 64, 256, 40)),
    (2, (4, 16), 0.9, (160, 64)),
    (5, (16, 8), 0.8, (96, 48)),
)
"""Positions, outputs and inputs of a unit, the share of zeros, and channels one after the other."""


def nets() -> Iterator[tuple[Model, str]]:
    for target in TARGETS:
        for positions, *how in LAYERS:
            yield line(positions, *how), target


def line(positions: int, unit: tuple[int, int], share: float, channels: tuple[int, ...]) -> Model:
    """Convolutions of 1x1 with bias, some with a Relu, over a line of positions, as all products are computed: images
    and rows are seen as such first, by calls that would count, too."""
    net = Net(0)
    q = QuantizedNet(net)
    x = q.pair(net.input(1, channels[0], 1, positions), STEP)
    for i, (here, there) in enumerate(zip(channels, channels[1:], strict=False)):
        weight = q.weights(units(net, there, here, unit, share)[:, :, None, None])
        x = net.op("Conv", x, weight, q.bias(there, STEP))
        x = q.pair(net.relu(x), STEP, -128) if i % 2 else q.pair(x, STEP)
    return net.model((net.op("MaxPool", x, kernel_shape=[1, 1]),))


def units(net: Net, outputs: int, inputs: int, unit: tuple[int, int], share: float) -> np.ndarray:
    """Integer weights `[O, I]` of seven bits of which each unit of outputs by inputs is zero with this chance."""
    lanes, length = unit
    kept = net.rng.random((outputs // lanes, inputs // length)) >= share
    return net.rng.integers(-63, 64, (outputs, inputs)) * kept.repeat(lanes, axis=0).repeat(length, axis=1)


def wanted(kernel: SingleKernel) -> bool:
    """The products whose zeros are skipped."""
    return kernel.workload is not None and isinstance(modelled(kernel.target, kernel.workload), SparseBlocks)
