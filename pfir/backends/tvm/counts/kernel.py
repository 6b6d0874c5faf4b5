"""The instructions of any kernel that this backend makes, from what it computes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import prod

from pfir.artifact import Kernel
from pfir.backends.tvm.counts.convolutions.across import across
from pfir.backends.tvm.counts.convolutions.conv import conv
from pfir.backends.tvm.counts.convolutions.depthwise import depthwise
from pfir.backends.tvm.counts.convolutions.direct import direct
from pfir.backends.tvm.counts.convolutions.window import window
from pfir.backends.tvm.counts.convolutions.winograd import winograd
from pfir.backends.tvm.counts.integers.block_sparse import block_sparse_int8, packed_units_bytes
from pfir.backends.tvm.counts.integers.depthwise import depthwise_int8
from pfir.backends.tvm.counts.integers.dot_blocks import conv_int8
from pfir.backends.tvm.counts.integers.elements import elements_int8
from pfir.backends.tvm.counts.integers.moves import move_int8
from pfir.backends.tvm.counts.integers.pair_blocks import conv_pairs
from pfir.backends.tvm.counts.integers.pools import mean_int8, pool_int8
from pfir.backends.tvm.counts.integers.ranges import SMALL_CALLS, range_int8
from pfir.backends.tvm.counts.integers.winograd import winograd_int8
from pfir.backends.tvm.counts.others.elementwise import elementwise
from pfir.backends.tvm.counts.others.moves import move, transpose
from pfir.backends.tvm.counts.others.pool import pool
from pfir.backends.tvm.counts.others.reduce import norm, reduce, softmax
from pfir.backends.tvm.counts.products.block_sparse import block_sparse, packed_bytes
from pfir.backends.tvm.counts.products.dots import dots
from pfir.backends.tvm.counts.products.matmul import matmul
from pfir.backends.tvm.counts.products.product import product
from pfir.backends.tvm.families import modelled
from pfir.backends.tvm.kernels.products.matmul import fitted
from pfir.backends.tvm.schedule.blocks import NHWC, Direct
from pfir.backends.tvm.schedule.candidate_schedules import Schedule
from pfir.backends.tvm.schedule.integers.depthwise_blocks import DepthwiseBlocks
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.pair_blocks import PairBlocks
from pfir.backends.tvm.schedule.integers.routing import convolved
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.integers.winograd import IntegerWinograd
from pfir.backends.tvm.schedule.routing import CONVOLUTION, DEPTHWISE, PRODUCT, WINDOW, routed
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, DepthwiseTile, DotsTile, MatrixTile, SparseTile
from pfir.backends.tvm.schedule.tiles import matrix_tile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.backends.tvm.tuning.database import NOTHING, Known
from pfir.devices.estimation.plain import plain_instructions
from pfir.instructions import Instructions
from pfir.target import INT8, Target
from pfir.workload import Tail, Workload

# Counted with kernels that compute nearly nothing, one more or fewer of them, by generic code.
CALL = Instructions(load=454, load_bytes=4200, store=263, store_bytes=2980, scalar=803, branch=448)
"""A call of a kernel by TVM's virtual machine, its result allocated."""
INFERENCE = Instructions(load=3580, load_bytes=33100, store=1990, store_bytes=22700, scalar=6140, branch=3200)
"""An inference beside its kernels, with the six storages that most nets' tensors share."""
_Count = Callable[[Target, Workload, Tail], Instructions]
_OTHERS: dict[str, _Count] = {
    "elementwise": elementwise,
    "move": move,
    "norm": norm,
    "pool": pool,
    "reduce": reduce,
    "softmax": softmax,
    "transpose": transpose,
}
_INTEGERS: dict[str, _Count] = {"elementwise": elements_int8, "move": move_int8, "pool": pool_int8}
_SCHEDULED: dict[type, Callable] = {
    AcrossTile: across,
    DepthwiseBlocks: depthwise_int8,
    DepthwiseTile: depthwise,
    Direct: direct,
    DotBlocks: conv_int8,
    DotsTile: dots,
    IntegerWinograd: winograd_int8,
    PairBlocks: conv_pairs,
    SparseBlocks: block_sparse_int8,
    SparseTile: block_sparse,
    Winograd: winograd,
}
_IMAGE_AXES = 4


