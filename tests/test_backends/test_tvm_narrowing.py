"""Products whose last vector is as narrow as what is left agree with ONNX Runtime; only those that gain are made."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.backends.tvm.kernels.narrowing import pack, vectors
from pfir.backends.tvm.lower import written
from pfir.backends.tvm.remainders import remainder_tile
from pfir.backends.tvm.tiles import Tile
from pfir.target import parse_target
from tests.test_backends.bundle import Bundle, answers_of_cases, bundled, error

V3, V4 = parse_target("x86-64:x86-64-v3"), parse_target("x86-64:x86-64-v4")


def _pointwise(channels: int, out: int, size: tuple[int, int] = (5, 7), batch: int = 1):
    def build(b: Bundle) -> str:
        x = b.input(batch, channels, *size)
        return b.node("Relu", b.node("Conv", x, b.random(out, channels, 1, 1), b.random(out)))

    return build


def _residual(b: Bundle) -> str:
    x = _pointwise(6, 52)(b)
    return b.node("Add", b.node("Conv", x, b.random(52, 52, 1, 1)), x)


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
    "dense": lambda b: b.node("Gemm", b.input(7, 33), b.random(33, 36), b.random(36)),
    "matrix": lambda b: b.node("MatMul", b.input(2, 3, 10), b.random(10, 20)),
}


@pytest.fixture(scope="module", params=("host", "host,threads=2"))
def results(request):
    return answers_of_cases(CASES, request.param)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


def test_every_product_narrows_where_vectors_have_512_bits_fewer_of_256_and_none_elsewhere():
    few = sum(name.startswith(("two rows", "less", "dense", "matrix")) for name in CASES)
    for target, count in ((V4, len(CASES) + 1), (V3, few), (parse_target("arm"), 0), (parse_target("x86-64"), 0)):
        families = [spec.family for spec, _ in written(bundled(CASES), target).kernels]
        assert families.count("narrowing") == count


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
    assert vectors(52, 16) == [(0, 16), (16, 16), (32, 16), (48, 4)]
    assert vectors(22, 16) == [(0, 16), (14, 8)] and vectors(32, 16) == [(0, 16), (16, 16)]


def test_weights_lie_one_block_after_the_other():
    weight = np.arange(3 * 22, dtype=np.float32).reshape(3, 22)
    packed = pack(weight, Tile(16, 1, 4, 1))
    assert np.array_equal(packed, np.concatenate([weight[:, :16].reshape(-1), weight[:, 14:].reshape(-1)]))
    packed = pack(weight[:, :12], Tile(8, 2, 4, 1, narrows=True))
    whole = np.concatenate([weight[:, :8], weight[:, 8:12], weight[:, 8:12]], axis=1)
    assert np.array_equal(packed, whole.reshape(-1))
