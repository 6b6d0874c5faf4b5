"""Small models of eight bits in ONNX's Q/DQ form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.support.net import Net

STEP = 0.05
"""The scale of tensors, if nothing else is said."""


@dataclass(frozen=True)
class QuantizedNet:
    """A graph that is being written down, in which tensors pass through integers.

    Args:
        net: Where it is written.
        dtype: Of activations; zero points are those of int8, and 128 larger of uint8.
    """

    net: Net
    dtype: type = np.int8

    def pair(self, x: str, scale: float = STEP, point: int = 3) -> str:
        """The tensor by way of integers."""
        return self.floats(self.integers(x, scale, point), scale, point)

    def integers(self, x: str, scale: float = STEP, point: int = 3) -> str:
        return self.net.op("QuantizeLinear", x, *self._meaning(scale, point))

    def floats(self, x: str, scale: float = STEP, point: int = 3) -> str:
        return self.net.op("DequantizeLinear", x, *self._meaning(scale, point))

    def _meaning(self, scale: float, point: int) -> tuple[str, str]:
        shift = 128 if self.dtype == np.uint8 else 0
        return self.net.const(np.float32(scale)), self.net.const(point + shift, self.dtype)

    def image(self, *shape: int) -> str:
        """An input, by way of integers."""
        return self.pair(self.net.input(*shape), 0.03, 5)

    def weight(self, *shape: int, axis: int | None = 0) -> str:
        """Weights of seven bits with a scale for each place along the axis, or with a single one: on a processor
        without VNNI ONNX Runtime adds two products of bytes in 16 bits, which eight bits overflow."""
        return self.weights(self.net.rng.integers(-63, 64, shape), axis)

    def weights(self, integers: np.ndarray, axis: int | None = 0) -> str:
        """Weights of these integers."""
        net, count = self.net, None if axis is None else integers.shape[axis]
        zero = net.const(np.zeros(() if count is None else count), np.int8)
        attributes = {} if axis is None else {"axis": axis}
        return net.op("DequantizeLinear", net.const(integers, np.int8), net.const(scales(count)), zero, **attributes)

    def bias(self, size: int, step: float = 0.04, axis: int | None = 0) -> str:
        """A bias of 32 bits, in steps of the data times those of the weights."""
        net = self.net
        integers = net.const(net.rng.integers(-900, 900, size), np.int32)
        scale = np.broadcast_to(np.float32(step) * scales(None if axis is None else size), (size,))
        return net.op("DequantizeLinear", integers, net.const(scale), net.const(np.zeros(size), np.int32), axis=0)

    def conv(
        self, x: str, channels: int, out: int, kernel: int = 3, step: float = 0.04, axis: int | None = 0, **attributes
    ) -> str:
        """A convolution of data in these steps, without what follows it."""
        weight = self.weight(out, channels // attributes.get("group", 1), kernel, kernel, axis=axis)
        attributes = {"pads": [kernel // 2] * 4} | attributes
        return self.net.op("Conv", x, weight, self.bias(out, step, axis), **attributes)

    def features(self, channels: int = 12, height: int = 7, width: int = 9) -> str:
        """What a convolution makes of an image."""
        return self.pair(self.conv(self.image(1, 3, height, width), 3, channels, step=0.03), 0.04, -9)


def scales(count: int | None) -> np.ndarray:
    """What a step of the weights stands for."""
    return np.float32(0.004) if count is None else np.linspace(0.002, 0.008, count, dtype=np.float32)


def convolution(channels: int, out: int, height: int = 7, width: int = 9, **attributes):
    """What builds a net of one convolution between integers."""

    def build(net: Net) -> str:
        q = QuantizedNet(net)
        return q.pair(q.conv(q.features(channels, height, width), channels, out, **attributes))

    return build