@dataclass(frozen=True)
class KernelCounts:
    """Counts instructions without building; by measured schedules where they are known, as the backend builds.

    Args:
        known: What was measured on the core.
    """

    known: Known = NOTHING

    def __call__(self, kernel: Kernel, target: Target) -> Instructions:
        """The instructions of one call, the virtual machine's part included."""
        calls = 3 + SMALL_CALLS if kernel.workload.kind == "range" else 1
        return CALL * calls + self._of(kernel, target)

    def more_weights(self, kernel: Kernel, target: Target) -> float:
        """Bytes by which the weights that a kernel reads exceed the model's own: transformed ones do (Winograd); those
        whose zeros are skipped are fewer."""
        workload = _as_computed(target, kernel.workload)
        if workload.dtype == INT8:
            return self._fewer_weights(target, workload) if workload.rounds else 0.0
        if workload.family != CONVOLUTION or len(workload.data) != _IMAGE_AXES:
            return self._fewer_weights(target, flat(workload)) if workload.rounds else 0.0
        workload = routed(workload)
        if workload.rounds:
            return self._fewer_weights(target, workload)
        schedule = self._schedule(target, workload)
        if not isinstance(schedule, Winograd):
            return 0.0
        points = (schedule.outputs + workload.kernel[0] - 1) ** 2
        return kernel.weight_bytes * (points / prod(workload.kernel) - 1)

    def _fewer_weights(self, target: Target, workload: Workload) -> float:
        """Bytes of a matrix' weights and of what tells their places, less those of all its weights, so mostly negative;
        zero where none are skipped."""
        schedule, weights = self._schedule(target, workload), workload.data[1] * workload.out[1]
        if isinstance(schedule, SparseBlocks):
            return packed_units_bytes(workload, schedule) - weights
        if not isinstance(schedule, SparseTile):
            return 0.0
        return packed_bytes(workload, schedule) - target.value_bytes * weights

    def _of(self, kernel: Kernel, target: Target) -> Instructions:
        count = _of_integers(kernel.workload)
        if count is not None:
            return count(target, kernel.workload, kernel.tail)
        workload = _as_computed(target, kernel.workload)
        if workload.dtype == INT8:
            return self._scheduled(target, workload, kernel.tail)
        if workload.family in _OTHERS:
            return _OTHERS[workload.family](target, workload, kernel.tail)
        if workload.family == CONVOLUTION and len(workload.data) == _IMAGE_AXES:
            workload = routed(workload)
        elif workload.family == PRODUCT:
            workload = flat(workload)
        elif workload.family == "matmul":
            return _product_of_two(target, workload, kernel.tail)
        if workload.family == WINDOW:
            return window(target, workload, kernel.tail)
        if workload.family in (CONVOLUTION, DEPTHWISE, PRODUCT):
            return self._scheduled(target, workload, kernel.tail)
        return plain_instructions(kernel, target)

    def _scheduled(self, target: Target, workload: Workload, tail: Tail) -> Instructions:
        schedule = self._schedule(target, workload)
        if workload.family == CONVOLUTION and isinstance(schedule, MatrixTile):
            return conv(target, workload, tail, schedule)
        return _SCHEDULED.get(type(schedule), product)(target, workload, tail, schedule)

    def _schedule(self, target: Target, workload: Workload) -> Schedule:
        measured = self.known.schedule(target, workload) if self.known.entries else None
        return measured or _modelled(target, workload)


def _as_computed(target: Target, workload: Workload) -> Workload:
    """The work over integers where a kernel of ours sums those, any other over the target's floats."""
    integers = convolved(target, workload) if workload.dtype == INT8 else None
    if integers is not None or workload.dtype == target.arithmetic.data:
        return integers or workload
    found = replace(workload, dtype=target.arithmetic.data)
    return replace(found, zeros="", rounds=()) if workload.dtype == INT8 else found


def _modelled(target: Target, workload: Workload) -> Schedule:
    """The schedule of the model of the core; what follows a kernel decides it only where channels do not mix."""
    if workload.family != DEPTHWISE and workload.after != "plain":
        workload = replace(workload, after="plain")
    return _known_of(target, workload)


@lru_cache(maxsize=1 << 16)
def _known_of(target: Target, workload: Workload) -> Schedule:
    return modelled(target, workload)


def _of_integers(workload: Workload) -> _Count | None:
    """What counts a kernel over integers whose schedule is no choice; None of any other one."""
    if workload.dtype != INT8:
        return None
    if workload.kind == "range":
        return range_int8
    image = workload.family == "reduce" and len(workload.data) == _IMAGE_AXES and workload.order == NHWC
    if image and workload.kind == "mean" and workload.out[1:] == (workload.data[1], 1, 1):
        return mean_int8
    return _INTEGERS.get(workload.family)


def flat(workload: Workload) -> Workload:
    """A dense layer as the product of rows with a matrix."""
    *leading, columns = workload.out
    inner, rows = workload.data[-1], 1
    for size in leading:
        rows *= size
    return replace(workload, data=(rows, inner), out=(rows, columns), order=(0, 1))


def _product_of_two(target: Target, workload: Workload, tail: Tail) -> Instructions:
    rows, inner, columns = workload.out[-2], workload.data[-1], workload.out[-1]
    return matmul(target, workload, tail, fitted(matrix_tile(target, rows, columns, inner), rows, columns))
