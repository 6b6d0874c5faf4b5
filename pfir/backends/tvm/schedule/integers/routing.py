"""Which convolution over integers computes a layer.

Products are convolutions of one tap over a line, of several threads over some lines; transposed convolutions are ones
to all phases of the result; groups of few channels are joined.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

from pfir.backends.tvm.schedule.integers.choice import covers, joined
from pfir.backends.tvm.schedule.integers.depthwise_choice import covers_depthwise
from pfir.backends.tvm.schedule.routing import CONVOLUTION, DEPTHWISE, PRODUCT, is_product, phases
from pfir.target import Target
from pfir.workload import Workload

_NHWC = (0, 2, 3, 1)
_FEWEST = 4  # channels that are read side by side
_IMAGE, _LINE = 4, 3  # axes


def convolved(target: Target, workload: Workload) -> Workload | None:
    """The convolution over integers that a kernel computes which is to have integers; None where none of ours does."""
    found = _image(workload)
    if found is not None and found.spread != (1, 1):
        found = phases(found)
    if found is not None and covers_depthwise(target, found):
        return replace(found, family=DEPTHWISE, order=_NHWC)
    found = found and joined(target, found)
    if found is None or not covers(target, found):
        return None
    if is_product(found):
        positions = prod((found.data[0], *found.data[2:]))
        sizes = (lines := _lines(positions, target.threads), positions // lines)
        found = replace(found, data=(1, found.data[1], *sizes), out=(1, found.out[1], *sizes))
    many = found.data[1] >= _FEWEST
    return replace(found, order=_NHWC) if many or is_product(found) else found


def _lines(positions: int, threads: int) -> int:
    """Lines that positions which stand for themselves are seen as: one, or of several threads as few as all of them
    have as much to do with, if there are such."""
    divisors = [count for count in range(threads, positions + 1) if positions % count == 0]
    even = (count for count in divisors if count % threads == 0)
    return next(even, divisors[0] if divisors else 1)


def _image(workload: Workload) -> Workload | None:
    """The work with two axes of positions."""
    if workload.family == PRODUCT:
        rows, inner = prod(workload.data[:-1]), workload.data[-1]
        data, out = (1, inner, 1, rows), (1, workload.out[-1], 1, rows)
        return replace(workload, family=CONVOLUTION, data=data, out=out, order=_NHWC)
    if workload.family != CONVOLUTION or len(workload.data) not in (_IMAGE, _LINE):
        return None
    if len(workload.data) == _IMAGE:
        return workload
    data, out = ((*shape[:2], 1, shape[2]) for shape in (workload.data, workload.out))
    steps = {name: (1, *getattr(workload, name)) for name in ("kernel", "strides", "dilations", "spread")}
    return replace(workload, data=data, out=out, order=_NHWC, pads=(0, *workload.pads), **steps)
