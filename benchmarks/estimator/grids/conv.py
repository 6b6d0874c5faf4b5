"""Scheduled convolutions: float16, transposed ones, and what direct ones do not cover."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from benchmarks.estimator.grids.direct import convolved
from benchmarks.kernels.nets import Scaled
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes

ARM, HALF = "arm", "cortex-a76+fp16"

# Input channels, size, output channels.
_HALVES = (
    *((16, 32, 32), (32, 16, 64), (13, 28, 22), (24, 28, 20), (64, 14, 128), (45, 14, 61), (12, 8, 5), (96, 9, 67)),
    *((8, 56, 16), (20, 28, 26), (52, 28, 52), (61, 7, 13), (128, 7, 256), (40, 24, 9), (17, 31, 33), (36, 18, 36)),
)
_STEMS = (
    *((3, 112, 32, 3, 2), (3, 32, 16, 3, 1), (3, 56, 24, 5, 2), (3, 64, 64, 7, 2), (1, 28, 8, 3, 1), (1, 28, 12, 5, 1)),
    *((3, 33, 13, 3, 2), (3, 32, 9, 3, 1), (4, 30, 16, 3, 1), (2, 24, 10, 5, 1), (3, 48, 41, 7, 2), (1, 32, 27, 3, 1)),
)
_FEW = ((16, 24, 3), (32, 16, 1), (13, 20, 2), (8, 30, 3), (64, 16, 3))
_TRANSPOSED = ((16, 8, 8, 2, 2), (32, 7, 12, 4, 2), (26, 10, 9, 3, 2), (64, 6, 16, 2, 2))


def nets() -> Iterator[tuple[Model, str]]:
    for channels, size, out in _HALVES:
        yield convolved((1, channels, size, size), out, strides=[2, 2]), HALF
    for channels, size, out in _HALVES[::3]:
        yield convolved((1, channels, size, size), out, 1, strides=[2, 2]), HALF
        yield convolved((1, channels, size, size), out, 5), HALF
        yield convolved((2, channels, size, size + 3), out, dilations=[2, 2], pads=[2] * 4, after="Clip"), HALF
        yield convolved((1, 2 * channels, size, size), 2 * out, strides=[2, 2], group=2), HALF
        yield convolved((1, channels, size, size), out, strides=[2, 2], pads=[0] * 4, bias=False, after=""), HALF
    for channels, size, out, kernel, stride in _STEMS:
        yield convolved((1, channels, size, size), out, kernel, strides=[stride] * 2, order="first"), HALF
        yield convolved((1, channels, size, size), out, kernel, strides=[stride] * 2, order="first"), ARM
    for channels, size, out in _FEW:
        yield convolved((1, channels, size, size), out, strides=[2, 2]), ARM
        yield convolved((1, channels, size, size), out, 5, after="Clip"), ARM
    for channels, size, out, kernel, stride in _TRANSPOSED:
        yield _transposed((1, channels, size, size), out, kernel, stride), ARM
    for group, channels, size, out in ((2, 6, 16, 8), (4, 8, 20, 16), (8, 24, 14, 24)):
        yield convolved((1, channels, size, size), out, group=group), ARM


def wanted(kernel: SingleKernel) -> bool:
    workload = kernel.workload
    if workload is None or workload.family != "conv":
        return False
    return isinstance(modelled(kernel.target, workload), MatrixTile)


def _transposed(shape: tuple[int, int, int, int], out: int, kernel: int, stride: int) -> Model:
    """In two groups: its input is spread."""
    net = Scaled(1)
    data = net.conv(net.input(shape[0], 1, *shape[2:]), 1, shape[1], 1)
    weights = [net.w(shape[1], out, kernel, kernel), net.w(out)]
    pads = [(kernel - stride) // 2] * 2 + [(kernel - stride + 1) // 2] * 2
    result = net.op(
        "ConvTranspose", data, *weights, group=2, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads
    )
    return fix_sizes(net.model((net.relu(result),)))
