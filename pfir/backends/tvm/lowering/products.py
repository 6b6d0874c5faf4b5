"""Matrix products, and the operators that are one: dense layers, and products of what is computed at run time."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from pfir.backends.tvm.kernels.products import block_sparse, dots
from pfir.backends.tvm.kernels.products.matmul import fitted
from pfir.backends.tvm.lowering.anchor import Anchor, Values, array_of, optional, shape_of, weights_of
from pfir.backends.tvm.lowering.form import Form, plain
from pfir.backends.tvm.lowering.fuse import Group
from pfir.backends.tvm.lowering.values import Program, Value
from pfir.backends.tvm.schedule import products
from pfir.backends.tvm.schedule.tile_kinds import DotsTile, MatrixTile, ProductTile, SparseTile
from pfir.backends.tvm.schedule.tiles import by_lane, matrix_tile, overlapped_tile
from pfir.ir.costs.tails import tail_of
from pfir.ir.costs.zeros import zeros_of
from pfir.workload import Workload

_SEVERAL = 4  # rows; fewer hide no latency, so that a product wants all its columns at a time


def gemm(program: Program, group: Group, value: Values) -> Anchor | None:
    node = group.head
    weight, attrs = weights_of(node.inputs[1]), node.attrs
    bias, out = optional(node, 2), plain(shape_of(node.outputs[0]))
    if weight is None or attrs.get("transA", 0) or (bias is not None and array_of(bias) is None):
        return None
    matrix = (weight.T if attrs.get("transB", 0) else weight) * np.float32(attrs.get("alpha", 1.0))
    addend = None if bias is None else array_of(bias) * np.float32(attrs.get("beta", 1.0))
    if addend is not None and addend.size not in (1, out.shape[1]):
        return None
    vector = None if addend is None else np.broadcast_to(addend.reshape(-1), (out.shape[1],))
    return product(program, value(node.inputs[0]), matrix, vector, out, tail_of(group.nodes).kind)


def matmul(program: Program, group: Group, value: Values) -> Anchor | None:
    node = group.head
    weight, shape = weights_of(node.inputs[1]), shape_of(node.inputs[0])
    if min(len(shape), len(node.inputs[1].shape)) < 2 or node.inputs[1].dtype != np.float32:
        return None
    if weight is None or weight.ndim != 2:
        return _batched_product(program, node, value)
    out, after = plain(shape_of(node.outputs[0])), tail_of(group.nodes).kind
    return product(program, value(node.inputs[0]), weight, None, out, after)


def product(program: Program, data: Value, matrix: np.ndarray, bias: Any, out: Form, after: str) -> Anchor:
    """The product of the data with `matrix`, `[I, O]`; the summed axis is brought to the end of the data's memory.

    Args:
        bias: `[O]`, or None.
        out: The result, of which the last axis in memory is O.
        after: What kind of nodes follow, as `Tail.kind` says.
    """
    if data.form.order[-1] != out.order[-1] or _outer(data.form) != _outer(out):
        data = program.laid_out(data, Form(data.form.shape, out.order, program.dtype))
    rows, (inner, channels) = prod(out.memory[:-1]), matrix.shape
    tile = program.schedule(_workload(program, rows, matrix, after))
    if isinstance(tile, SparseTile):
        packed = [program.constant(array) for array in block_sparse.pack(matrix, tile)]
        return Anchor("block_sparse", {}, [data, *packed], out, tile, bias)
    if isinstance(tile, DotsTile):
        return Anchor("dots", {}, [data, program.constant(dots.pack(matrix, tile))], out, tile, bias)
    tile = _overlapping(program, tile, rows, inner, channels)
    attributes = {"by_lane": program.target.arm64, "registers": program.target.core.vector_registers}
    return Anchor("product", attributes, [data, program.constant(products.pack(matrix, tile))], out, tile, bias)


def _workload(program: Program, rows: int, matrix: np.ndarray, after: str) -> Workload:
    """The product of so many rows, with the pattern of the matrix' zeros."""
    (inner, channels), zeros = matrix.shape, zeros_of(matrix)
    work = Workload("product", (rows, inner), (rows, channels), (0, 1), after=after, dtype=program.dtype)
    return work if zeros is None else replace(work, zeros=zeros.name, rounds=zeros.rounds)


def _overlapping(program: Program, tile: ProductTile, rows: int, inner: int, channels: int) -> ProductTile:
    """The tile, on x86 with as many vectors as compute the fewest columns twice where the last one overlaps."""
    ragged = channels > tile.lanes and channels % tile.lanes and isinstance(tile, MatrixTile)
    if not by_lane(program.target) and ragged and rows >= _SEVERAL:
        return overlapped_tile(program.target, tile, rows, channels, inner)
    return tile


def _outer(form: Form) -> tuple[int, ...]:
    return form.order[:-1]


def _batched_product(program: Program, node: gs.Node, value: Values) -> Anchor:
    """Neither side is a constant matrix; the right one gets its columns side by side."""
    left, right = (value(tensor) for tensor in node.inputs)
    *_, rows, inner = left.form.shape
    columns, last = right.form.shape[-1], len(right.form.shape) - 1
    right = right if right.form.order[-1] == last else program.plain(right)
    tile = fitted(matrix_tile(program.target, rows, columns, inner), rows, columns)
    return Anchor("matmul", {}, [left, right], plain(shape_of(node.outputs[0])), tile)
