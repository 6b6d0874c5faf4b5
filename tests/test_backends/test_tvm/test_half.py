"""Libraries that compute in float16: as exact as that allows, float32 at their borders, and eight lanes wide."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.kernels.assembly import hot_bodies, hot_loops
from benchmarks.kernels.instructions import assembly
from pfir.backends.tvm import TvmBackend, families
from pfir.backends.tvm.kernels.parts import parts
from pfir.backends.tvm.library import store
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule import candidate_schedules as candidates
from pfir.backends.tvm.schedule.algorithms import outputs_for, plan
from pfir.backends.tvm.schedule.tiles import matrix_tile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.backends.tvm.tuning.database import core_name
from pfir.target import FLOAT16, HALF, HALF_TERMS, SINGLE, parse_target, with_arithmetic
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends import devices
from tests.test_backends.bundle import (
    answers_emulated,
    answers_of_program,
    error,
    feeds,
    reference,
    sized,
    under_construction,
)

A76 = with_arithmetic(parse_target("cortex-a76"), FLOAT16)
# LLVM computes halves in float32 here and rounds each result: as exact as a core that has them, and slow.
HERE = replace(parse_target("host"), arithmetic=FLOAT16)
ROUNDING = 2.0**-11  # of one value, relative


def _conv(channels: int, out: int, kernel: int, group: int = 1, **attributes):
    """A convolution behind a pointwise one, which brings the channels to the end."""

    def build(b: Net) -> str:
        x = b.op("Conv", b.input(1, 3, 9, 11), b.w(channels, 3, 1, 1))
        weight, pads = b.w(out, channels // group, kernel, kernel), [kernel // 2] * 4
        y = b.op("Conv", x, weight, b.w(out), group=group, pads=pads, **attributes)
        return b.op("Relu", y)

    return build


def _behind(op: str, *more, **attributes):
    return lambda b: b.op(
        op, _conv(12, 12, 3, strides=[2, 2])(b), *(b.const(np.asarray(c)) for c in more), **attributes
    )


def _residual(b: Net) -> str:
    x = _conv(8, 16, 3)(b)
    return b.op("Relu", b.op("Add", b.op("Conv", x, b.w(16, 16, 3, 3), pads=[1] * 4), x))


def _squeeze_excite(b: Net) -> str:
    x = _conv(16, 16, 5, group=16)(b)
    s = b.op("Conv", b.op("GlobalAveragePool", x), b.w(8, 16, 1, 1), b.w(8))
    s = b.op("Conv", b.op("HardSwish", s), b.w(16, 8, 1, 1), b.w(16))
    return b.op("Mul", x, b.op("Sigmoid", s))


def _normalized(b: Net) -> str:
    x = b.op("Mul", b.input(6, 40), b.const(np.float32(10)))
    x = b.op("Sub", x, b.op("ReduceMean", x, axes=[1]))
    power = b.op("ReduceMean", b.op("Mul", x, x), axes=[1])
    return b.op("Div", x, b.op("Sqrt", b.op("Add", power, b.const(np.float32(1e-5)))))


def _activations(b: Net) -> str:
    x = b.op("PRelu", b.op("LeakyRelu", _conv(8, 12, 1)(b), alpha=0.1), b.w(12, 1, 1))
    x = b.op("Sub", b.op("HardSwish", b.op("Neg", x)), b.const(np.float32(0.5)))
    x = b.op("Max", b.op("Clip", b.op("Abs", x), b.const(np.float32(0.1)), b.const(np.float32(4))), x)
    return b.op("Mul", b.op("ThresholdedRelu", x, alpha=0.25), b.op("HardSigmoid", x))


def _tiny(b: Net) -> str:
    """With a number that float16 does not hold."""
    x = b.op("Mul", _conv(8, 8, 1)(b), b.const(np.float32(1e-7)))
    return b.op("Relu", b.op("Mul", x, b.const(np.float32(1e7))))


def _product(inner: int, columns: int = 24, rows: int = 5):
    return lambda b: b.op("Gemm", b.input(rows, inner), b.w(inner, columns), b.w(columns))


CASES = {
    "tiles of 2x2": _conv(32, 20, 3),
    "strides": _conv(24, 40, 3, strides=[2, 2]),
    "a sum in parts": _conv(64, 16, 3, strides=[2, 2]),
    "odd channels": _conv(13, 19, 3, strides=[2, 2]),
    "groups": _conv(16, 24, 3, group=4),
    "an image": lambda b: b.op("Conv", b.input(2, 3, 11, 13), b.w(16, 3, 3, 3), b.w(16), strides=[2, 2]),
    "depthwise": _conv(24, 24, 3, group=24),
    "depthwise across columns": _conv(13, 13, 3, group=13),
    "depthwise with a multiplier": _conv(8, 16, 3, group=8),
    "transposed": lambda b: b.op("ConvTranspose", _conv(8, 8, 3)(b), b.w(8, 12, 2, 2), strides=[2, 2]),
    "a product": _product(96),
    "rows that fill no tile": lambda b: b.op("Conv", _conv(16, 16, 3)(b), b.w(24, 16, 1, 1)),
    "strides of a single tap": _conv(16, 24, 1, strides=[2, 2]),
    "a long product": _product(1280),
    "a long product of uneven parts with a rest": _product(611, 70, 1),
    "a product that fills no vector": _product(45, 37),
    "a product of few columns": _product(300, 5),
    "residual": _residual,
    "squeeze and excite": _squeeze_excite,
    "maximum pool": _behind("MaxPool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average pool": _behind("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "global average": _behind("GlobalAveragePool"),
    "global maximum": _behind("GlobalMaxPool"),
    "softmax": lambda b: b.op("Softmax", b.op("Mul", _conv(12, 12, 3)(b), b.const(np.float32(0.1))), axis=1),
    "resize": _behind("Resize", np.zeros(0, np.float32), np.float32([1, 1, 2, 2]), mode="linear"),
    "pad": lambda b: b.op("Pad", _conv(8, 8, 1)(b), b.ints(0, 1, 2, 0, 0, 1, 0, 1)),
    "gelu by parts": lambda b: b.op("Erf", _conv(8, 8, 1)(b)),
    "normalized by hand": _normalized,
    "activations": _activations,
    "numbers beyond float16": _tiny,
    "concatenation": lambda b: b.op("Concat", _conv(8, 8, 1)(b), _conv(4, 16, 1)(b), axis=1),
    "the input itself": lambda b: b.op("Relu", b.input(3, 7)),
}


@pytest.fixture(scope="module")
def results():
    bundle = under_construction()
    for i, case in enumerate(CASES.values()):
        bundle.output(f"case{i}", case(bundle))
    model = sized(bundle)
    values = feeds(model.inputs())
    ours, theirs = devices.host().run(TvmBackend().build(model, HERE), values), reference(model, values)
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(CASES)}


@pytest.mark.parametrize("name", CASES)
def test_results_are_float32_and_as_exact_as_float16_allows(results, name):
    ours, theirs = results[name]
    assert ours.dtype == np.float32 and error(ours, theirs) < 12 * ROUNDING


def test_values_beyond_the_range_of_float16_come_out_infinite():
    bundle = under_construction()
    bundle.output("y", bundle.op("MatMul", bundle.input(1, 8), bundle.const(np.full((8, 16), 30000, np.float32))))
    model = sized(bundle)
    (ours,) = devices.host().run(TvmBackend().build(model, HERE), {"in0": np.ones((1, 8), np.float32)}).values()
    assert np.isinf(ours).all()


def test_hot_loops_multiply_eight_halves_at_a_time_and_nothing_else():
    bundle = under_construction()
    layers = (
        (16, 32, 3, 1, 1),
        (32, 32, 3, 1, 2),
        (64, 40, 1, 1, 1),
        (640, 24, 1, 1, 1),
        (48, 16, 3, 1, 2),
        (32, 32, 3, 32, 1),
    )
    for i, (channels, out, kernel, group, stride) in enumerate(layers):
        x = bundle.op("Conv", bundle.input(1, 3, 12, 12), bundle.w(channels, 3, 1, 1))
        weight = bundle.w(out, channels // group, kernel, kernel)
        pads, strides = [kernel // 2] * 4, [stride] * 2
        y = bundle.op("Conv", x, weight, bundle.w(out), group=group, pads=pads, strides=strides)
        bundle.output(f"y{i}", bundle.op("Relu", y))
    bundle.output("dense", bundle.op("Gemm", bundle.input(8, 64), bundle.w(64, 32)))
    program = written(sized(bundle), A76)
    families = {spec.family for spec, _ in program.kernels}
    assert {"conv", "winograd", "product", "depthwise"} <= families
    bodies = hot_bodies(assembly(program))
    assert len(bodies) >= 8
    for kernel, body in bodies.items():
        multiplies = [line for line in body if line.split()[0] == "fmla"]
        assert multiplies and all(".8h" in line for line in multiplies), kernel
        assert not any(line.split()[0].startswith("fcvt") for line in body), kernel


def _pointwise(*sizes: tuple[int, int, int]) -> Net:
    """Products over flattened positions, behind a kernel that brings the channels to the end, by in, out and side."""
    bundle = under_construction()
    for channels, out, side in sizes:
        x = bundle.op("Conv", bundle.input(1, 3, side, side), bundle.w(channels, 3, 1, 1))
        y = bundle.op("Conv", x, bundle.w(out, channels, 1, 1), bundle.w(out))
        bundle.output(f"y{channels}_{out}", bundle.op("Relu", y))
    return bundle


def test_no_hot_loop_of_a_product_of_halves_spills():
    sizes = (
        (16, 16, 48),
        (16, 32, 24),
        (16, 96, 56),
        (24, 144, 28),
        (32, 16, 56),
        (30, 26, 14),
        (64, 8, 14),
        (96, 24, 28),
        (672, 112, 14),
    )
    loops = hot_loops(assembly(written(sized(_pointwise(*sizes)), A76)))
    products = [loop for name, loop in loops.items() if name.startswith("product") and loop.multiplies >= 60]
    assert len(products) >= len(sizes) and not any(loop.spills for loop in products)
    assert all(loop.instructions < 1.3 * loop.multiplies for loop in products)


def test_halves_of_a_core_that_has_them_are_multiplied_as_exactly():
    model = sized(_pointwise((13, 9, 7), (8, 40, 5), (300, 24, 4), (615, 17, 2), (21, 30, 9)))
    (ours,), theirs = answers_emulated(model, A76)
    assert all(error(ours[name], theirs[name]) < 12 * ROUNDING for name in theirs)


@pytest.mark.parametrize("inner", (288, 289, 1003, 4099))
def test_no_sum_of_a_product_is_too_long_for_float16(inner):
    """2048 and 1 are 2048 in float16, so that sums of sevens end below 16384."""
    bundle = under_construction()
    sevens = bundle.const(np.full((inner, 16), 7, np.float32))
    bundle.output("y", bundle.op("MatMul", bundle.input(2, inner), sevens))
    model = sized(bundle)
    assert "product" in {spec.family for spec, _ in written(model, HERE).kernels}
    (ours,) = devices.host().run(TvmBackend().build(model, HERE), {"in0": np.ones((2, inner), np.float32)}).values()
    assert (ours == 7 * inner).all()


def test_only_the_borders_of_a_library_are_float32():
    bundle = under_construction()
    x = bundle.input(1, 8, 6, 6)
    y = bundle.op("Conv", x, bundle.w(8, 8, 3, 3), pads=[1, 1, 1, 1])
    z = bundle.op("Conv", bundle.op("Relu", y), bundle.w(4, 8, 1, 1))
    bundle.output("mean", bundle.op("GlobalAveragePool", bundle.op("Relu", z)))
    kernels = [spec for spec, _ in written(sized(bundle), A76).calls]
    assert kernels[0].operands[0].dtype == SINGLE == kernels[-1].out.dtype
    inner = [form.dtype for spec in kernels for form in (*spec.operands[1:], spec.out)]
    assert inner.count(SINGLE) == 1 and {spec.dtype for spec in kernels} == {HALF}


@given(channels=st.integers(1, 2000), taps=st.sampled_from((1, 9, 25)), unroll=st.sampled_from((1, 4, 8)))
def test_parts_are_equal_and_short_where_the_channels_divide(channels, taps, unroll):
    count = parts(HALF, channels, taps, unroll)
    assert channels % count == 0 and parts(SINGLE, channels, taps, unroll) == 1
    if count > 1:
        assert (channels // count) % unroll == 0
    if channels % 8 == 0 and channels * taps > HALF_TERMS and unroll * taps <= HALF_TERMS:
        assert channels // count * taps <= HALF_TERMS


def _float64(weight: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The 3x3 convolution with a border of one zero."""
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows, weight.astype(np.float64))


