"""Products of few outputs, and convolutions that read the whole image for one, agree with ONNX Runtime."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pfir.backends.tvm.kernels.products.dots import pack
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.remainders import remainder_tile
from pfir.backends.tvm.schedule.tile_kinds import DotsTile
from pfir.target import parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers_of_cases, bundled, error


def _pointwise(inputs: int, outputs: int, size: tuple[int, int], batch: int = 1):
    def build(b: Net) -> str:
        x = b.input(batch, inputs, *size)
        return b.op("Sigmoid", b.op("Conv", x, b.w(outputs, inputs, 1, 1), b.w(outputs)))

    return build


def _residual(b: Net) -> str:
    x = b.input(1, 100, 5, 2)
    return b.op("Add", b.op("Conv", x, b.w(2, 100, 1, 1)), b.input(1, 2, 5, 2))


DOTS = {
    "one row": _pointwise(128, 1, (1, 1)),
    "rows fill tiles": _pointwise(96, 2, (2, 4)),
    "the last tile overlaps": _pointwise(96, 3, (3, 3)),
    "vectors are left behind the loop": _pointwise(176, 1, (1, 2)),
    "inputs fill no whole vectors": _pointwise(77, 2, (1, 1), batch=3),
    "dense": lambda b: b.op("Gemm", b.input(5, 131), b.w(131, 2), b.w(2)),
    "matrix": lambda b: b.op("MatMul", b.input(2, 3, 100), b.w(100, 1)),
    "residual": _residual,
}


def _over_image(shape: tuple[int, int, int, int], outputs: int, kernel: tuple[int, int], **attributes):
    def build(b: Net) -> str:
        x = b.op("Conv", b.input(*shape), b.w(shape[1], shape[1], 1, 1))
        y = b.op("Conv", x, b.w(outputs, shape[1], *kernel), b.w(outputs), **attributes)
        return b.op("Relu", y)

    return build


IMAGES = {
    "the kernel's size": _over_image((2, 8, 3, 3), 20, (3, 3)),
    "one output": _over_image((1, 32, 3, 3), 1, (3, 3), strides=[3, 3]),
    "one pixel": _over_image((1, 12, 1, 1), 7, (3, 3), pads=[1, 1, 1, 1]),
    "pads along one axis": _over_image((1, 12, 2, 3), 7, (4, 3), pads=[1, 0, 1, 0]),
    "one row, dilated": _over_image((1, 6, 1, 2), 5, (3, 3), dilations=[2, 1], pads=[2, 0, 2, 1]),
    "channels first": lambda b: b.op("Conv", b.input(1, 3, 5, 5), b.w(6, 3, 5, 5)),
}
SKIPPED = {"a row is not read": _over_image((1, 6, 2, 2), 6, (3, 3), dilations=[2, 1], pads=[2, 0, 1, 1])}
CASES = DOTS | IMAGES | SKIPPED


@pytest.fixture(scope="module", params=("host", "host,threads=2"))
def results(request):
    return answers_of_cases(CASES, request.param)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


@pytest.mark.parametrize("target", ("x86-64:x86-64-v3", "x86-64:x86-64-v4", "arm", "armv7"))
def test_vectors_lie_along_the_inputs_of_every_product_with_few_outputs(target):
    found = [spec for spec, _ in written(bundled(DOTS), parse_target(target)).kernels if spec.family == "dots"]
    fill_a_vector = parse_target(target).lanes == 4  # three outputs nearly do, over several rows
    assert len(found) == len(DOTS) - fill_a_vector


def test_a_convolution_that_reads_the_whole_image_is_a_product():
    for name, case in (IMAGES | SKIPPED).items():
        families = {spec.family for spec, _ in written(bundled({name: case}), parse_target("arm")).kernels}
        assert bool(families & {"conv", "direct"}) == (name in SKIPPED)


@pytest.mark.parametrize("outputs, inputs", list(product((1, 2, 3), (8, 100, 1000))))
def test_sums_stay_in_registers_and_are_no_more_than_hide_the_latency(outputs, inputs):
    for target, rows in product(map(parse_target, ("arm", "armv7", "x86-64:x86-64-v4")), (1, 3, 50)):
        tile = remainder_tile(target, rows, outputs, inputs)
        if tile is not None:
            assert tile.rows * outputs * tile.copies + tile.rows + outputs <= target.core.vector_registers
            assert tile.rows <= rows and tile.outputs == outputs
    assert remainder_tile(parse_target("arm"), 50, outputs, 4) is None


def test_the_last_vector_of_inputs_ends_with_the_last_of_them_and_counts_none_twice():
    weight = np.arange(20, dtype=np.float32).reshape(10, 2)
    packed = pack(weight, DotsTile(4, 2, 1, 1))
    assert packed.shape == (2, 3, 4)
    assert np.array_equal(packed[1], [[1, 3, 5, 7], [9, 11, 13, 15], [0, 0, 17, 19]])
