"""Convolutions over integers of eight bits: images and rows, strides, borders, odd widths, stems, residual sums."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.pair_blocks import PairBlocks
from pfir.ir.model import Model
from pfir.target import INT8
from tests.support.net import Net
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

TARGETS = "cortex-a76", "neoverse-v1", "cortex-a72"
PLAIN, BOUNDED, ADDED, FLOATS = "plain", "bounded", "added", "floats"
"""What follows: nothing, a Relu, the sum with another tensor, or a Relu whose result stays floats."""

LAYERS = (
    *((16, 32, 16, 3, 1, end) for end in (BOUNDED, ADDED)),
    *((32, 16, 32, 3, 1, end) for end in (BOUNDED, ADDED)),
    *((64, 8, 64, 3, 1, end) for end in (BOUNDED, ADDED, FLOATS)),
    (16, 32, 32, 3, 2, BOUNDED),
    (32, 16, 64, 3, 2, BOUNDED),
    (24, 14, 40, 3, 1, BOUNDED),
    (20, 28, 20, 3, 1, ADDED),
    (13, 28, 22, 3, 1, BOUNDED),
    (45, 14, 61, 3, 2, BOUNDED),
    (12, 14, 26, 5, 1, BOUNDED),
    (3, 32, 16, 3, 1, BOUNDED),
    (3, 64, 8, 3, 2, BOUNDED),
    (3, 56, 32, 3, 2, BOUNDED),
    (1, 28, 12, 5, 1, PLAIN),
    (8, 48, 16, 1, 1, BOUNDED),
    (16, 24, 32, 1, 1, BOUNDED),
    (32, 24, 32, 1, 1, BOUNDED),
    (64, 12, 64, 1, 1, PLAIN),
    (64, 12, 64, 1, 1, FLOATS),
    (128, 6, 128, 1, 1, BOUNDED),
    (96, 14, 24, 1, 1, PLAIN),
    (24, 14, 144, 1, 1, BOUNDED),
    (144, 14, 24, 1, 1, ADDED),
    (61, 14, 37, 1, 1, BOUNDED),
    (240, 7, 80, 1, 1, PLAIN),
    (16, 32, 32, 1, 2, PLAIN),
)
"""Input channels, size, output channels, kernel, stride, and what follows."""


def nets() -> Iterator[tuple[Model, str]]:
    for target in TARGETS:
        for layer in LAYERS:
            yield convolved(*layer), target


def convolved(channels: int, size: int, out: int, kernel: int, stride: int, end: str) -> Model:
    """A convolution of integers; a pool reads what it makes, so that this stays integers. One of 1x1 reads a line of
    positions, as all products are computed: a view of its result would count, too."""
    net = Net(0)
    q = QuantizedNet(net)
    image = (1, size * size) if kernel == stride == 1 else (size, size)
    x, pads = q.pair(net.input(1, channels, *image), STEP), [kernel // 2] * 4
    y = q.conv(x, channels, out, kernel=kernel, step=STEP, strides=[stride, stride], pads=pads)
    if end == ADDED:
        other = q.pair(net.input(1, 8, *image), STEP)
        made = q.conv(other, 8, out, kernel=kernel, step=STEP, strides=[stride, stride], pads=pads)
        y = net.op("Add", y, q.pair(net.relu(made), STEP, -128))
    if end != PLAIN:
        y = net.relu(y)
    if end != FLOATS:
        y = q.pair(y, STEP, -128 if end != PLAIN else 3)
    return net.model((net.op("MaxPool", y, kernel_shape=[1, 1]),))


def wanted(kernel: SingleKernel) -> bool:
    """The convolutions that are computed as such."""
    if kernel.workload is None or kernel.workload.dtype != INT8:
        return False
    return isinstance(modelled(kernel.target, kernel.workload), DotBlocks | PairBlocks)
