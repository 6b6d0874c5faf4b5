"""Matrix products: dense layers of one to three rows, 1x1 convolutions over images, float16, and products of two
tensors that are both computed."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from benchmarks.estimator.grids.winograd import channels_last
from pfir.ir.model import Model
from tests.support.net import Net

DENSE = (
    (1, (64, 10, 128, 100, 33, 5, 17, 64, 7, 256, 24, 3, 40, 12, 1, 30, 2, 96, 1000, 4, 21)),
    (2, (64, 10, 32, 75, 6, 130, 3, 20)),
    (3, (48, 16, 100, 11, 1, 64)),
)
"""Rows, and channels one after the other."""
IMAGES = (
    (14, (96, 24, 144, 33, 7, 40, 4, 16, 9, 64, 13, 20, 5, 11, 65, 17, 128, 1, 50, 2, 80, 3, 12, 3)),
    (7, (160, 320, 61, 100, 8, 37, 576, 10, 200, 1280, 30)),
    (28, (16, 72, 21, 32, 6, 15, 48, 23)),
    (56, (24, 16, 40, 12)),
    (5, (12, 31, 64, 9, 18, 26)),
    (3, (32, 45, 7, 16)),
    (2, (256, 24, 65, 100, 8, 1, 50)),
)
"""Rows and columns, and channels one after the other."""
FEW_IMAGES = ((14, (48, 24, 33, 7, 40, 17, 12, 65)), (7, (160, 61, 100)), (28, (16, 21, 32)))
FEW_DENSE = ((1, (64, 10, 100, 33, 7)), (2, (64, 20)))
LONG = (14, (24, 640, 30, 300, 17))
ATTENTION = ((4, 49, 32, 49), (2, 64, 49, 32), (1, 17, 24, 10), (3, 16, 64, 5), (1, 7, 13, 40), (2, 1, 64, 33))
"""Batch, rows, inner, and columns."""


def nets() -> Iterator[tuple[Model, str]]:
    for rows, channels in DENSE:
        yield dense(rows, channels), "arm"
    for size, channels in IMAGES:
        yield image(size, channels), "arm"
    yield residual(14, (24, 40, 17)), "arm"
    for target in ("cortex-a53", "cortex-a55", "cortex-a76", "cortex-a76+fp16"):
        for rows, channels in FEW_DENSE:
            yield dense(rows, channels), target
        for size, channels in FEW_IMAGES:
            yield image(size, channels), target
    yield image(*LONG), "cortex-a76+fp16"
    for target in ("arm", "cortex-a76"):
        yield attention(), target


def dense(rows: int, channels: tuple[int, ...]) -> Model:
    """Dense layers with bias and Relu, one after the other."""
    net = Net(0)
    x = net.relu(net.input(rows, channels[0]))
    for here, there in zip(channels, channels[1:], strict=False):
        x = net.relu(net.dense(x, here, there))
    return net.model((x,))


def image(size: int, channels: tuple[int, ...]) -> Model:
    """Convolutions of 1x1 with bias, some with a Relu."""
    net = Net(0)
    x = channels_last(net, 1, channels[0], size)
    for i, (here, there) in enumerate(zip(channels, channels[1:], strict=False)):
        x = net.conv(x, here, there, 1)
        x = net.relu(x) if i % 3 else x
    return net.model((x,))


def residual(size: int, channels: tuple[int, ...]) -> Model:
    """Convolutions of 1x1 to which their input is added, and some without a bias."""
    net, results = Net(0), []
    for width in channels:
        x = channels_last(net, 1, width, size)
        results += [net.op("Add", net.conv(x, width, width, 1), x), net.conv(x, width, width, 1, bias=False)]
    return net.model(tuple(results))


def attention() -> Model:
    """Products of two inputs."""
    net, results = Net(0), []
    for batch, rows, inner, columns in ATTENTION:
        results.append(net.op("MatMul", net.input(batch, rows, inner), net.input(batch, inner, columns)))
    return net.model(tuple(results))


def wanted(kernel: SingleKernel) -> bool:
    """All but those that copy an image first, whose channels lie one after the other."""
    head = kernel.group.head
    if kernel.workload is None:
        return head.op == "MatMul"
    return kernel.workload.family == "product" and not (head.op == "Conv" and not head.inputs[0].inputs)
