"""Networks of known families with random weights, for benchmarks of speed alone."""

from __future__ import annotations

import numpy as np

from pfir.ir.model import Model
from tests.support.net import Net

V1 = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
CLASSES = 1000


class Scaled(Net):
    """A net whose weights keep the size of what passes through, however deep it is."""

    def w(self, *shape: int) -> str:
        return self.const(self.rng.standard_normal(shape) * np.sqrt(2 / max(1, np.prod(shape[1:]))), self.dtype)

    def relu6(self, x: str) -> str:
        return self.op("Clip", x, self.const(np.float32(0)), self.const(np.float32(6)))

    def classifier(self, x: str, channels: int) -> Model:
        pooled = self.op("Flatten", self.op("GlobalAveragePool", x))
        return self.model((self.dense(pooled, channels, CLASSES),))


def mobilenet_v1(size: int = 224) -> Model:
    """Howard et al., "MobileNets", 2017, arXiv:1704.04861, table 1, width 1."""
    net, channels = Scaled(1), 32
    x = net.relu(net.conv(net.input(1, 3, size, size), 3, channels, strides=[2, 2]))
    for out, stride in V1:
        x = net.relu(net.conv(x, channels, channels, group=channels, strides=[stride] * 2))
        x, channels = net.relu(net.conv(x, channels, out, 1)), out
    return net.classifier(x, channels)


def mobilenet_v2(size: int = 224) -> Model:
    """Sandler et al., "MobileNetV2", CVPR 2018, arXiv:1801.04381, table 2, width 1."""
    net, channels = Scaled(2), 32
    x = net.relu6(net.conv(net.input(1, 3, size, size), 3, channels, strides=[2, 2]))
    for expansion, out, repeats, stride in V2:
        for i in range(repeats):
            x, channels = _bottleneck(net, x, channels, expansion, out, stride if i == 0 else 1), out
    return net.classifier(net.relu6(net.conv(x, channels, 1280, 1)), 1280)


def _bottleneck(net: Scaled, x: str, channels: int, expansion: int, out: int, stride: int) -> str:
    inner = channels * expansion
    y = net.relu6(net.conv(x, channels, inner, 1)) if expansion > 1 else x
    y = net.relu6(net.conv(y, inner, inner, group=inner, strides=[stride] * 2))
    y = net.conv(y, inner, out, 1)
    return net.op("Add", y, x) if stride == 1 and channels == out else y


MADE = {"mobilenet_v1": mobilenet_v1, "mobilenet_v2": mobilenet_v2}
