"""Depthwise convolutions of networks for phones: kernels of 3x3 to 7x7, odd and even widths, small and large images."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from pfir.ir.model import Model
from tests.support.net import Net

# Channels, rows and columns of the input, kernel, stride.
SIZES = (
    (16, 112, 3, 1),
    (24, 56, 3, 1),
    (24, 56, 3, 2),
    (30, 28, 3, 1),
    (32, 112, 3, 2),
    (36, 56, 3, 2),
    (40, 28, 3, 1),
    (52, 14, 3, 1),
    (64, 56, 3, 2),
    (72, 28, 5, 2),
    (88, 14, 3, 1),
    (96, 14, 5, 1),
    (100, 7, 3, 1),
    (120, 28, 5, 1),
    (128, 28, 3, 1),
    (144, 14, 7, 1),
    (160, 7, 5, 1),
    (184, 14, 3, 1),
    (240, 14, 5, 2),
    (256, 7, 7, 1),
    (320, 7, 3, 1),
    (480, 14, 5, 1),
    (512, 14, 3, 2),
    (672, 7, 5, 1),
    (960, 7, 3, 1),
    (960, 4, 3, 1),
    (200, 4, 5, 1),
    (48, 10, 3, 2),
    (60, 9, 5, 1),
    (44, 20, 7, 2),
)
# Widths that fill no vectors, some of which run across columns.
ODD = (
    (5, 28, 3, 1),
    (6, 28, 5, 1),
    (7, 14, 3, 2),
    (9, 56, 3, 1),
    (10, 14, 3, 1),
    (13, 28, 3, 2),
    (14, 20, 3, 1),
    (17, 28, 3, 1),
    (18, 14, 5, 1),
    (19, 28, 5, 2),
    (22, 14, 3, 1),
    (27, 7, 3, 1),
    (33, 14, 3, 2),
    (50, 7, 5, 1),
    (75, 14, 3, 1),
    (101, 7, 3, 1),
    (197, 14, 3, 2),
    (333, 7, 3, 1),
)
TAILS = ("Relu", "Clip", "", "HardSwish")


def nets() -> Iterator[tuple[Model, str]]:
    """Each size on one core or two, with one of the tails in turn."""
    targets = ("arm", "cortex-a55", "cortex-a76+fp16")
    for i, sizes in enumerate((*SIZES, *ODD)):
        for j, target in enumerate(targets):
            if j != 1 or i % 3 == 0:
                yield _net(*sizes, TAILS[(i + j) % len(TAILS)], i), target


def _net(channels: int, size: int, kernel: int, stride: int, tail: str, seed: int) -> Model:
    net = Net(seed)
    x = net.op("MaxPool", net.input(1, channels, size, size), kernel_shape=[1, 1])
    x = net.conv(x, channels, channels, kernel, group=channels, bias=seed % 4 > 0, strides=[stride] * 2)
    if tail == "Clip":
        x = net.op("Clip", x, net.const(0.0, "float32"), net.const(6.0, "float32"))
    elif tail:
        net.opset = 14
        x = net.op(tail, x)
    return net.model((x,))


def wanted(kernel: SingleKernel) -> bool:
    return kernel.group.head.op == "Conv"
