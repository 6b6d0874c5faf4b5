"""Transposes cancel without changing outputs, and stay where moving them gains nothing."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.passes.base import Context
from pfir.passes.simplification.simplify import Simplify
from tests.support.net import parsed, random
from tests.support.runs import assert_same, ops

TO_NCHW, TO_NHWC = "Transpose<perm = [0,3,1,2]>", "Transpose<perm = [0,2,3,1]>"


def sandwich(middle: str, **arrays: np.ndarray):
    """A node in NHWC between two convolutions in NCHW, as tf2onnx writes it."""
    body = f"""net (float[N,4,6,6] x) => (float[N,4,H,W] y) {{
        c = Conv(x, w)
        t = {TO_NHWC}(c)
        {middle}
        u = {TO_NCHW}(m)
        y = Conv(u, w)
    }}"""
    return parsed(body, w=random(4, 4, 1, 1), **arrays)


def count(model) -> int:
    return ops(model).count("Transpose")


@pytest.mark.parametrize(
    "middle",
    [
        "m = Relu(t)",
        "m = Clip(t, low, high)",
        "m = Add(t, bias)",
        "m = PRelu(t, slope)",
        "m = Mul(scale, t)",
        "a = Relu(t) b = Sigmoid(t) m = Mul(a, b)",
        "m = Concat<axis = -2>(t, t)",
        "m = Softmax<axis = -1>(t)",
        "m = Pad(t, pads)",
        "m = Slice(t, starts, ends, axes)",
        "r = ReduceMean<axes = [1,2]>(t) m = Mul(t, r)",
    ],
)
def test_a_pair_around_a_node_cancels(middle):
    arrays = {
        "low": np.float32(0),
        "high": np.float32(1),
        "bias": random(4),
        "slope": random(1, 1, 4),
        "scale": random(1, 6, 1, 4),
        "pads": np.array([0, 1, 2, 0, 0, 0, 1, 0]),
        "starts": np.array([1]),
        "ends": np.array([5]),
        "axes": np.array([2]),
    }
    model = sandwich(middle, **{k: v for k, v in arrays.items() if k in middle.replace("Slice", "")})
    after = model.clone()
    assert Simplify().apply(after, Context()).changed
    assert count(after) == 0
    assert_same(model, after)


def test_a_whole_nhwc_net_keeps_only_the_transpose_of_its_input():
    body = f"""net (float[N,6,6,3] x) => (float[N,4] y) {{
        i = {TO_NCHW}(x)
        a = Conv(i, w)
        b = {TO_NHWC}(a)
        c = Relu(b)
        d = {TO_NCHW}(c)
        e = Conv<pads = [1,1,1,1]>(d, v)
        f = {TO_NHWC}(e)
        g = Add(c, f)
        y = ReduceMean<axes = [1,2], keepdims = 0>(g)
    }}"""
    model = parsed(body, w=random(4, 3, 3, 3), v=random(4, 4, 3, 3))
    after = model.clone()
    Simplify().apply(after, Context())
    assert count(after) == 1
    assert_same(model, after)


def test_a_lone_transpose_stays_and_nothing_is_reported():
    model = parsed(
        f"net (float[N,6,6,3] x) => (float[N,4,6,6] y) {{ t = {TO_NCHW}(x) r = Relu(t) y = Conv(r, w) }}",
        w=random(4, 3, 1, 1),
    )
    before = model.to_proto().SerializeToString()
    after = model.clone()
    assert not Simplify().apply(after, Context()).changed
    assert [n.name for n in after.nodes()] == [n.name for n in model.nodes()]
    assert model.to_proto().SerializeToString() == before


def test_transposes_of_different_orders_are_joined():
    body = """net (float[2,3,4,5] x) => (float[a,b,c,d] y) {
        t = Transpose<perm = [1,2,3,0]>(x)
        r = Relu(t)
        y = Transpose<perm = [2,0,1,3]>(r)
    }"""
    model = parsed(body)
    after = model.clone()
    Simplify().apply(after, Context())
    assert count(after) == 1
    assert_same(model, after)


def test_softmax_before_opset_13_is_not_passed():
    model = sandwich("m = Softmax<axis = 3>(t)")
    model.graph.opset = 11
    after = model.clone()
    Simplify().apply(after, Context())
    assert count(after) == 2
    assert_same(model, after)


def test_a_transpose_that_a_graph_output_needs_stays():
    body = f"""net (float[1,4,6,6] x) => (float[1,6,6,4] z, float[1,4,6,6] y) {{
        t = {TO_NHWC}(x)
        z = Relu(t)
        u = {TO_NCHW}(z)
        y = Sigmoid(u)
    }}"""
    model = parsed(body)
    after = model.clone()
    Simplify().apply(after, Context())
    assert_same(model, after)
