"""Simplify never changes function or interface, and finds what it says."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.frontends import load
from pfir.ir.coupling.channels import channel_groups
from pfir.passes.base import Change, Context
from pfir.passes.simplification.remove_no_ops import remove_no_ops
from pfir.passes.simplification.simplify import Simplify
from tests.support.models import REAL, shared_model
from tests.support.net import feeds, parsed, random
from tests.support.runs import assert_same, ops, run
from tests.support.structures import FAMILIES, build


def simplified(model):
    after = model.clone()
    change = Simplify().apply(after, Context())
    return after, change


@pytest.mark.parametrize("name", REAL)
def test_real_models_stay_equal(name):
    model = load(shared_model(name))
    after, _ = simplified(model)
    assert_same(model, after)
    assert Simplify().apply(after, Context()) == Change(False)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_structure_stays_equal(family):
    model = build(family, 3)
    after, _ = simplified(model)
    assert (after.inputs(), after.outputs()) == (model.inputs(), model.outputs())
    tolerance = 3e-2 if any("float16" in t.dtype for t in model.inputs()) else 2e-5
    for expected, got in zip(run(model, feeds(model)), run(after, feeds(model)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=tolerance, atol=tolerance)
    assert Simplify().apply(after, Context()) == Change(False)


def test_resnet_shortcuts_lose_their_shape_arithmetic():
    after, _ = simplified(load(shared_model("resnet20_cifar10_fp32.onnx")))
    assert not {"Constant", "Shape", "Gather", "ConstantOfShape", "Cast", "Transpose"} & set(ops(after))
    assert after.inputs()[0].shape == ("N", 3, 32, 32)


def test_a_model_with_nothing_to_do_is_left_alone():
    model = parsed("net (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    assert simplified(model)[1] == Change(False)


@pytest.mark.parametrize(
    "node",
    [
        "b = Identity(a)",
        "b = Dropout(a)",
        "b = Cast<to = 1>(a)",
        "b = Transpose<perm = [0,1,2,3]>(a)",
        "b = Concat<axis = 1>(a)",
        "b = Reshape(a, same)",
        "b = Pad(a, nopad)",
        "b = Slice(a, zeros, ends)",
        "b = Tile(a, ones)",
        "b = Add(a, nought)",
        "b = Mul(one, a)",
        "b = Div(a, one)",
        "b = Max(a)",
    ],
)
def test_nodes_that_do_nothing_go(node):
    arrays = {
        "same": np.array([0, -1, 4, 4]),
        "nopad": np.zeros(8, np.int64),
        "zeros": np.zeros(2, np.int64),
        "ends": np.array([2**31, 2**62]),
        "ones": np.ones(4, np.int64),
        "nought": np.zeros((1, 3, 1, 1), np.float32),
        "one": np.float32(1),
    }
    used = {k: v for k, v in arrays.items() if k in node}
    model = parsed(f"net (float[N,3,4,4] x) => (float[N,3,4,4] y) {{ a = Relu(x) {node} y = Sigmoid(b) }}", **used)
    after, change = simplified(model)
    assert ops(after) == ["Relu", "Sigmoid"]
    assert change.changed
    assert_same(model, after)


@pytest.mark.parametrize(
    "node",
    [
        "b = Reshape(a, other)",
        "b = Slice(a, zeros, ends)",
        "b = Add(a, wide)",
        "b = Dropout(a, half, yes)",
        "b = Transpose<perm = [0,1,3,2]>(a)",
    ],
)
def test_nodes_that_do_something_stay(node):
    arrays = {
        "other": np.array([0, 4, 3, 4]),
        "zeros": np.zeros(2, np.int64),
        "ends": np.array([2**31, 2]),
        "wide": np.zeros((2, 1, 1, 1, 1), np.float32),
        "half": np.float32(0.5),
        "yes": np.array(True),
    }
    used = {k: v for k, v in arrays.items() if k in node}
    model = parsed(f"net (float[N,3,4,4] x) => (float y) {{ a = Relu(x) {node} y = ReduceSum<keepdims=0>(b) }}", **used)
    assert len(ops(simplified(model)[0])) == 3


def test_an_identity_between_input_and_output_stays():
    model = parsed("net (float[N,3] x) => (float[N,3] y) { y = Identity(x) }")
    after, change = simplified(model)
    assert ops(after) == ["Identity"]
    assert not change.changed


def test_an_identity_that_makes_an_output_keeps_the_output_name():
    model = parsed("net (float[N,3] x) => (float[N,3] y) { a = Relu(x) y = Identity(a) }")
    after, _ = simplified(model)
    assert ops(after) == ["Relu"]
    assert_same(model, after)


def test_vectors_shared_through_identity_become_their_own_and_matrices_stay_shared():
    body = """net (float[N,3] x) => (float[N,3] y) {
        b = Identity(bias)
        w = Identity(weight)
        a = Gemm(x, weight, bias)
        y = Gemm(a, w, b)
    }"""
    model = parsed(body, weight=random(3, 3), bias=random(3, seed=1))
    after, _ = simplified(model)
    first, second = after.nodes()
    assert first.inputs[1] is second.inputs[1]
    assert first.inputs[2] is not second.inputs[2]
    assert_same(model, after)


def test_a_flatten_by_shape_arithmetic_becomes_one_reshape_that_keeps_the_batch():
    body = """net (float[N,3,4,4] x) => (float[N,M] y) {
        sizes = Shape(x)
        first = Gather<axis = 0>(sizes, zero)
        batch = Unsqueeze(first, axes)
        target = Concat<axis = 0>(batch, rest)
        y = Reshape(x, target)
    }"""
    model = parsed(body, zero=np.int64(0), axes=np.array([0]), rest=np.array([-1]))
    after, _ = simplified(model)
    assert ops(after) == ["Reshape"]
    for batch in (1, 5):
        assert_same(model, after, dynamic=batch)


def test_two_unknown_sizes_stay_computed():
    body = """net (float[N,T,4] x, float[A,B] z) => (float[P,Q,R] y) {
        sizes = Shape(z)
        target = Concat<axis = 0>(sizes, rest)
        y = Reshape(x, target)
    }"""
    after, _ = simplified(parsed(body, rest=np.array([-1])))
    assert ops(after) == ["Shape", "Concat", "Reshape"]


def test_a_huge_expansion_is_not_folded():
    body = "net (float[1] x) => (float[4000,4000] y) { c = Expand(v, shape) y = Add(c, x) }"
    after, _ = simplified(parsed(body, v=random(1), shape=np.array([4000, 4000])))
    assert ops(after) == ["Expand", "Add"]


def test_random_nodes_are_not_folded():
    body = "net (float[2,2] x) => (float[2,2] y) { r = RandomNormal<shape = [2,2]>() y = Add(r, x) }"
    assert ops(simplified(parsed(body))[0]) == ["RandomNormal", "Add"]


def test_quantized_weights_stay_quantized():
    body = "net (float[2,3] x) => (float[2,3] y) { w = DequantizeLinear(q, s, z) y = MatMul(x, w) }"
    model = parsed(body, q=np.ones((3, 3), np.int8), s=np.float32(0.1), z=np.int8(0))
    assert ops(simplified(model)[0]) == ["DequantizeLinear", "MatMul"]


def test_a_reshape_of_a_reshape_is_one():
    body = "net (float[2,3,4] x) => (float[4,6] y) { a = Reshape(x, s) y = Reshape(a, t) }"
    model = parsed(body, s=np.array([6, 4]), t=np.array([4, 6]))
    after, _ = simplified(model)
    assert ops(after) == ["Reshape"]
    assert_same(model, after)


def test_a_matrix_product_and_its_bias_become_a_gemm():
    body = "net (float[N,4] x) => (float[N,3] y) { a = MatMul(x, w) y = Add(b, a) }"
    model = parsed(body, w=random(4, 3), b=random(3))
    after, _ = simplified(model)
    assert ops(after) == ["Gemm"]
    assert_same(model, after)


@pytest.mark.parametrize(
    ("reader", "before", "value", "merged"),
    [
        ("Conv<pads = [0,1,0,1]>(p, w)", "Tanh", 0.0, True),
        ("Conv(p, w)", "Tanh", 1.0, False),
        ('Conv<auto_pad = "SAME_UPPER">(p, w)', "Tanh", 0.0, False),
        ("AveragePool<kernel_shape = [3,3]>(p)", "Tanh", 0.0, True),
        ("AveragePool<kernel_shape = [3,3], pads = [1,1,1,1]>(p)", "Tanh", 0.0, False),
        ("AveragePool<kernel_shape = [3,3], strides = [2,2], ceil_mode = 1>(p)", "Tanh", 0.0, False),
        ("MaxPool<kernel_shape = [3,3], strides = [2,2]>(p)", "Relu", 0.0, True),
        ("MaxPool<kernel_shape = [3,3], strides = [2,2]>(p)", "Tanh", 0.0, False),
        ("MaxPool<kernel_shape = [3,3]>(p)", "Tanh", -np.inf, True),
        ("MaxPool<kernel_shape = [2,2], pads = [1,1,1,1]>(p)", "Relu", 0.0, False),
    ],
)
def test_a_pad_is_merged_where_that_is_exact(reader, before, value, merged):
    weight = {"w": random(2, 3, 3, 3)} if "Conv" in reader else {}
    body = f"net (float[1,3,7,7] x) => (float[1,C,H,W] y) {{ a = {before}(x) p = Pad(a, pads, v) y = {reader} }}"
    model = parsed(body, pads=np.array([0, 0, 1, 2, 0, 0, 0, 1]), v=np.float32(value), **weight)
    after, _ = simplified(model)
    assert ("Pad" not in ops(after)) == merged
    assert_same(model, after)


def test_a_pad_over_channels_is_not_merged():
    body = "net (float[1,3,7,7] x) => (float[1,2,5,5] y) { p = Pad(x, pads) y = Conv(p, w) }"
    model = parsed(body, pads=np.array([0, 0, 0, 0, 0, 1, 0, 0]), w=random(2, 4, 3, 3))
    assert ops(simplified(model)[0]) == ["Pad", "Conv"]


def test_what_a_branch_takes_from_outside_survives():
    body = """net (bool c, float[2] x) => (float[2] y) {
        a = Identity(x)
        d = Relu(a)
        unused = Neg(x)
        y = If(c)<
            then_branch = yes () => (float[2] t) { t = Neg(d) },
            else_branch = no () => (float[2] e) { e = Identity(a) }
        >
    }"""
    model = parsed(body)
    after, change = simplified(model)
    assert ops(after) in (["Relu", "If"], ["Identity", "Relu", "If"])
    assert change.changed
    feeds_yes = {"c": np.array(True), "x": random(2)}
    for feed in (feeds_yes, {**feeds_yes, "c": np.array(False)}):
        np.testing.assert_array_equal(run(model, feed)[0], run(after, feed)[0])


def test_what_joins_nothing_goes():
    text = "net (float[N,8,4] x) => (float[N,8,4] y) { r = Relu(x) y = Concat<axis = 1>(none, r) }"
    model = parsed(text, none=np.zeros((1, 0, 4), np.float32))
    after, _ = simplified(model)
    assert ops(after) == ["Relu"]
    assert_same(model, after, dynamic=1)


def test_a_reshape_of_an_empty_vector_to_one_that_is_not_stays():
    body = "net (float[6] x) => (float[2] y) { a = Slice(x, one, none, none) y = Reshape(a, two) }"
    model = parsed(body, one=np.array([1]), none=np.array([0]), two=np.array([2]))
    assert "Reshape" in ops(simplified(model)[0])


def test_a_slice_along_an_axis_that_is_not_there_stays():
    x, y = gs.Variable("x", np.float32, [2, 3]), gs.Variable("y", np.float32, [2, 3])
    bounds = [gs.Constant(name, np.array([v], np.int64)) for name, v in (("start", 0), ("end", 9), ("axis", 2))]
    graph = gs.Graph([gs.Node("Slice", "s", inputs=[x, *bounds], outputs=[y])], inputs=[x], outputs=[y])
    assert remove_no_ops(graph) == 0 and len(graph.nodes) == 1


def test_a_concat_of_sizes_that_lacks_an_input_tells_nothing():
    model = parsed("net (float[2,3] x) => (float[n] y) { s = Shape(x) c = Concat<axis = 0>(s, s) y = Reshape(x, c) }")
    next(n for n in model.nodes() if n.op == "Concat").inputs[1] = gs.Variable.empty()
    assert channel_groups(model).free() == ()