@pytest.mark.parametrize(("outputs", "bound"), [(None, 6), (2, 12)], ids=["direct", "tiles of 2x2"])
def test_the_error_of_a_convolution_against_float64_is_a_few_roundings(monkeypatch, outputs, bound):
    chosen = (lambda *_: None) if outputs is None else (lambda *where: plan(*where, outputs))
    monkeypatch.setattr(candidates, "winograd_or_direct", chosen)
    bundle, channels = under_construction(), (16, 64, 128)
    for c in channels:
        x = bundle.op("Relu", bundle.op("Transpose", bundle.input(1, 8, 8, c), perm=[0, 3, 1, 2]))
        bundle.output(f"y{c}", bundle.op("Conv", x, bundle.w(16, c, 3, 3), pads=[1, 1, 1, 1]))
    model = sized(bundle)
    program = written(model, HERE)
    families = [spec.family for spec, _ in program.kernels]
    assert families.count("conv" if outputs is None else "winograd") == len(channels)
    # Past the store of libraries, which knows nothing of this choice.
    (ours, _), values = answers_of_program(program, model), feeds(model.inputs())
    weights = [node.inputs[1].values for node in model.nodes() if node.op == "Conv"]
    for c, weight, x in zip(channels, weights, values.values(), strict=True):
        theirs = _float64(weight, np.maximum(x, 0).transpose(0, 3, 1, 2))
        assert np.abs(ours[f"y{c}"] - theirs).max() < bound * ROUNDING * np.abs(theirs).max(), c


