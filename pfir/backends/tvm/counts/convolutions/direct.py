"""Instructions of direct convolutions, counted along the loops that kernels/direct writes."""

from __future__ import annotations

from pfir.backends.tvm.counts.convolutions.block import of_ends, of_sums, results_of
from pfir.backends.tvm.counts.convolutions.image import Image, image_of
from pfir.backends.tvm.counts.sums import Sum
from pfir.backends.tvm.counts.tail import tail_of_vector
from pfir.backends.tvm.schedule.blocks import Direct, bordered
from pfir.instructions import Instructions
from pfir.target import Target
from pfir.workload import Tail, Workload

_VALUE_BYTES = 4
# Of a call, which checks its arguments, and saves and restores registers: loads, stores, scalar, branches.
_CALL = (82.0, 48.0, 160.0, 82.0)
# Scalar instructions and branches of the memory for a copy of the image, of a row of the copy, and of eight positions.
_ALLOCATED, _A_COPIED_ROW, _OF_EIGHT = (200, 50), (12, 3), (4, 1)


def direct(target: Target, workload: Workload, tail: Tail, plan: Direct) -> Instructions:
    """The instructions of a kernel by this plan."""
    image, odd, found = image_of(target, workload, tail.bias), workload.out[1] % target.lanes, Sum()
    _add_copy(found, workload, image)
    found.call(*_CALL)
    results = 0.0
    for block in plan.blocks:
        shape = block.lanes, block.singles, block.rows, plan.steps
        found.add(of_sums(image, workload.channels, *shape), block.count)
        found.add(of_ends(image, odd, *shape), block.count)
        results += block.count * results_of(image, block.lanes, block.singles)
    found.add(tail_of_vector(tail, target.core.vector_bytes), results)
    return found.instructions(False)


def _add_copy(found: Sum, workload: Workload, image: Image) -> None:
    """Add a copy of the image with its border, where one is read, from channels one after the other or side by side."""
    channels, rows = workload.data[1], workload.out[0] * image.rows.size
    if not bordered(workload.order, channels):
        return
    eights, apart = rows * image.columns.size / 8, workload.order[-1] != 1
    moved = 8 * channels * _VALUE_BYTES
    found.read(eights, 2 * channels - 1 if apart else channels, moved)
    found.write(eights, 2 if apart else channels, moved)
    found.steer(1, *_ALLOCATED)
    found.steer(rows, *_A_COPIED_ROW)
    found.steer(eights, *_OF_EIGHT)
