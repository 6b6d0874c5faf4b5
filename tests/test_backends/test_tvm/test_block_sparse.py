"""Products that skip blocks of zeros: what they compute, how their weights lie, and where they are chosen."""

from __future__ import annotations

import platform

import numpy as np
import pytest

from benchmarks.estimator.grids.sparse import blocks
from pfir.artifact import Kernel
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.counts.kernel import KernelCounts
from pfir.backends.tvm.families import candidates, modelled
from pfir.backends.tvm.kernels.products.block_sparse import pack
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule.product_choice import dense_tile
from pfir.backends.tvm.schedule.tile_kinds import SparseTile
from pfir.backends.tvm.tuning.tunable import group_kernels
from pfir.ir.costs.zeros import zeros_of
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.spec import parse
from pfir.target import FLOAT16, parse_target, with_arithmetic
from pfir.workload import BLOCK_SHAPES, Workload
from tests.support.net import Net
from tests.test_backends.bundle import answers, answers_emulated, answers_of_cases, bundled, error, sized

ARM = parse_target("arm")


def _pointwise(inputs: int, outputs: int, width: int, share: float, size: tuple[int, int] = (5, 7)):
    def build(net: Net) -> str:
        weight = net.const(blocks(net, outputs, inputs, width, share)[:, :, None, None], np.float32)
        return net.op("Relu", net.op("Conv", net.input(1, inputs, *size), weight, net.w(outputs)))

    return build


def _residual(net: Net) -> str:
    weight = net.const(blocks(net, 32, 32, 4, 0.8)[:, :, None, None], np.float32)
    x = net.relu(net.input(2, 32, 6, 6))
    return net.op("Add", net.op("Conv", x, weight), x)


def _dense(rows: int, turned: bool):
    def build(net: Net) -> str:
        weight = blocks(net, 64, 96, 8, 0.85)
        matrix = net.const(weight if turned else weight.T, np.float32)
        return net.op("Gemm", net.input(rows, 96), matrix, net.w(64), transB=int(turned))

    return build


def _empty_columns(net: Net) -> str:
    weight = blocks(net, 48, 40, 8, 0.8)
    weight[:16] = 0
    weight[16:, 39] = 1
    return net.op("MatMul", net.input(2, 9, 40), net.const(weight.T, np.float32))


CASES = {
    "blocks of four": _pointwise(48, 36, 4, 0.8),
    "blocks of eight": _pointwise(40, 64, 8, 0.75),
    "blocks of sixteen, rows that share no tile evenly": _pointwise(33, 32, 16, 0.8, (3, 11)),
    "one row of an image": _pointwise(96, 64, 8, 0.9, (1, 1)),
    "residual, no bias": _residual,
    "a dense layer of one row": _dense(1, False),
    "a dense layer of few rows, the other way around": _dense(3, True),
    "blocks of outputs without any weight": _empty_columns,
}


@pytest.fixture(scope="module", params=("host", "host,threads=2", "x86-64"))
def results(request):
    if request.param == "x86-64" and platform.machine() != "x86_64":
        pytest.skip("another architecture")
    return answers_of_cases(CASES, request.param)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < 1e-5


def test_64_bit_arm_computes_it_too_and_skips_all_of_them():
    model = bundled(CASES)
    kernels = [spec.family for spec, _ in written(model, ARM).kernels]
    assert kernels.count("block_sparse") == len(CASES) and "product" not in kernels
    (ours,), theirs = answers_emulated(model, "arm")
    assert max(error(ours[name], theirs[name]) for name in theirs) < 1e-5


def test_what_is_priced_has_the_patterns_of_what_is_built():
    model = bundled(CASES)
    built = {(work.zeros, work.rounds) for work in (kernel.workload for kernel in group_kernels(model, ARM).values())}
    priced = {(kernel.workload.zeros, kernel.workload.rounds) for kernel in TvmBackend().kernels(model, ARM)}
    assert len(built) == len(CASES) and priced - {("", ())} == built