def test_no_tiles_of_4x4_where_float16_computes():
    assert outputs_for(A76) == (2,)
    shape = (1, 32, 16, 16)
    workload = Workload("conv", shape, shape, (0, 2, 3, 1), (3, 3), pads=(1, 1), dtype=HALF)
    assert {schedule.outputs for schedule in families.candidates(A76, workload) if isinstance(schedule, Winograd)} == {
        2
    }


def test_a_register_holds_twice_as_many_values():
    full, half = parse_target("cortex-a76"), A76
    assert half.lanes == 2 * full.lanes == 8 and half.macs_per_cycle == 2 * full.macs_per_cycle
    assert matrix_tile(half, 28, 64, 64).lanes == 8


def test_caches_never_mix_the_two_arithmetics():
    bundle = under_construction()
    bundle.output("y", bundle.op("Conv", bundle.input(1, 8, 6, 6), bundle.w(8, 8, 3, 3)))
    model, full = sized(bundle), parse_target("cortex-a76")
    assert store.key(model, full, "", 0.0) != store.key(model, A76, "", 0.0)
    assert core_name(full) != core_name(A76)
    works = [written(model, target).works[0] for target in (full, A76)]
    assert str(works[0]) != str(works[1]) and "float16" in str(works[1])
    specs = [next(iter(written(model, target).kernels))[0] for target in (full, A76)]
    assert [spec.dtype for spec in specs] == [SINGLE, HALF]
