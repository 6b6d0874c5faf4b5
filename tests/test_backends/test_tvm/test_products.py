"""Vectors of a product: where they stand, and that those as narrow as what is left compute what ONNX Runtime does."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.products import Vector, pack, plan, vectors
from pfir.backends.tvm.schedule.remainders import remainder_tile
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, NarrowingTile
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers_of_cases, bundled, error

V3, V4 = parse_target("x86-64:x86-64-v3"), parse_target("x86-64:x86-64-v4")


def _pointwise(channels: int, out: int, size: tuple[int, int] = (5, 7), batch: int = 1):
    def build(b: Net) -> str:
        x = b.input(batch, channels, *size)
        return b.op("Relu", b.op("Conv", x, b.w(out, channels, 1, 1), b.w(out)))

    return build


def _residual(b: Net, channels: int = 52) -> str:
    x = _pointwise(6, channels)(b)
    return b.op("Add", b.op("Conv", x, b.w(channels, channels, 1, 1)), x)


CASES = {
    "a quarter of a vector": _pointwise(9, 52),
    "half a vector": _pointwise(8, 56, batch=2),
    "less than a quarter": _pointwise(7, 18),
    "behind whole blocks": _pointwise(5, 66, (2, 3)),
    "a block of its own": _pointwise(4, 68),
    "blocks of vectors, the last of which is narrower": _pointwise(3, 100, (1, 5)),
    "two rows share a vector": _pointwise(7, 12, batch=2),
    "two rows share a vector, the last of an odd number of them alone": _pointwise(13, 26),
    "two rows share a vector that overlaps": _pointwise(6, 9, (1, 5)),
    "residual, no bias": _residual,
    "dense": lambda b: b.op("Gemm", b.input(7, 33), b.w(33, 36), b.w(36)),
    "matrix": lambda b: b.op("MatMul", b.input(2, 3, 10), b.w(10, 20)),
}
ALIKE = {
    "one column": _pointwise(6, 1),
    "fewer columns than lanes": _pointwise(10, 3, batch=2),
    "fewer columns than lanes, residual": lambda b: _residual(b, 7),
    "few rows": lambda b: b.op("Gemm", b.input(2, 19), b.w(19, 37), b.w(37)),
    "a row, whose steps take turns": lambda b: b.op("Gemm", b.input(1, 61), b.w(61, 5), b.w(5)),
    "whole blocks and one of fewer vectors": _pointwise(12, 112, (7, 7)),
    "the last vector overlaps": _pointwise(12, 61),
}


@pytest.fixture(scope="module", params=("host", "host,threads=2", "x86-64"))
def results(request):
    if request.param == "x86-64" and platform.machine() != "x86_64":
        pytest.skip("another architecture")
    return answers_of_cases(CASES | ALIKE, request.param)


@pytest.mark.parametrize("name", CASES | ALIKE)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


def test_every_product_narrows_where_vectors_have_512_bits_fewer_of_256_and_none_elsewhere():
    few = sum(name.startswith(("two rows", "less", "dense", "matrix")) for name in CASES)
    for target, count in ((V4, len(CASES) + 1), (V3, few), (parse_target("arm"), 0), (parse_target("x86-64"), 0)):
        tiles = [tile for spec, tile in written(bundled(CASES), target).kernels if spec.family == "product"]
        assert sum(isinstance(tile, NarrowingTile) for tile in tiles) == count


@pytest.mark.parametrize("channels", (7, 8, 13, 16, 24, 30, 44, 61, 64))
def test_widths_that_gain_nothing_do_not_narrow(channels):
    assert remainder_tile(V4, 100, channels, channels) is None


@pytest.mark.parametrize("target", (V3, V4))
@pytest.mark.parametrize("channels", (9, 12, 18, 20, 26, 28, 36, 50, 52, 56, 72, 116))
def test_accumulators_stay_in_registers(channels, target):
    tile = remainder_tile(target, 100, channels, channels)
    shared = tile is not None and tile.lanes == 8
    assert target is V3 and channels > 36 or tile is not None and shared == (channels <= 36)
    if tile is not None:
        rows = tile.rows // 2 * (2 * tile.vectors - 1) if shared else tile.rows * tile.vectors
        assert 3 <= rows <= target.core.vector_registers * 2 // 3 and tile.rows % (1 + shared) == 0
    assert remainder_tile(V4, 3, channels, channels) is None


def test_vectors_cover_all_columns_and_the_last_one_ends_with_the_last_of_them():
    narrows, overlaps = NarrowingTile(16, 3, 4, 1), MatrixTile(16, 3, 4, 1)
    whole = [Vector(first, 16, 16) for first in (0, 16, 32)]
    assert vectors(52, narrows) == [*whole, Vector(48, 4, 4)] and vectors(52, overlaps) == [*whole, Vector(36, 16, 16)]
    assert vectors(22, narrows) == [whole[0], Vector(14, 8, 8)] and vectors(32, narrows) == whole[:2]
    assert vectors(12, NarrowingTile(8, 2, 4, 1)) == [Vector(0, 8, 8), Vector(8, 4, 4, 2)]


def test_fewer_columns_than_lanes_are_one_vector_that_is_written_in_pieces():
    (vector,) = vectors(13, MatrixTile(16, 3, 4, 1))
    assert vector == Vector(0, 16, 13) and vector.pieces == [(0, 8), (8, 4), (12, 1)]


@pytest.mark.parametrize(("columns", "counts"), [(52, [(4, 1)]), (130, [(4, 2), (1, 1)]), (7, [(1, 1)])])
def test_blocks_alike_are_one_loop_and_the_last_one_has_fewer_vectors_and_no_fewer_rows(columns, counts):
    tile = MatrixTile(16, 4, 6, 1)
    found = plan(columns, tile)
    assert [(len(blocks.vectors), blocks.count) for blocks in found] == counts
    assert found[-1].last == max(0, columns - 16)
    assert all(blocks.rows(100, tile) >= tile.rows and blocks.rows(3, tile) == 3 for blocks in found)


def test_weights_lie_one_block_after_the_other():
    weight = np.arange(3 * 22, dtype=np.float32).reshape(3, 22)
    packed = pack(weight, NarrowingTile(16, 1, 4, 1))
    assert np.array_equal(packed, np.concatenate([weight[:, :16].reshape(-1), weight[:, 14:].reshape(-1)]))
    packed = pack(weight, MatrixTile(16, 1, 4, 1))
    assert np.array_equal(packed, np.concatenate([weight[:, :16].reshape(-1), weight[:, 6:].reshape(-1)]))
    packed = pack(weight[:, :12], NarrowingTile(8, 2, 4, 1))
    whole = np.concatenate([weight[:, :8], weight[:, 8:12], weight[:, 8:12]], axis=1)
    assert np.array_equal(packed, whole.reshape(-1))
    padded = np.pad(weight[:, :5], ((0, 0), (0, 3)))
    assert np.array_equal(pack(weight[:, :5], MatrixTile(8, 1, 4, 1)), padded.reshape(-1))
