"""Sums and extremes along rows of values that lie side by side, and what divides by them: softmax and norms.

A row is whatever axes are innermost in memory, `n` values; vectors lie along it, several of them at a time, and the
last one overlaps the one before it, where lanes that were there already count as nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pfir.backends.tvm.kernels.common import Operand, as_float, split, tail, to_index
from pfir.backends.tvm.kernels.pool import LOWEST
from pfir.backends.tvm.kernels.written import along, argument, store
from pfir.backends.tvm.lowering.expressions import const, exp, maximum, minimum
from pfir.backends.tvm.lowering.form import KernelSpec
from pfir.backends.tvm.schedule.tile_kinds import PlainTile
from pfir.target import SINGLE

_TOGETHER = 4
FOLDS: dict[str, tuple[Callable[[Any, Any], Any], float]] = {
    "sum": (lambda a, b: a + b, 0.0),
    "mean": (lambda a, b: a + b, 0.0),
    "max": (maximum, LOWEST[SINGLE]),
    "min": (minimum, -LOWEST[SINGLE]),
}


def reduce_rows(spec: KernelSpec, tile: PlainTile) -> Any:
    """One value a row; `spec` has `kind`, a name in `FOLDS`, and `n`."""
    from tvm.tirx.script import builder as T

    def one(row: Any, data: Any, out: Any, operands: list[Operand]) -> None:
        n, kind = spec["n"], spec["kind"]
        total = _fold(kind, n, tile, lambda i: as_float(data[row * n + i], SINGLE))
        index = to_index(spec.out, split(row, spec.out.memory))
        T.buffer_store(out, tail(spec, operands, index, total * const(1 / n) if kind == "mean" else total), [row])

    return _kernel(spec, tile, one)


def softmax(spec: KernelSpec, tile: PlainTile) -> Any:
    """e^x over the sum of its row; `spec` has `n`."""

    def one(row: Any, data: Any, out: Any, operands: list[Operand]) -> None:
        n = spec["n"]
        most = _fold("max", n, tile, lambda i: data[row * n + i])
        along(
            n,
            tile.lanes,
            lambda at, lanes: store(out, lanes, lambda e: (exp(data[row * n + at + e] - most), [row * n + at + e])),
        )
        share = _held(const(1) / _fold("sum", n, tile, lambda i: out[row * n + i]))
        _scale(out, row * n, n, tile.lanes, share)

    return _kernel(spec, tile, one)


def _scale(values: Any, start: Any, n: int, lanes: int, share: Any) -> None:
    """Multiply `n` values in place, each once."""
    from tvm.tirx.script import builder as T

    with T.serial(0, n // lanes) as i:
        store(values, lanes, lambda e: (values[start + i * lanes + e] * share, [start + i * lanes + e]))
    with T.serial(n // lanes * lanes, n) as i:
        T.buffer_store(values, values[start + i] * share, [start + i])


def norm(spec: KernelSpec, tile: PlainTile) -> Any:
    """(x - mean) / sqrt(variance + epsilon) of each row, times a scale plus an offset: operands of `n` values, or with
    `by_row` of one for each row of an image; `spec` has `n`, `epsilon` and `by_row`."""
    from tvm import tirx

    def one(row: Any, data: Any, out: Any, operands: list[Operand]) -> None:
        n, (scale, offset) = spec["n"], (_values(operand) for operand in operands[1:])
        mean = _held(_fold("sum", n, tile, lambda i: data[row * n + i]) * const(1 / n))

        def square(i: Any) -> Any:
            return (data[row * n + i] - mean) * (data[row * n + i] - mean)

        variance = _fold("sum", n, tile, square) * const(1 / n)
        share = _held(const(1) / tirx.sqrt(variance + const(spec["epsilon"])))

        def value(i: Any) -> Any:
            place = row % spec.operands[1].size if spec["by_row"] else i
            return (data[row * n + i] - mean) * share * scale[place] + offset[place]

        along(n, tile.lanes, lambda at, lanes: store(out, lanes, lambda e: (value(at + e), [row * n + at + e])))

    return _kernel(spec, tile, one)


def _kernel(spec: KernelSpec, tile: PlainTile, one: Callable[[Any, Any, Any, list[Operand]], None]) -> Any:
    """A function of TensorIR that does the same for every row."""
    from tvm.script.ir_builder import IRBuilder
    from tvm.tirx.script import builder as T

    with IRBuilder() as ib, T.prim_func(s_tir=True):
        T.func_name("main")
        operands = [argument(f"p{i}", form, SINGLE) for i, form in enumerate(spec.operands)]
        out = argument("out", spec.out, SINGLE)
        with T.sblock("root"):
            rows = (T.parallel if tile.threads > 1 else T.serial)(0, spec.operands[0].size // spec["n"])
            with rows as row:
                one(row, _values(operands[0]), _values(out), operands)
    return ib.get()


def _values(operand: Operand) -> Any:
    """All values of an operand as one axis."""
    from tvm.tirx.script import builder as T

    return T.decl_buffer((operand.form.size,), operand.form.dtype, data=operand.tensor.data)


def _fold(kind: str, n: int, tile: PlainTile, value: Callable[[Any], Any]) -> Any:
    """All of `value(0)` to `value(n - 1)` combined."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    (combine, neutral), lanes = FOLDS[kind], min(tile.lanes, 1 << (n.bit_length() - 1))
    together = min(_TOGETHER, n // lanes)
    totals = T.alloc_buffer((together, lanes), SINGLE, scope="local")
    with T.unroll(0, together) as j:
        store(totals, lanes, lambda e: (value(j * lanes + e), [j, e]))
    block = together * lanes
    with T.serial(1, n // block) as i, T.unroll(0, together) as j:
        store(totals, lanes, lambda e: (combine(totals[j, e], value(i * block + j * lanes + e)), [j, e]))
    with T.serial(n // block * together, n // lanes) as i:
        store(totals, lanes, lambda e: (combine(totals[0, e], value(i * lanes + e)), [0, e]))
    if rest := n % lanes:
        store(
            totals,
            lanes,
            lambda e: (
                combine(totals[0, e], tirx.Select(e >= lanes - rest, value(n - lanes + e), const(neutral))),
                [0, e],
            ),
        )
    return _across(totals, together, lanes, combine)


def _across(totals: Any, vectors: int, lanes: int, combine: Callable[[Any, Any], Any]) -> Any:
    """The lanes of some vectors, combined."""
    from tvm import tirx

    whole = [tirx.BufferLoad(totals, [j, _lanes(lanes)]) for j in range(vectors)]
    while len(whole) > 1:
        whole = [combine(*whole[i : i + 2]) if i + 1 < len(whole) else whole[i] for i in range(0, len(whole), 2)]
    vector = _held(whole[0], lanes)
    while lanes > 1:
        lanes //= 2
        low, high = (tirx.Shuffle([vector], list(range(start, start + lanes))) for start in (0, lanes))
        vector = _held(combine(low, high), lanes)
    return vector


def _held(value: Any, lanes: int = 1) -> Any:
    """The value, computed once."""
    from tvm import tirx
    from tvm.tirx.script import builder as T

    cell = T.alloc_buffer((lanes,), SINGLE, scope="local")
    T.buffer_store(cell, value, [_lanes(lanes)])
    return tirx.BufferLoad(cell, [_lanes(lanes)])


def _lanes(lanes: int) -> Any:
    from tvm import tirx

    return tirx.Ramp(0, 1, lanes) if lanes > 1 else 0
