"""Small models of eight bits in ONNX's Q/DQ form, and how far a library may be from ONNX Runtime on them."""

from __future__ import annotations

import numpy as np

from tests.support.net import Net


class QuantizedNet:
    """A graph that is being written down, in which tensors pass through integers.

    Args:
        net: Where it is written.
        dtype: Of activations.
    """

    def __init__(self, net: Net, dtype: type = np.int8) -> None:
        self.net, self.dtype = net, dtype

    def pair(self, x: str, scale: float = 0.05, point: int = 3) -> str:
        """The tensor by way of integers."""
        params = self.params(scale, point)
        return self.net.op("DequantizeLinear", self.net.op("QuantizeLinear", x, *params), *params)

    def params(self, scale: float, point: int) -> tuple[str, str]:
        shift = 128 if self.dtype == np.uint8 else 0
        return self.net.const(np.float32(scale)), self.net.const(point + shift, self.dtype)

    def weight(self, *shape: int, axis: int | None = 0) -> str:
        """Weights of seven bits with a scale for each place along the axis, or with a single one: on a processor without
        VNNI ONNX Runtime adds two products of bytes in 16 bits, which eight bits overflow."""
        net, count = self.net, None if axis is None else shape[axis]
        integers = net.const(net.rng.integers(-63, 64, shape), np.int8)
        scale = net.const(net.rng.uniform(0.002, 0.008, count), np.float32)
        zero = net.const(np.zeros(() if count is None else count), np.int8)
        attributes = {} if axis is None else {"axis": axis}
        return net.op("DequantizeLinear", integers, scale, zero, **attributes)

    def conv(self, x: str, out: int, channels: int, kernel: int = 3, scale: float = 0.05, **attributes) -> str:
        """A convolution without what follows it."""
        group = attributes.get("group", 1)
        weight = self.weight(out, channels // group, kernel, kernel)
        bias = self.net.const(self.net.rng.uniform(-0.5, 0.5, out), np.float32)
        return self.net.op("Conv", x, weight, bias, pads=[kernel // 2] * 4, **attributes)
