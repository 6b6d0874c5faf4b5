"""The families of kernels: each one's generator, and where there is a choice, the schedules of its work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pfir.backends.tvm.kernels.across import across
from pfir.backends.tvm.kernels.affine import affine
from pfir.backends.tvm.kernels.conv import conv
from pfir.backends.tvm.kernels.depthwise import depthwise
from pfir.backends.tvm.kernels.direct.convolution import direct
from pfir.backends.tvm.kernels.integers.block_sparse import block_sparse_int8
from pfir.backends.tvm.kernels.integers.convolution import conv_int8
from pfir.backends.tvm.kernels.integers.depthwise.kernel import depthwise_int8
from pfir.backends.tvm.kernels.integers.others.additions import add_int8
from pfir.backends.tvm.kernels.integers.others.means import mean_int8
from pfir.backends.tvm.kernels.integers.others.tables import table
from pfir.backends.tvm.kernels.integers.winograd.kernel import winograd_int8
from pfir.backends.tvm.kernels.move import move
from pfir.backends.tvm.kernels.pool import pool
from pfir.backends.tvm.kernels.products.block_sparse import block_sparse
from pfir.backends.tvm.kernels.products.dots import dots
from pfir.backends.tvm.kernels.products.matmul import matmul
from pfir.backends.tvm.kernels.products.product import product
from pfir.backends.tvm.kernels.reduce import reduce
from pfir.backends.tvm.kernels.rows import norm, reduce_rows, softmax
from pfir.backends.tvm.kernels.transpose import transpose
from pfir.backends.tvm.kernels.window import window
from pfir.backends.tvm.kernels.winograd.kernel import winograd
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.candidate_schedules import CONVOLUTION, DEPTHWISE, PRODUCT, Choice, Schedule
from pfir.backends.tvm.schedule.tile_kinds import Tile
from pfir.target import Target
from pfir.workload import Workload

Make = Callable[[KernelSpec, Any], Any]


@dataclass(frozen=True)
class KernelFamily:
    """Kernels that one generator makes.

    Args:
        name: What specifications and workloads call it.
        make: The kernel of a specification and a tile of the family's kind, as a function of TensorIR.
        choice: The schedules of a workload of this name; None where there is just one. Some of them are kernels of
            another family, which then has no workloads of its own: a convolution may be a direct one, or Winograd's.
    """

    name: str
    make: Make
    choice: Choice | None = None


def _scheduled(make: Make) -> Make:
    """The function of a generator that gives a schedule of it."""

    def function(spec: KernelSpec, tile: Tile) -> Any:
        return make(spec, tile).mod["main"]

    return function


FAMILIES: dict[str, KernelFamily] = {
    family.name: family
    for family in (
        KernelFamily("across", across),
        KernelFamily("add_int8", add_int8),
        KernelFamily("affine", affine),
        KernelFamily("block_sparse", block_sparse),
        KernelFamily("block_sparse_int8", block_sparse_int8),
        KernelFamily("conv", _scheduled(conv), CONVOLUTION),
        KernelFamily("conv_int8", conv_int8),
        KernelFamily("depthwise", depthwise, DEPTHWISE),
        KernelFamily("depthwise_int8", depthwise_int8),
        KernelFamily("direct", direct),
        KernelFamily("dots", dots),
        KernelFamily("matmul", matmul),
        KernelFamily("mean_int8", mean_int8),
        KernelFamily("move", _scheduled(move)),
        KernelFamily("norm", norm),
        KernelFamily("pool", pool),
        KernelFamily("product", product, PRODUCT),
        KernelFamily("reduce", _scheduled(reduce)),
        KernelFamily("reduce_rows", reduce_rows),
        KernelFamily("softmax", softmax),
        KernelFamily("table", table),
        KernelFamily("transpose", transpose),
        KernelFamily("window", _scheduled(window)),
        KernelFamily("winograd", winograd),
        KernelFamily("winograd_int8", winograd_int8),
    )
}


def modelled(target: Target, workload: Workload) -> Schedule:
    """The schedule that takes the least time by the model of the core."""
    return FAMILIES[workload.family].choice.modelled(target, workload)


def candidates(target: Target, workload: Workload) -> tuple[Schedule, ...]:
    """Each schedule once, the modelled one first; every one of them computes the same."""
    others = FAMILIES[workload.family].choice.others
    return tuple(dict.fromkeys((modelled(target, workload), *others(target, workload))))
