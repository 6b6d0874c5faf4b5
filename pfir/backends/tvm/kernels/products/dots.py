"""Products with fewer output columns than the narrowest vector has lanes: vectors lie along the input channels.

Packed weights are `[O, V, lanes]`, V vectors of input channels each; the last vector ends with the last channel, and
has zeros for those that the one before it has. Rows take turns in tiles, the last of which ends with the last row.
"""

from __future__ import annotations

from functools import reduce
from itertools import product
from math import prod
from operator import add
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.common import Operand, split, tail, to_index
from pfir.backends.tvm.kernels.written import argument, start, store
from pfir.backends.tvm.lowering.expressions import const
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.products import whole_vectors
from pfir.backends.tvm.schedule.tile_kinds import DotsTile
from pfir.target import SINGLE


def pack(weight: np.ndarray, tile: DotsTile) -> np.ndarray:
    """`[I, O]` -> `[O, V, lanes]`."""
    packed = whole_vectors(weight, tile.lanes)
    return np.ascontiguousarray(packed.T.reshape(weight.shape[1], -1, tile.lanes))


def dots(spec: KernelSpec, tile: DotsTile) -> Any:
    """A kernel as a function of TensorIR: the data's last memory axis is summed, the result's holds the outputs. Each
    step multiplies a vector of input channels; steps take turns among the copies of the sums."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    rows = prod(spec.out.memory[:-1])
    rounds = -(-rows // tile.rows)
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        result = T.arg("out", T.buffer(spec.out.memory, spec.out.dtype))
        data = T.decl_buffer((spec.operands[0].size,), SINGLE, data=operands[0].tensor.data)
        with (T.parallel if tile.threads > 1 else T.serial)(0, rounds) as n:
            first = start(n, rounds, tile.rows, rows)
            sums = _sums(spec, tile, data, operands[1], first)
            for i, j in product(range(tile.rows), range(tile.outputs)):
                memory = (*split(first + i, spec.out.memory[:-1]), j)
                value = tail(spec, operands, to_index(spec.out, memory), _total(sums, i, j))
                T.buffer_store(result, value, list(memory))
    return ib.get()


def _sums(spec: KernelSpec, tile: DotsTile, data: Any, weight: Operand, first: Any) -> Any:
    """The sums of the rows from `first` on, `[copies, rows, O, lanes]`."""
    from tvm.tirx.script import builder as T

    lanes, copies, inner = tile.lanes, tile.copies, spec.operands[0].memory[-1]
    places = list(product(range(tile.rows), range(tile.outputs)))
    sums = T.alloc_buffer((copies, tile.rows, tile.outputs, lanes), SINGLE, scope="local")
    for copy, (i, j) in product(range(copies), places):
        store(sums, lanes, lambda e, copy=copy, i=i, j=j: (const(0), [copy, i, j, e]))

    def step(vector: Any, copy: int, channel: Any) -> None:
        for i, j in places:
            store(
                sums,
                lanes,
                lambda e, i=i, j=j: (
                    sums[copy, i, j, e] + data[(first + i) * inner + channel + e] * weight(j, vector, e),
                    [copy, i, j, e],
                ),
            )

    whole = inner // lanes
    with T.serial(0, whole // copies) as outer:
        for copy in range(copies):
            step(outer * copies + copy, copy, (outer * copies + copy) * lanes)
    for vector in range(whole // copies * copies, whole):
        step(vector, vector % copies, vector * lanes)
    if inner % lanes:
        step(whole, whole % copies, inner - lanes)
    return sums


def _total(sums: Any, i: int, j: int) -> Any:
    """The sum over the copies and lanes of one output: halves of what is left are added, in a fixed order."""
    from tvm.tirx.script import builder as T

    copies, *_, lanes = map(int, sums.shape)
    found = T.alloc_buffer((lanes,), SINGLE, scope="local")
    store(found, lanes, lambda e: (reduce(add, (sums[copy, i, j, e] for copy in range(copies))), [e]))
    while lanes > 1:
        lanes, whole = lanes // 2, found
        found = T.alloc_buffer((lanes,), SINGLE, scope="local")
        store(found, lanes, lambda e, half=lanes, whole=whole: (whole[e] + whole[half + e], [e]))
    return found[0]
