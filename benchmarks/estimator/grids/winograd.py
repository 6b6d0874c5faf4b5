"""Convolutions of 3x3 that go by Winograd's tiles: layers of ResNets at widths as pruning leaves them, odd images,
batches, tails that read a residual, and float16."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.ir.model import Model
from tests.support.net import Net

CHAINS = (
    (32, 1, (16, 16, 11, 5, 14, 8, 13, 4, 10, 16, 7, 12, 9, 15, 6, 16, 3, 16)),
    (16, 1, (32, 32, 21, 17, 30, 12, 24, 7, 27, 20, 16, 9, 29, 5, 23, 18, 13, 25)),
    (8, 1, (64, 64, 43, 61, 33, 50, 22, 57, 9, 38, 47, 15, 54, 28, 36, 12, 63, 20)),
    (7, 1, (64, 32, 17, 48, 5, 128, 90, 256, 40)),
    (14, 1, (16, 40, 13, 72, 128, 31, 8)),
    (28, 1, (8, 24, 33, 64, 19)),
    (56, 1, (16, 32, 7, 20)),
    (8, 3, (16, 24, 31)),
    (16, 2, (12, 16, 6)),
    (2, 1, (24, 16, 30, 9)),
    (6, 1, (16, 20, 11)),
    (10, 1, (8, 24, 13)),
)
"""Rows and columns, batch, and channels one after the other."""
FEW = ((32, 1, (16, 16, 11, 5, 14, 7)), (16, 1, (32, 21, 24, 17, 30)), (8, 1, (64, 43, 61, 28, 50)), (14, 1, (24, 40)))


def nets() -> Iterator[tuple[Model, str]]:
    for size, batch, channels in CHAINS:
        yield chain(size, batch, channels), "arm"
    yield residual(16, (16, 32, 23)), "arm"
    yield residual(8, (64, 45, 12)), "arm"
    for target in ("cortex-a53", "cortex-a55", "cortex-a76", "cortex-a76+fp16"):
        for size, batch, channels in FEW:
            yield chain(size, batch, channels), target


def chain(size: int, batch: int, channels: tuple[int, ...]) -> Model:
    """Convolutions with bias and Relu, one after the other."""
    net = Net(0)
    x = channels_last(net, batch, channels[0], size)
    for here, there in zip(channels, channels[1:], strict=False):
        x = net.relu(net.conv(x, here, there))
    return net.model((x,))


def residual(size: int, channels: tuple[int, ...]) -> Model:
    """Convolutions to which their input is added, with and without a Relu behind."""
    net, results = Net(0), []
    for width in channels:
        x = channels_last(net, 1, width, size)
        results += [net.op("Add", net.conv(x, width, width), x)]
        results += [net.relu(net.op("Add", net.conv(x, width, width, bias=False), x)), net.conv(x, width, width)]
    return net.model(tuple(results))


def channels_last(net: Net, batch: int, channels: int, size: int) -> str:
    """An image whose channels lie side by side, as a product leaves it."""
    return net.relu(net.conv(net.input(batch, 3, size, size), 3, channels, 1))


def wanted(kernel: SingleKernel) -> bool:
    return kernel.workload is not None and isinstance(modelled(kernel.target, kernel.workload), Winograd)
