"""Which kind of kernel computes a convolution: some are matrix products, some keep their channels apart."""

from __future__ import annotations

from dataclasses import replace
from math import prod

from pfir.backends.tvm.kernels.axis import Axis
from pfir.backends.tvm.kernels.conv import FEW_CHANNELS
from pfir.backends.tvm.kernels.depthwise import MOST_TAPS
from pfir.backends.tvm.schedule.tiles import FEWEST_LANES
from pfir.workload import Workload

PRODUCT, DEPTHWISE, WINDOW, CONVOLUTION = "product", "depthwise", "window", "conv"
"""What workloads call them."""
_IMAGE = (0, 2, 3, 1)


def routed(workload: Workload) -> Workload:
    """The work of the kernel that computes a convolution, whose `family` says of which kind it is."""
    if workload.spread != (1, 1):
        convolution = phases(workload)
        return workload if convolution is None else routed(convolution)
    if is_product(workload):
        return _flat(workload, prod((workload.out[0], *workload.out[2:])), workload.data[1])
    if workload.group == 1 and reads_all(workload):
        return _flat(workload, workload.out[0], prod(workload.data[1:]))
    order = workload.order if workload.channels <= FEW_CHANNELS else _IMAGE
    if workload.channels == 1 and workload.group > 1:
        family = DEPTHWISE if _has_own_kernel(workload) else WINDOW
        return replace(workload, family=family, order=_IMAGE)
    return workload if order == workload.order else replace(workload, order=order)


def is_product(workload: Workload) -> bool:
    """Whether each position is a product of its own."""
    alone = workload.kernel == workload.strides == (1, 1) and not any(workload.pads)
    return alone and workload.group == 1 and workload.out[2:] == workload.data[2:]


def reads_all(workload: Workload) -> bool:
    """Whether it has one output, which reads the whole image."""
    return all(axis.out == 1 and len(axis.inside(0)) == axis.size for axis in axes_of(workload))


def axes_of(workload: Workload) -> tuple[Axis, ...]:
    """Rows, and columns."""
    sizes = (workload.data[2:], workload.out[2:], workload.kernel, workload.strides, workload.dilations, workload.pads)
    return tuple(Axis(*axis) for axis in zip(*sizes, strict=True))


def phases(workload: Workload) -> Workload | None:
    """The convolution to all phases of a transposed one, which has as many times the channels; None where the zeros
    between the values are convolved."""
    if workload.group != 1 or workload.dilations != (1, 1):
        return None
    steps = workload.spread
    taps = tuple(-(-k // s) for k, s in zip(workload.kernel, steps, strict=True))
    sizes = tuple(-(-size // s) for size, s in zip(workload.out[2:], steps, strict=True))
    out = (workload.out[0], workload.out[1] * prod(steps), *sizes)
    return replace(workload, out=out, kernel=taps, spread=(1, 1), pads=tuple(t - 1 for t in taps))


def _has_own_kernel(workload: Workload) -> bool:
    """Whether vectors of channels stand for themselves: one output for each input, and not too many taps."""
    alike = workload.out[1] == workload.data[1] >= FEWEST_LANES
    return alike and prod(workload.kernel) <= MOST_TAPS


def _flat(workload: Workload, rows: int, inner: int) -> Workload:
    return replace(
        Workload(PRODUCT, (rows, inner), (rows, workload.out[1]), (0, 1), after=workload.after, dtype=workload.dtype),
        zeros=workload.zeros,
        rounds=workload.rounds,
    )
