"""Kernels written down by what they cost."""

from __future__ import annotations

from pfir.artifact import Kernel
from pfir.workload import Tail, Workload


def convolution(inputs: int, outputs: int, size: int = 16, kernel: int = 3, name: str = "conv") -> Kernel:
    """Of stride 1 over an image of `size` rows and columns, which it keeps."""
    area, taps = size * size, kernel * kernel
    work = Workload(
        "conv",
        (1, inputs, size, size),
        (1, outputs, size, size),
        (0, 2, 3, 1),
        (kernel, kernel),
        pads=(kernel // 2, kernel // 2),
    )
    weights = inputs * outputs * taps
    costs = weights * area, 4 * (inputs * area + weights), 4 * outputs * area, 4 * weights
    return Kernel(name, "conv3x3" if kernel == 3 else "conv", *costs, work, Tail(bias=True))


def of_macs(macs: int, name: str = "conv") -> Kernel:
    """A kernel of which nothing but its multiply-accumulates matters."""
    return Kernel(name, "conv", macs, 1000, 1000, 0, Workload("conv", (1, 16, 1, 1), (1, 16, 1, 1), (0, 2, 3, 1)))
