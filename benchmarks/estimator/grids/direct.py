"""Direct convolutions: strides, dilations, pads, groups, kernels of 1x1 to 7x7, images of few channels, odd widths."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.estimator.counting import SingleKernel
from benchmarks.kernels.nets import Scaled
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.schedule.blocks import Direct
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes

ARM, A55 = "arm", "cortex-a55"
_MACS = 500_000

# Input channels, size, output channels.
_STRIDED = (
    *((4, 112, 8), (8, 56, 16), (13, 28, 22), (16, 32, 32), (24, 28, 20), (30, 15, 41), (32, 16, 64), (7, 20, 52)),
    *((45, 14, 61), (64, 14, 128), (96, 9, 67), (128, 7, 256), (20, 28, 26), (52, 28, 52), (12, 8, 5), (61, 6, 13)),
    *((17, 31, 9), (36, 18, 36), (40, 24, 11), (5, 40, 39)),
)
_NARROW = tuple((a, 16, b) for a in (9, 26, 48) for b in (4, 6, 7, 10, 14, 15, 17, 18, 21, 23, 25, 29, 33, 37, 47, 50))
_STEMS = tuple(
    (a, size, out, k, s)
    for a, size, out, k, s in (
        *(
            (3, 112, 32, 3, 2),
            (3, 32, 16, 3, 1),
            (3, 56, 24, 5, 2),
            (3, 64, 64, 7, 2),
            (1, 28, 8, 3, 1),
            (1, 28, 12, 5, 1),
        ),
        *(
            (3, 33, 13, 3, 2),
            (3, 32, 9, 3, 1),
            (4, 30, 16, 3, 1),
            (2, 24, 10, 5, 1),
            (3, 48, 41, 7, 2),
            (3, 32, 27, 3, 1),
        ),
    )
)


def nets() -> Iterator[tuple[Model, str]]:
    for channels, size, out in _STRIDED:
        yield convolved((1, channels, size, size), out, strides=[2, 2]), ARM
    for channels, size, out in _NARROW:
        yield convolved((1, channels, size, size), out, strides=[2, 2]), ARM
    for channels, size, out in _STRIDED[1:20:3]:
        yield convolved((1, channels, size, size), out, strides=[2, 2]), A55
        yield convolved((1, channels, size, size), out, 1, strides=[2, 2]), ARM
        yield convolved((1, channels, size, size), out, 5), ARM
        yield convolved((2, channels, size, size + 3), out, dilations=[2, 2], pads=[2] * 4), ARM
    for channels, size, out in _STRIDED[2:20:4]:
        yield convolved((1, channels, size, size), out, 7, strides=[2, 2]), ARM
        yield convolved((1, channels, size, size), out, strides=[2, 2], pads=[0] * 4, after="Clip"), ARM
        yield convolved((1, 2 * channels, size, size), 2 * out, strides=[2, 2], group=2), ARM
        yield convolved((1, channels, size, size), out, strides=[2, 2], bias=False, after=""), ARM
        yield convolved((1, channels, size, size), out, strides=[2, 2], after="Add"), ARM
    for channels, size, out, kernel, stride in _STEMS:
        for order in ("first", "last"):
            yield convolved((1, channels, size, size), out, kernel, strides=[stride] * 2, order=order), ARM
    for channels, size, out, kernel, stride in _STEMS[::3]:
        yield convolved((1, channels, size, size), out, kernel, strides=[stride] * 2, order="first"), A55


def wanted(kernel: SingleKernel) -> bool:
    workload = kernel.workload
    return workload is not None and workload.family == "conv" and isinstance(modelled(kernel.target, workload), Direct)


def convolved(
    shape: tuple[int, int, int, int],
    out: int,
    kernel: int = 3,
    after: str = "Relu",
    order: str = "last",
    bias: bool = True,
    **attrs,
) -> Model:
    """One convolution, behind a pointwise one, which gives it channels last, or in front of all; then this node. So
    high that it takes some hundred thousand instructions."""
    attrs = {"pads": [kernel // 2] * 4, "strides": [1, 1], "dilations": [1, 1]} | attrs
    a_row = shape[1] * shape[3] * out * kernel**2 // attrs["strides"][0] ** 2 // attrs.get("group", 1)
    shape = (*shape[:2], min(shape[2], max(2 * kernel, _MACS // a_row)), shape[3])
    net = Scaled(1)
    other = net.conv(net.input(1, 1, *_sizes(shape, kernel, attrs)), 1, out, 1) if after == "Add" else ""
    data = net.conv(net.input(shape[0], 1, *shape[2:]), 1, shape[1], 1) if order == "last" else net.input(*shape)
    weights = [net.w(out, shape[1] // attrs.get("group", 1), kernel, kernel)] + ([net.w(out)] if bias else [])
    result = net.op("Conv", data, *weights, kernel_shape=[kernel] * 2, **attrs)
    if after == "Clip":
        result = net.relu6(result)
    elif after:
        result = net.op(after, result, *([other] if other else []))
    return fix_sizes(net.model((result, *([other] if other else []))))


def _sizes(shape: tuple[int, ...], kernel: int, attrs: dict) -> list[int]:
    """Rows and columns of the result."""
    pads, strides, dilations = attrs["pads"], attrs["strides"], attrs["dilations"]
    return [
        (shape[2 + i] + pads[i] + pads[2 + i] - (kernel - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(2)
    ]