def test_weights_count_as_many_bytes_as_are_kept():
    model, count = bundled(CASES), KernelCounts()
    own = {kernel.workload.zeros: kernel for kernel in TvmBackend().kernels(model, ARM) if kernel.workload.rounds}
    for group in group_kernels(model, ARM).values():
        work, tile = group.workload, modelled(ARM, group.workload)
        kept = work.rounds[BLOCK_SHAPES.index((tile.lanes, tile.unroll))] * tile.unroll
        dense, packed = 4 * work.data[1] * work.out[1], 4 * (kept * (tile.lanes + 1) + work.out[1] // tile.lanes + 1)
        assert count.more_weights(own[work.zeros], ARM) == packed - dense < 0
    assert count.more_weights(own[work.zeros], with_arithmetic(parse_target("cortex-a76"), FLOAT16)) == 0


@pytest.mark.parametrize("lanes", (4, 8))
@pytest.mark.parametrize("steps", (2, 4))
def test_packed_weights_are_those_that_are_not_zero(lanes, steps):
    weight = blocks(Net(1), 24, 30, 4, 0.7).T.astype(np.float32)
    weight[:, 8:16] = 0
    values, inputs, rounds = pack(weight, SparseTile(lanes, 4, steps))
    made = np.zeros_like(weight)
    for block, (begin, end) in enumerate(zip(rounds[:-1] * steps, rounds[1:] * steps, strict=True)):
        np.add.at(made[:, block * lanes : (block + 1) * lanes], inputs[begin:end], values[begin:end])
    assert np.array_equal(made, weight)
    assert len(values) == len(inputs) == steps * rounds[-1] == steps * _rounds(weight, lanes, steps)


def _rounds(weight: np.ndarray, lanes: int, steps: int) -> int:
    """Those that the workload tells."""
    return zeros_of(weight).rounds[BLOCK_SHAPES.index((lanes, steps))]


def _workload(rows: int, inputs: int, outputs: int, width: int, share: float) -> Workload:
    zeros = zeros_of(blocks(Net(2), outputs, inputs, width, share).T.astype(np.float32))
    sizes = (rows, inputs), (rows, outputs)
    return Workload("product", *sizes, (0, 1), zeros=zeros.name, rounds=zeros.rounds)


@pytest.mark.parametrize("target", ("arm", "cortex-a53", "cortex-a76", "x86-64:x86-64-v3", "x86-64:x86-64-v4"))
def test_zeros_are_skipped_where_that_is_cheaper(target):
    target = parse_target(target)
    for width, share, skipped in ((8, 0.9, True), (8, 0.8, True), (4, 0.3, False)):
        workload = _workload(196, 128, 128, width, share)
        assert isinstance(modelled(target, workload), SparseTile) == skipped
        assert dense_tile(target, workload) in candidates(target, workload)


@pytest.mark.parametrize("target", (with_arithmetic(parse_target("cortex-a76"), FLOAT16), parse_target("armv7")))
def test_neither_float16_nor_32_bit_arm_skips_zeros(target):
    found = candidates(target, _workload(196, 128, 128, 8, 0.9))
    assert not any(isinstance(tile, SparseTile) for tile in found)


@pytest.mark.parametrize(("sparsity", "skipped"), [(0.8, True), (0.3, False)])
def test_a_model_made_sparse_by_the_pass_is_faster_only_where_enough_is_zero(sparsity, skipped):
    net = Net(3)
    x = net.relu(net.conv(net.input(1, 3, 14, 14), 3, 32))
    model = sized_model(net, net.relu(net.conv(x, 32, 64, 1)))
    sparse, _ = run(parse(f"sparsify-weights{{pattern=4x1 sparsity={sparsity}}}"), model, Context())
    before, after = (_pointwise_kernel(m) for m in (model, sparse))
    counted = [KernelCounts()(kernel, ARM).total for kernel in (before, after)]
    assert counted[1] < 0.75 * counted[0] if skipped else counted[1] == counted[0]
    ours, theirs = answers(sparse)
    assert max(error(ours[name], theirs[name]) for name in theirs) < 1e-5


def sized_model(net: Net, result: str):
    net.output("y", result)
    return sized(net)


def _pointwise_kernel(model) -> Kernel:
    return next(k for k in TvmBackend().kernels(model, ARM) if k.workload.kernel == (1, 1) and k.family == "conv")
