"""Products over integers that skip units of zeros: they compute what dense kernels do, to the bit, and are chosen where
they are cheaper."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from benchmarks.estimator.counting import single_kernels
from benchmarks.estimator.grids.sparse_integers import line, units
from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.counts.kernel import KernelCounts
from pfir.backends.tvm.families import candidates, modelled
from pfir.backends.tvm.kernels.integers.block_sparse import pack_units
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule import candidate_schedules
from pfir.backends.tvm.schedule.blocks import Block
from pfir.backends.tvm.schedule.integers.choice import integer_plans
from pfir.backends.tvm.schedule.integers.dot_blocks import DotBlocks
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks
from pfir.backends.tvm.tuning.tunable import group_kernels
from pfir.data.generated import generated
from pfir.devices.emulation.emulated import EmulatedDevice
from pfir.devices.host import HostDevice
from pfir.errors import DeviceError
from pfir.ir.costs.zeros import zeros_of
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.quantization.structure import structure
from pfir.passes.spec import parse
from pfir.run.activations import activations
from pfir.system.host_cpu import host_triple
from pfir.target import parse_target
from pfir.workload import UNIT_SHAPES, Workload
from tests.support.net import Net
from tests.test_backends.bundle import answers, answers_of_cases, bundled, feeds, reference, sized
from tests.test_backends.test_tvm_quantized.nets import STEP, QuantizedNet

A76 = parse_target("cortex-a76")
X86 = ("host", "x86-64:x86-64-v3", "x86-64")


def _pointwise(inputs: int, outputs: int, unit: tuple[int, int], size: tuple[int, int] = (5, 7), point: int = 3):
    def build(net: Net) -> str:
        q = QuantizedNet(net)
        weight = q.weights(units(net, outputs, inputs, unit, 0.8)[:, :, None, None])
        return q.pair(
            net.relu(net.op("Conv", q.pair(net.input(1, inputs, *size)), weight, q.bias(outputs, STEP))), point=point
        )

    return build


def _residual(net: Net) -> str:
    q = QuantizedNet(net)
    x, weight = q.pair(net.input(2, 32, 6, 6)), q.weights(units(net, 32, 32, (4, 4), 0.85)[:, :, None, None])
    return q.pair(net.op("Add", net.op("Conv", x, weight), x))


def _dense(net: Net) -> str:
    q = QuantizedNet(net)
    weight = units(net, 64, 96, (16, 4), 0.85)
    weight[:16] = 0  # a block of outputs without any weight
    return q.pair(net.op("MatMul", q.pair(net.input(2, 3, 96), point=-7), q.weights(weight.T, axis=1)))


CASES = {
    "four by four, a Relu that saturates": _pointwise(48, 36, (4, 4), point=-128),
    "eight by eight": _pointwise(40, 64, (8, 8)),
    "four by sixteen, one position": _pointwise(96, 20, (4, 16), (1, 1)),
    "residual, no bias": _residual,
    "dense": _dense,
}


@pytest.mark.parametrize("target", X86)
def test_the_library_computes_what_onnx_runtime_computes(target, monkeypatch):
    if not host_triple().startswith("x86"):
        pytest.skip("another architecture")
    monkeypatch.setattr(candidate_schedules, "integer_plan", _skipping)
    for ours, theirs in answers_of_cases(CASES, target).values():
        assert theirs.std() > STEP and np.abs(ours - theirs).max() < 1.01 * STEP


def _skipping(target, workload):
    """The best plan that skips zeros, where there is one."""
    plans = integer_plans(target, workload)
    return next((plan for plan in plans if isinstance(plan, SparseBlocks)), plans[0])


def _multiplying_all(target, workload):
    return next(plan for plan in integer_plans(target, workload) if not isinstance(plan, SparseBlocks))


def test_emulated_arm_gives_the_bits_of_dense_kernels(monkeypatch):
    model, made = bundled({name: CASES[name] for name in ("eight by eight", "dense")}), []
    for target in map(parse_target, ("cortex-a76", "rpi4", "neoverse-n2")):
        for plan, family in ((_skipping, "block_sparse_int8"), (_multiplying_all, "conv_int8")):
            monkeypatch.setattr(candidate_schedules, "integer_plan", plan)
            kernels = [spec.family for spec, _ in written(model, target).kernels]
            assert {name for name in kernels if name.endswith("_int8")} == {family}
            made.append(TvmBackend().build(model, target))
    values = feeds(model.inputs())
    with EmulatedDevice() as device:
        try:
            device.set_up()
        except DeviceError as reason:
            pytest.skip(f"no emulated device here: {reason}")
        found = [device.run(artifact, values) for artifact in made]
    for name, result in reference(model, values).items():
        assert all(np.array_equal(answer[name], found[0][name]) for answer in found)
        assert np.abs(found[0][name] - result).max() < 1.01 * STEP


@settings(max_examples=6)
@given(
    st.sampled_from(X86),
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from(UNIT_SHAPES),
    st.floats(0.5, 1),
    st.data(),
)
def test_results_are_those_of_the_dense_kernel_to_the_bit(name, positions, down, across, unit, share, data):
    target = parse_target(name if host_triple().startswith("x86") else "host")
    channels = across * unit[1], down * unit[0]
    for kernel in single_kernels(line(positions, unit, share, channels), target):
        if kernel.workload is None or not any(kernel.workload.rounds):
            continue
        plans = candidates(target, kernel.workload)
        sparse = data.draw(st.sampled_from([plan for plan in plans if isinstance(plan, SparseBlocks)]))
        dense = next(plan for plan in plans if not isinstance(plan, SparseBlocks))
        assert np.array_equal(_computed(kernel, sparse), _computed(kernel, dense))


def _computed(kernel, plan) -> np.ndarray:
    artifact = kernel.build(str(plan))
    values = {name: np.round(30 * array).astype(np.uint8) for name, array in feeds(artifact.inputs).items()}
    with HostDevice() as host:
        (result,) = host.run(artifact, values).values()
    return result


@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from(UNIT_SHAPES), st.floats(0, 1), st.integers(0, 99))
def test_packed_weights_are_those_of_the_units_that_are_not_zero(down, across, unit, share, seed):
    lanes, inputs = unit
    weight = units(Net(seed), down * lanes, across * inputs, unit, share).astype(np.int8)
    assume(weight.any())
    packed, begins, before = pack_units(weight, SparseBlocks(DotBlocks((Block((lanes,), 0, 1, down),), "sdot"), inputs))
    made = np.zeros_like(weight)
    for block, row in enumerate(np.split(made, down)):
        for unit_at in range(before[block], before[block + 1]):
            values = packed[unit_at * lanes * inputs :][: lanes * inputs].reshape(-1, lanes, 4)
            row[:, begins[unit_at] : begins[unit_at] + inputs] = values.transpose(1, 0, 2).reshape(lanes, inputs)
    assert np.array_equal(made, weight) and before[-1] == len(begins) == len(packed) // (lanes * inputs)


def _workload(rows: int, inputs: int, outputs: int, unit: tuple[int, int], share: float) -> Workload:
    zeros = zeros_of(units(Net(2), outputs, inputs, unit, share).T.astype(np.int8))
    shape = (1, inputs, 1, rows), (1, outputs, 1, rows)
    found = Workload("conv", *shape, (0, 2, 3, 1), dtype="int8")
    return (
        found
        if zeros is None
        else Workload("conv", *shape, (0, 2, 3, 1), dtype="int8", zeros=zeros.name, rounds=zeros.rounds)
    )


@pytest.mark.parametrize(
    "target",
    (
        "cortex-a53",
        "cortex-a72",
        "cortex-a76",
        "neoverse-n2",
        "x86-64",
        "x86-64:x86-64-v3",
        "x86-64:x86-64-v4",
        "armv7",
    ),
)
def test_zeros_are_skipped_where_that_is_cheaper(target):
    target = parse_target(target)
    for unit, share, skipped in (((16, 4), 0.9, True), ((16, 4), 0.8, True), ((4, 4), 0.3, False), ((4, 4), 0, False)):
        workload = _workload(196, 128, 128, unit, share)
        assert isinstance(modelled(target, workload), SparseBlocks) == skipped
        assert any(not isinstance(plan, SparseBlocks) for plan in candidates(target, workload))


def test_what_is_priced_has_the_patterns_of_what_is_built():
    model = bundled(CASES)
    built = {(work.zeros, work.rounds) for work in (kernel.workload for kernel in group_kernels(model, A76).values())}
    priced = {(kernel.workload.zeros, kernel.workload.rounds) for kernel in TvmBackend().kernels(model, A76)}
    assert len(built) == len(CASES) and priced - {("", ())} == built


def test_weights_count_as_many_bytes_as_are_kept():
    model, count = bundled(CASES), KernelCounts()
    own = {kernel.workload.zeros: kernel for kernel in TvmBackend().kernels(model, A76) if kernel.workload.rounds}
    plans = {work: modelled(A76, work) for work in (group.workload for group in group_kernels(model, A76).values())}
    for work, plan in plans.items():
        fewer = 0.0
        if isinstance(plan, SparseBlocks):
            kept = work.rounds[UNIT_SHAPES.index((plan.lanes, plan.inputs))]
            packed = kept * (plan.lanes * plan.inputs + 4) + 4 * (work.out[1] // plan.lanes + 1)
            fewer = packed - work.data[1] * work.out[1]
        assert count.more_weights(own[work.zeros], A76) == fewer <= 0
    assert sum(isinstance(plan, SparseBlocks) for plan in plans.values()) >= 3


def _quantized(sparsity: float):
    """A net whose 1x1 convolution and dense layer are made sparse, then quantized, and the sparse one before that."""
    net = Net(3)
    x = net.relu(net.conv(net.input(1, 3, 7, 7), 3, 32))
    x = net.relu(net.conv(x, 32, 256, 1))
    net.output("y", net.op("Gemm", net.op("Flatten", net.op("GlobalAveragePool", x)), net.w(256, 256), net.w(256)))
    model = sized(net)
    data = generated(model.inputs(), 8, 0)
    context = Context(lambda other, names: activations(other, names, data, 8))
    sparse, _ = run(parse(f"sparsify-weights{{pattern=8x4 sparsity={sparsity}}}"), model, context)
    return sparse, run(parse("quantize-uniform"), sparse, context)[0]


@pytest.mark.parametrize(("sparsity", "skipped"), [(0.8, 2), (0.3, 0)])
def test_a_model_made_sparse_and_quantized_by_the_passes_skips_zeros_where_enough_are(sparsity, skipped):
    sparse, model = _quantized(sparsity)
    kernels = [spec.family for spec, _ in written(model, A76).kernels]
    assert kernels.count("block_sparse_int8") == skipped
    assert [k.workload.rounds for k in TvmBackend().kernels(structure(sparse), A76) if k.workload.rounds] == [
        k.workload.rounds for k in TvmBackend().kernels(model, A76) if k.workload.rounds
    ]
    ours, theirs = answers(model)
    assert all(np.abs(ours[name] - theirs[name]).max() < 0.05 * np.abs(theirs[name]).max() for name in theirs)
