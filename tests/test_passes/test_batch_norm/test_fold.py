"""Folding keeps the function, folds all that it can, and says why the rest stays."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.passes.base import Change, Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.simplification.simplify import Simplify
from tests.support.net import feeds, parsed, random
from tests.support.runs import assert_same, ops, run
from tests.support.structures import FAMILIES, build

BN = "BatchNormalization<epsilon = 0.001>({}, s, b, m, v)"


def statistics(channels: int) -> dict[str, np.ndarray]:
    positive = np.abs(random(channels, seed=4)) + 0.1
    return {"s": random(channels, seed=1), "b": random(channels, seed=2), "m": random(channels, seed=3), "v": positive}


def folded(model):
    after = model.clone()
    return after, FoldBatchNorm().apply(after, Context())


def net(body: str, channels: int = 4, inputs: str = "float[N,3,5,5] x", **arrays):
    return parsed(f"net ({inputs}) => (float[N,A,B,C] y) {{ {body} }}", **statistics(channels), **arrays)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_structure_stays_equal(family):
    model = build(family, 4)
    after, _ = folded(model)
    tolerance = 3e-2 if any("float16" in t.dtype for t in model.inputs()) else 5e-5
    for expected, got in zip(run(model, feeds(model)), run(after, feeds(model)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("body", "arrays"),
    [
        (f"c = Conv(x, w) y = {BN.format('c')}", {"w": random(4, 3, 3, 3)}),
        (f"c = Conv<pads = [1,1,1,1]>(x, w, bias) y = {BN.format('c')}", {"w": random(4, 3, 3, 3), "bias": random(4)}),
        (f"c = Conv<group = 2>(h, w) y = {BN.format('c')}", {"w": random(4, 2, 3, 3)}),
        (f"c = ConvTranspose<group = 2>(h, w) y = {BN.format('c')}", {"w": random(4, 2, 3, 3)}),
        (f"c = ConvTranspose(x, w, bias) y = {BN.format('c')}", {"w": random(3, 4, 2, 2), "bias": random(4)}),
    ],
)
def test_a_batch_norm_behind_a_convolution_is_folded(body, arrays):
    inputs = "float[N,4,5,5] h" if "(h," in body else "float[N,3,5,5] x"
    model = net(body, inputs=inputs, **arrays)
    after, change = folded(model)
    assert len(ops(after)) == 1
    assert change == Change(True, ("folded: 1",))
    assert_same(model, after)


@pytest.mark.parametrize(
    ("dense", "arrays"),
    [
        ("Gemm(x, w, bias)", {"w": random(6, 4), "bias": random(4)}),
        ("Gemm<transB = 1, alpha = 0.5, beta = 2.0>(x, w, bias)", {"w": random(4, 6), "bias": random(1, 4)}),
        ("Gemm<transB = 1>(x, w)", {"w": random(4, 6)}),
        ("MatMul(x, w)", {"w": random(6, 4)}),
    ],
)
def test_a_batch_norm_behind_a_dense_layer_is_folded(dense, arrays):
    body = f"net (float[N,6] x) => (float[N,4] y) {{ d = {dense} y = {BN.format('d')} }}"
    model = parsed(body, **statistics(4), **arrays)
    after, _ = folded(model)
    assert ops(after) == ["Gemm"]
    assert_same(model, after)


@pytest.mark.parametrize(
    "node",
    [
        "y = Mul(c, k)",
        "y = Add(k, c)",
        "y = Sub(c, k)",
        "y = Sub(k, c)",
        "y = Div(c, k)",
        "y = Mul(c, one)",
        "t = Mul(c, k) u = Add(t, k) y = BatchNormalization(u, s, b, m, v)",
    ],
)
def test_arithmetic_with_channel_constants_is_folded(node):
    arrays = {"k": random(4, 1, 1) + 3, "one": np.full((1, 1, 1, 1), 2.5, np.float32)}
    arrays = {k: v for k, v in arrays.items() if f" {k})" in node or f"({k}" in node}
    model = parsed(
        f"net (float[N,3,5,5] x) => (float[N,4,3,3] y) {{ c = Conv(x, w) {node} }}",
        w=random(4, 3, 3, 3),
        **arrays,
        **(statistics(4) if "Batch" in node else {}),
    )
    after, _ = folded(model)
    assert ops(after) == ["Conv"]
    assert_same(model, after)


@pytest.mark.parametrize("constant", [random(4, 3, 3), random(2, 4, 1, 1), random(3)])
def test_constants_that_vary_elsewhere_stay(constant):
    model = parsed(
        "net (float[2,3,5,5] x) => (float[A,B,C,D] y) { c = Conv(x, w) y = Mul(c, k) }",
        w=random(4, 3, 3, 3),
        k=constant,
    )
    assert folded(model)[1] == Change(False)


def test_a_batch_norm_in_front_is_folded_where_nothing_is_padded():
    model = net(f"n = {BN.format('x')} y = Conv<group = 1>(n, w, bias)", 3, w=random(4, 3, 3, 3), bias=random(4))
    after, _ = folded(model)
    assert ops(after) == ["Conv"]
    assert_same(model, after)


def test_a_batch_norm_in_front_of_groups_is_folded():
    model = net(f"n = {BN.format('x')} y = Conv<group = 2>(n, w)", 4, "float[N,4,5,5] x", w=random(6, 2, 3, 3))
    after, _ = folded(model)
    assert ops(after) == ["Conv"]
    assert_same(model, after)


@pytest.mark.parametrize("dense", ["Gemm<transB = 1, alpha = 0.5>(n, w, bias)", "Gemm(n, u, bias)"])
def test_a_batch_norm_in_front_of_a_dense_layer_is_folded(dense):
    arrays = {"w": random(4, 6)} if "w," in dense else {"u": random(6, 4)}
    body = f"net (float[N,6] x) => (float[N,4] y) {{ n = {BN.format('x')} y = {dense} }}"
    model = parsed(body, **statistics(6), **arrays, bias=random(4))
    after, _ = folded(model)
    assert ops(after) == ["Gemm"]
    assert_same(model, after)


@pytest.mark.parametrize(
    ("body", "channels", "reason"),
    [
        (f"n = {BN.format('x')} y = Conv<pads = [1,1,1,1]>(n, w)", 3, "it reads a graph input"),
        (f"r = Relu(x) n = {BN.format('r')} y = Tanh(n)", 3, "it follows Relu"),
        (f"c = Conv(x, w) n = {BN.format('c')} r = Relu(c) y = Add(n, r)", 4, "is read elsewhere too"),
        (f"k = Relu(w) c = Conv(x, k) y = {BN.format('c')}", 4, "are not constant"),
    ],
)
def test_what_cannot_be_folded_stays_with_a_reason(body, channels, reason):
    arrays = {"w": random(4, 3, 3, 3)} if "w)" in body else {}
    model = net(body, channels, **arrays)
    after, change = folded(model)
    assert "BatchNormalization" in ops(after)
    assert not change.changed
    assert any(reason in note for note in change.notes)


def test_a_batch_norm_in_training_mode_stays():
    body = "c = Conv(x, w) y, rm, rv = BatchNormalization<training_mode = 1>(c, s, b, m, v)"
    model = parsed(
        f"net (float[N,3,5,5] x) => (float[N,4,3,3] y) {{ {body} }}", 15, w=random(4, 3, 3, 3), **statistics(4)
    )
    assert "it is in training mode" in folded(model)[1].notes[0]


def test_a_negative_variance_stays():
    model = net(f"c = Conv(x, w) y = {BN.format('c')}", w=random(4, 3, 3, 3))
    model.set_arrays({"v": -np.ones(4, np.float32)})
    assert not folded(model)[1].changed


def test_weights_that_another_node_shares_are_left_alone():
    body = f"c = Conv(x, w) n = {BN.format('c')} d = Conv(x, w) y = Add(n, d)"
    model = net(body, w=random(4, 3, 3, 3))
    after, _ = folded(model)
    assert ops(after) == ["Conv", "Conv", "Add"]
    assert_same(model, after)


def test_the_given_model_keeps_its_arrays():
    model = net(f"c = Conv(x, w) y = {BN.format('c')}", w=random(4, 3, 3, 3))
    before = {n: t.values.copy() for n, t in model.initializers().items()}
    folded(model)
    for name, values in before.items():
        np.testing.assert_array_equal(model.initializers()[name].values, values)


def test_folding_keeps_the_names_of_weights_and_outputs():
    model = net(f"c = Conv(x, w, bias) y = {BN.format('c')}", w=random(4, 3, 3, 3), bias=random(4))
    after, _ = folded(model)
    assert set(after.initializers()) == {"w", "bias"}
    assert after.outputs()[0].name == "y"


def test_a_float16_fold_that_would_overflow_stays():
    model = parsed(
        "net (float16[N,3,5,5] x) => (float16[N,4,3,3] y) { c = Conv(x, w) y = Mul(c, k) }",
        w=np.full((4, 3, 3, 3), 1000, np.float16),
        k=np.full((4, 1, 1), 1000, np.float16),
    )
    assert folded(model)[1] == Change(False)


def test_simplify_then_fold_leaves_no_batch_norm_of_a_tf_net():
    body = f"""c = Conv(x, w) t = Transpose<perm = [0,2,3,1]>(c) k = Mul(t, scale) u = Transpose<perm = [0,3,1,2]>(k)
        y = {BN.format("u")}"""
    model = net(body, w=random(4, 3, 3, 3), scale=random(4))
    after = model.clone()
    Simplify().apply(after, Context())
    FoldBatchNorm().apply(after, Context())
    assert ops(after) == ["Conv"]
    assert_same(model, after)
