"""Winograd's convolutions agree with ONNX Runtime's direct ones, whatever the sizes and what follows them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.backends.tvm.kernels.winograd.packing import blocked, pointed
from pfir.backends.tvm.lowering import convolutions
from pfir.backends.tvm.lowering.lower import written
from pfir.backends.tvm.schedule import candidate_schedules as candidates
from pfir.backends.tvm.schedule.algorithms import OUTPUTS, habits, plan, winograd_or_direct
from pfir.backends.tvm.schedule.remainders import strip_remainder
from pfir.backends.tvm.schedule.tile_kinds import MatrixTile, NarrowingTile
from pfir.compile.measuring.verification import TOLERANCE
from pfir.target import known_targets, parse_target
from tests.support.net import Net
from tests.test_backends.bundle import answers_of_program, bundled, error

SIZES = st.integers(1, 300)


def _conv(shape, out, pads=(1, 1, 1, 1), bias=True):
    """A 3x3 convolution behind a pointwise one, which brings the channels to the end."""

    def build(b: Net) -> str:
        x = b.op("Conv", b.input(*shape), b.w(shape[1], shape[1], 1, 1))
        weights = [b.w(out, shape[1], 3, 3)] + ([b.w(out)] if bias else [])
        return b.op("Conv", x, *weights, pads=pads)

    return build


def _residual(b: Net) -> str:
    x = b.op("Conv", b.input(1, 12, 10, 9), b.w(12, 12, 1, 1))
    y = b.op("Conv", x, b.w(12, 12, 3, 3), b.w(12), pads=[1, 1, 1, 1])
    return b.op("Relu", b.op("Add", y, x))


def _followed_by(op, **attributes):
    return lambda b: b.op(op, _conv((1, 6, 8, 8), 20)(b), **attributes)


def _prelu(b: Net) -> str:
    return b.op("PRelu", _conv((1, 9, 8, 11), 8)(b), b.w(8, 1, 1))


CASES = {
    "whole tiles and vectors": _conv((1, 16, 8, 8), 16),
    "odd sizes and channels": _conv((1, 7, 13, 11), 19),
    "no pads, no bias": _conv((2, 5, 10, 10), 6, pads=(0, 0, 0, 0), bias=False),
    "wide and uneven pads": _conv((1, 36, 7, 6), 40, pads=(2, 0, 1, 2)),
    "two values": _conv((1, 1, 1, 2), 1),
    "tiles share the last vector": _conv((2, 9, 12, 13), 12),
    "tiles share a vector behind whole ones": _conv((1, 7, 9, 13), 26),
    "residual": _residual,
    "hard swish": _followed_by("HardSwish"),
    "prelu": _prelu,
}


def _plan(target, channels, out, outputs, steps):
    """With `steps` at a time, whether they divide the channels or not."""
    made = plan(target, channels, out, outputs)
    return replace(made, tile=replace(made.tile, unroll=steps or made.tile.unroll))


def _answers(outputs: int, threads: int, as_on_arm: bool) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    model, target = bundled(CASES), replace(parse_target("host"), threads=threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(candidates, "winograd_or_direct", lambda *where: _plan(*where, outputs, 4 if as_on_arm else None))
        if as_on_arm:
            patch.setattr(convolutions, "habits", lambda target: habits(parse_target("arm")) | {"fenced": False})
        program = written(model, target)
    assert sum(calls for (spec, _), calls in program.calls.items() if spec.family == "winograd") == len(CASES)
    ours, theirs = answers_of_program(program, model)
    return {name: (ours[f"case{i}"], theirs[f"case{i}"]) for i, name in enumerate(CASES)}


@pytest.fixture(scope="module", params=((4, 1, True), (2, 2, False)), ids=lambda p: f"{p[0]}x{p[0]} on {p[1]}")
def results(request):
    return _answers(*request.param)


@pytest.mark.parametrize("name", CASES)
def test_the_library_computes_what_onnx_runtime_computes(results, name):
    assert error(*results[name]) < TOLERANCE / 20


@pytest.mark.parametrize("name", ("x86-64:x86-64-v3", "x86-64:x86-64-v4"))
def test_two_tiles_share_the_last_vector_where_half_of_it_is_empty_and_the_sums_stay_in_registers(name):
    target = parse_target(name)
    for channels in range(1, 70):
        tile = strip_remainder(target, 49, channels, 4)
        if tile is None:
            assert channels <= 4 or channels > 20 or channels % 8 not in (1, 2, 3, 4)
            continue
        assert (channels - 1) % 8 < 4 and tile.rows % 2 == 0 and tile.block - channels < 8
        assert tile.rows * tile.vectors - tile.rows // 2 <= target.core.vector_registers * 0.7


def test_no_tiles_share_vectors_on_arm():
    assert all(strip_remainder(parse_target("arm"), 49, channels, 4) is None for channels in range(1, 70))


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_packed_weights_of_a_centred_kernel_pass_each_channel_through(outputs):
    """The kernel that copies its input has at point (i, j) the product of the middle column of both transforms."""
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[0, 0, 1, 1] = 1
    packed = pointed(blocked(weight, MatrixTile(1, 1, 1, 1)), outputs).reshape(outputs + 2, outputs + 2)
    assert np.linalg.matrix_rank(packed) == 1 and np.array_equal(packed, packed.T)
    assert not packed[[0, -1]].any()  # the first and last points do not see the middle


def test_packed_channels_that_two_tiles_share_stand_twice():
    weight = np.random.default_rng(0).standard_normal((10, 3, 3, 3)).astype(np.float32)
    packed = pointed(blocked(weight, NarrowingTile(8, 2, 6, 1)), 4)
    assert packed.shape == (1, 36, 3, 16)
    assert np.array_equal(packed[..., 8:10], packed[..., 12:14]) and not packed[..., 10:12].any()


@settings(max_examples=60, deadline=None)
@given(target=st.sampled_from(known_targets()), channels=SIZES, out=st.tuples(st.just(1), SIZES, SIZES, SIZES))
def test_strips_divide_the_rows_of_tiles(target, channels, out):
    for outputs in OUTPUTS:
        made = plan(target, channels, out, outputs)
        assert -(-out[2] // outputs) % made.strip == 0
        assert made.tile.rows <= made.strip * -(-out[3] // outputs)


@pytest.mark.parametrize("target", ("x86-64:x86-64-v4", "x86-64:x86-64-v3", "arm", "arm:cortex-a53", "armv7"))
def test_the_layers_of_a_residual_network_are_tiled_by_four(target):
    for channels, size in ((16, 32), (32, 16)):
        assert winograd_or_direct(parse_target(target), channels, (1, channels, size, size)).outputs == 4


def test_a_result_smaller_than_a_tile_is_computed_directly():
    assert winograd_or_direct(parse_target("arm"), 64, (1, 64, 1, 1)) is None


def test_weights_far_beyond_the_caches_are_blown_up_less():
    target = parse_target("x86-64:x86-64-v4")
    assert [winograd_or_direct(target, n, (1, n, size, size)).outputs for n, size in ((64, 16), (512, 7))] == [4, 2]
