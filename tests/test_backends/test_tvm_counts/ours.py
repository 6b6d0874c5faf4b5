"""What pfir says of a kernel of a grid, by the schedule that it was counted with."""

from __future__ import annotations

from pfir.backends.tvm.counts.convolutions.across import across
from pfir.backends.tvm.counts.convolutions.conv import conv
from pfir.backends.tvm.counts.convolutions.depthwise import depthwise
from pfir.backends.tvm.counts.convolutions.direct import direct
from pfir.backends.tvm.counts.convolutions.winograd import winograd
from pfir.backends.tvm.counts.integers.block_sparse import block_sparse_int8
from pfir.backends.tvm.counts.integers.dot_blocks import conv_int8
from pfir.backends.tvm.counts.integers.pair_blocks import conv_pairs
from pfir.backends.tvm.counts.others.elementwise import elementwise
from pfir.backends.tvm.counts.others.moves import move, transpose
from pfir.backends.tvm.counts.others.pool import pool
from pfir.backends.tvm.counts.others.reduce import norm, reduce, softmax
from pfir.backends.tvm.counts.products.block_sparse import block_sparse
from pfir.backends.tvm.counts.products.dots import dots
from pfir.backends.tvm.counts.products.matmul import matmul
from pfir.backends.tvm.counts.products.product import product
from pfir.backends.tvm.kernels.products.matmul import fitted
from pfir.backends.tvm.schedule.blocks import Direct
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.pair_blocks import PairBlocks
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.schedule.routing import CONVOLUTION
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, DepthwiseTile, DotsTile, SparseTile
from pfir.backends.tvm.schedule.tiles import matrix_tile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.instructions import Instructions
from pfir.target import HALF
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import Row

POOLS = {"MaxPool": "max", "AveragePool": "average"}
MOVES = "Pad", "Slice", "Resize", "Concat"
_SCHEDULED = {
    AcrossTile: across,
    DepthwiseTile: depthwise,
    Direct: direct,
    DotBlocks: conv_int8,
    DotsTile: dots,
    PairBlocks: conv_pairs,
    SparseBlocks: block_sparse_int8,
    SparseTile: block_sparse,
    Winograd: winograd,
}
_REDUCTIONS = {"GlobalAveragePool": reduce, "ReduceMean": reduce, "Softmax": softmax, "LayerNormalization": norm}
_FEWEST = 4  # channels of a block that is turned


def ours(row: Row) -> Instructions:
    """What pfir says that the kernel executes."""
    if row.workload is not None:
        matrix = conv if row.workload.family == CONVOLUTION else product
        count = _SCHEDULED.get(type(row.schedule), matrix)
        return count(row.target, row.workload, row.tail, row.schedule)
    if row.node == "MatMul":
        return _product_of_two(row)
    if row.node in _REDUCTIONS:
        count = _REDUCTIONS[row.node]
        return count(row.target, _work(row, count.__name__, kind="mean"), row.tail)
    if row.node in POOLS:
        return pool(row.target, _pool(row), row.tail)
    if row.node in MOVES:
        parts = tuple(shape[1] for shape in row.shapes[:-1]) if row.node == "Concat" else ()
        return move(row.target, _work(row, "move", kind=row.node, parts=parts), row.tail)
    return _turned(row) if row.node == "Reshape" else _elementwise(row)


def _work(row: Row, family: str, **fields) -> Workload:
    """The work of a kernel that has just one schedule."""
    sizes = {"data": row.data, "out": row.out, "order": row.orders[0], "dtype": row.target.arithmetic.data}
    return Workload(family, **sizes | fields)


def _product_of_two(row: Row) -> Instructions:
    left, right, out = row.shapes
    tile = fitted(matrix_tile(row.target, left[-2], right[-1], left[-1]), left[-2], right[-1])
    return matmul(row.target, Workload("matmul", left, out, (0, 1, 2)), row.tail, tile)


def _pool(row: Row) -> Workload:
    given = {"strides": (1, 1), "pads": (0, 0)} | row.attributes
    kernel, strides, pads = (tuple(given[name][:2]) for name in ("kernel_shape", "strides", "pads"))
    return _work(row, "pool", kernel=kernel, strides=strides, pads=pads, kind=POOLS[row.node])


def _turned(row: Row) -> Instructions:
    """A reshape turns its input into ONNX's order first; TVM gathers what is too narrow for blocks of lanes."""
    work = _work(row, "transpose", out=row.data, into=(0, 1, 2, 3))
    gathers = row.target.arithmetic.data == HALF or row.data[1] < _FEWEST
    return elementwise(row.target, work, Tail()) if gathers else transpose(row.target, work, Tail())


def _elementwise(row: Row) -> Instructions:
    others = [shape for shape in row.shapes[1:-1] if shape and row.node != "Clip"]
    reads, constants = sum(shape == row.out for shape in others), sum(shape != row.out for shape in others)
    chain = Tail(False, (row.node, *row.tail.operators), reads, constants)
    return elementwise(row.target, _work(row, "elementwise"), chain)
