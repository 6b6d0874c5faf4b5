"""Pools, means over an image or a row, softmax and norms."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from pfir.ir.model import Model
from tests.support.net import Net

# Operator, channels, rows and columns, kernel, stride, pads.
POOLS = (
    ("MaxPool", 64, 56, 3, 2, 1),
    ("MaxPool", 32, 28, 2, 2, 0),
    ("MaxPool", 24, 28, 3, 1, 1),
    ("MaxPool", 48, 13, 5, 1, 2),
    ("MaxPool", 17, 28, 3, 2, 1),
    ("MaxPool", 10, 14, 2, 2, 0),
    ("MaxPool", 192, 27, 3, 2, 0),
    ("AveragePool", 64, 28, 2, 2, 0),
    ("AveragePool", 96, 14, 3, 1, 1),
    ("AveragePool", 30, 14, 3, 2, 1),
    ("AveragePool", 128, 7, 7, 1, 0),
    ("AveragePool", 51, 8, 2, 2, 0),
)
GLOBAL = ((64, 8), (1280, 7), (96, 14), (50, 7), (333, 4), (24, 56), (8, 28), (960, 7), (37, 5))
ROWS = ((197, 197), (8, 1000), (64, 10), (12, 49), (1, 1000), (50, 64), (16, 3))
NORMS = ((197, 192), (50, 64), (64, 100), (16, 768), (9, 30))
TARGETS = ("arm", "cortex-a76+fp16")


def nets() -> Iterator[tuple[Model, str]]:
    """Each of them on two cores."""
    for target in TARGETS:
        yield from ((_pool(*sizes), target) for sizes in POOLS)
        yield from ((_global(kind, *sizes), target) for sizes in GLOBAL for kind in ("GlobalAveragePool", "plain"))
        yield from ((_softmax(*sizes), target) for sizes in ROWS)
    for make in (_norm, _mean):
        yield from ((make(*sizes), "arm") for sizes in NORMS)


def _pool(operator: str, channels: int, size: int, kernel: int, stride: int, pad: int) -> Model:
    net = Net(0)
    x = net.relu(net.op("MaxPool", net.input(1, channels, size, size), kernel_shape=[1, 1]))
    x = net.op(operator, x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4)
    return net.model((net.relu(x) if operator == "AveragePool" else x,))


def _global(kind: str, channels: int, size: int) -> Model:
    """A mean over an image with its channels last, or first."""
    net = Net(0)
    x = net.input(1, channels, size, size)
    x = net.relu(x if kind == "plain" else net.op("MaxPool", x, kernel_shape=[1, 1]))
    return net.model((net.op("GlobalAveragePool", x),))


def _softmax(rows: int, n: int) -> Model:
    net = Net(0)
    return net.model((net.op("Softmax", net.input(1, rows, n), axis=-1),))


def _norm(rows: int, n: int) -> Model:
    net = Net(0, opset=17)
    x = net.input(1, rows, n)
    return net.model((net.op("LayerNormalization", x, net.w(n), net.w(n), axis=-1),))


def _mean(rows: int, n: int) -> Model:
    net = Net(0)
    return net.model((net.op("ReduceMean", net.input(1, rows, n), axes=[1], keepdims=1),))


def wanted(kernel: SingleKernel) -> bool:
    return kernel.group.head.op != "Relu" and kernel.group.head.attrs.get("kernel_shape") != [1, 1]
