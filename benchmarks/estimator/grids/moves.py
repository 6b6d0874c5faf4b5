"""What moves values: joins, borders, parts, samples, and copies into another order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from benchmarks.estimator.counting import SingleKernel
from pfir.ir.model import Model
from tests.support.net import Net

JOINS = (((64, 64), 28), ((32, 96, 16), 14), ((24, 40), 20), ((17, 30), 14), ((128, 128), 7), ((6, 10), 28))
IMAGES = ((32, 28), (24, 14), (64, 14), (50, 13), (3, 112), (10, 20))
TARGETS = ("arm", "cortex-a76+fp16")


def nets() -> Iterator[tuple[Model, str]]:
    for target in TARGETS:
        yield from ((_join(*sizes), target) for sizes in JOINS)
        for channels, size in IMAGES:
            for make in (_padded, _sliced, _resized, _copied, _read):
                yield make(channels, size), target


def _image(net: Net, channels: int, size: int) -> str:
    return net.op("MaxPool", net.input(1, channels, size, size), kernel_shape=[1, 1])


def _join(widths: tuple[int, ...], size: int) -> Model:
    net = Net(0)
    return net.model((net.op("Concat", *(_image(net, width, size) for width in widths), axis=1),))


def _padded(channels: int, size: int) -> Model:
    net = Net(0)
    return net.model((net.op("Pad", _image(net, channels, size), net.ints(0, 0, 1, 1, 0, 0, 1, 1)),))


def _sliced(channels: int, size: int) -> Model:
    net = Net(0)
    x = _image(net, channels, size)
    return net.model((net.op("Slice", x, net.ints(0), net.ints(channels // 2), net.ints(1)),))


def _resized(channels: int, size: int) -> Model:
    net = Net(0)
    scales = net.const(np.array([1, 1, 2, 2], np.float32))
    x = net.op(
        "Resize", _image(net, channels, size), "", scales, mode="nearest", coordinate_transformation_mode="asymmetric"
    )
    return net.model((x,))


def _copied(channels: int, size: int) -> Model:
    """From channels last into ONNX's order: rows are a view after it."""
    net = Net(0)
    return net.model((net.op("Reshape", _image(net, channels, size), net.ints(1, channels, size * size)),))


def _read(channels: int, size: int) -> Model:
    """From ONNX's order to channels last, in front of a pool that does nothing else."""
    net = Net(0)
    return net.model((net.op("MaxPool", net.relu(net.input(1, channels, size, size)), kernel_shape=[1, 1]),))


def wanted(kernel: SingleKernel) -> bool:
    head = kernel.group.head
    before = head.inputs[0].inputs
    return head.op not in ("MaxPool", "Relu") or (bool(before) and before[0].op == "Relu")
