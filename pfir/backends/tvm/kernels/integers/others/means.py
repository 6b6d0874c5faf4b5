"""Means over all positions of an image of integers of eight bits, channels last, as exact sums.

Up to 256 bytes are added in 16 bits, and those sums in 32.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from pfir.backends.tvm.kernels.common import tail
from pfir.backends.tvm.kernels.written import along, argument, store
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import SINGLE

TERMS = {"int8": 256, "uint8": 257}
"""Bytes of each type whose sum 16 bits always hold."""
WRITTEN_OUT = 4
"""Positions of a round."""


def mean_int8(spec: KernelSpec, tile: PlainTile) -> Any:
    """A kernel as a function of TensorIR: integers `[N, H, W, C]` to the means `[N, 1, 1, C]`, with what follows."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    data = spec.operands[0]
    batch, *image, channels = data.memory
    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, spec.out.dtype)
        images = (T.parallel if tile.threads > 1 else T.serial)(0, batch)
        with T.sblock("root"), images as n:
            rows = T.decl_buffer((batch, prod(image), channels), data.dtype, data=operands[0].tensor.data)
            means = T.decl_buffer((batch, channels), spec.out.dtype, data=out.tensor.data)

            def block(channel: Any, lanes: int) -> None:
                total = _sum(rows, n, channel, lanes)
                index = [n, channel, *(0 for _ in image)]
                store(means, lanes, lambda e: (_mean(spec, operands, total[e], index, e), [n, channel + e]))

            along(channels, tile.lanes, block)
    return ib.get()


def _mean(spec: KernelSpec, operands: list[Any], total: Any, index: list[Any], lane: Any) -> Any:
    """The number that a sum of integers stands for, over their count, and what follows."""
    from tvm import tirx

    data = spec.operands[0]
    count, meaning = data.size // (data.shape[0] * data.shape[1]), data.quantization
    steps = (total - tirx.const(count * meaning.zero_point, "int32")).astype(SINGLE)
    mean = steps * tirx.const(np.float32(meaning.scale / count), SINGLE)
    return tail(spec, operands, (index[0], index[1] + lane, *index[2:]), mean)


def _sum(rows: Any, n: Any, channel: Any, lanes: int) -> Any:
    """The sums of these channels, int32 `[lanes]`."""
    from tvm.tirx.script import builder as T

    positions, most = int(rows.shape[1]), TERMS[str(rows.dtype)]
    total = T.alloc_buffer((lanes,), "int32", scope="local")
    store(total, lanes, lambda e: (0, [e]))
    chunks, rest = divmod(positions, most)
    if chunks:
        with T.serial(0, chunks) as i:
            _add(rows, n, channel, lanes, i * most, most, total)
    if rest:
        _add(rows, n, channel, lanes, chunks * most, rest, total)
    return total


def _add(rows: Any, n: Any, channel: Any, lanes: int, first: Any, count: int, total: Any) -> None:
    """Add so many positions from the first one on."""
    from tvm.tirx.script import builder as T

    narrow = "int16" if str(rows.dtype) == "int8" else "uint16"
    part = T.alloc_buffer((lanes,), narrow, scope="local")
    store(part, lanes, lambda e: (0, [e]))

    def one(position: Any) -> None:
        store(part, lanes, lambda e: (part[e] + rows[n, position, channel + e].astype(narrow), [e]))

    rounds, rest = divmod(count, WRITTEN_OUT)
    if rounds:
        with T.serial(0, rounds) as i:
            for k in range(WRITTEN_OUT):
                one(first + i * WRITTEN_OUT + k)
    for k in range(rest):
        one(first + rounds * WRITTEN_OUT + k)
    store(total, lanes, lambda e: (total[e] + part[e].astype("int32"), [e]))
