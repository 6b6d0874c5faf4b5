"""BatchNormalization put back leaves the function as it is, carries the data's statistics, and folds away again."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.errors import DataError, UsageError
from pfir.frontends import load
from pfir.passes.base import Change, Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.batch_norm.restore import EPSILON, RestoreBatchNorm
from pfir.passes.simplification.simplify import Simplify
from tests.support.models import REAL, shared_model
from tests.support.net import feeds, parsed, random
from tests.support.runs import assert_same, ops, run

BODY = """net (float[N,3,6,6] x) => (float[N,5] y) {
    a = Conv<pads = [1,1,1,1]>(x, w, bias)
    r = Relu(a)
    d = Conv<group = 4>(r, depthwise)
    g = GlobalAveragePool(d)
    f = Flatten(g)
    h = Gemm(f, inner, innerbias)
    y = Gemm(h, head)
}"""


def net():
    return parsed(
        BODY,
        w=random(4, 3, 3, 3),
        bias=random(4),
        depthwise=random(4, 1, 3, 3),
        inner=random(4, 6),
        innerbias=random(6),
        head=random(6, 5),
    )


def context(*batches):
    """Calibration data of one seeded batch a number."""

    def activations(model, names):
        for seed in batches:
            values = run(model, feeds(model, seed, dynamic=8), tuple(names))
            yield dict(zip(names, values, strict=True))

    return Context(activations=activations)


def restored(model, where=None):
    after = model.clone()
    return after, RestoreBatchNorm().apply(after, where or context(0, 1))


def test_every_layer_but_the_head_gets_a_batch_norm():
    after, change = restored(net())
    assert ops(after).count("BatchNormalization") == 3
    assert change == Change(True, ("restored: 3",))
    assert_same(net(), after, 1e-4)


def test_the_statistics_are_those_of_the_layer_without_its_bias():
    model = net()
    after, _ = restored(model)
    norm = next(n for n in after.nodes() if n.op == "BatchNormalization")
    x = np.concatenate([feeds(model, seed, dynamic=8)["x"] for seed in (0, 1)])
    (plain,) = run(after, {"x": x}, (norm.inputs[0].name,))
    scale, shift, mean, variance = (t.values for t in norm.inputs[1:])
    np.testing.assert_allclose(mean, plain.mean(axis=(0, 2, 3)), atol=1e-5)
    np.testing.assert_allclose(variance, plain.var(axis=(0, 2, 3)), rtol=1e-4)
    norms = np.linalg.norm(model.initializers()["w"].values.reshape(4, -1), axis=1)
    np.testing.assert_allclose(scale, norms * np.sqrt(variance + EPSILON), rtol=1e-5)
    np.testing.assert_allclose(shift, norms * mean + model.initializers()["bias"].values, atol=1e-5)


def test_the_weights_behind_each_channel_have_unit_norm():
    after, _ = restored(net())
    weights = {n.op + n.name: n.inputs[1].values for n in after.nodes() if n.op in ("Conv", "Gemm")}
    norms = [np.linalg.norm(w.reshape(len(w), -1) if w.ndim == 4 else w.T, axis=1) for w in weights.values()]
    assert sum(bool(np.allclose(n, 1, atol=1e-6)) for n in norms) == 3  # all but the head's


def test_a_channel_without_weights_stays_as_it_is():
    model = net()
    model.set_arrays({"w": np.concatenate([np.zeros((1, 3, 3, 3)), random(3, 3, 3, 3)]).astype(np.float32)})
    after, _ = restored(model)
    assert not after.initializers()["w"].values[0].any()
    assert_same(model, after, 1e-4)


@pytest.mark.parametrize("groups", [1, 2])
def test_unit_norms_of_transposed_convolutions_are_those_of_their_outputs(groups):
    body = f"""net (float[N,4,6,6] x) => (float[N,2] y) {{
        a = ConvTranspose<group = {groups}>(x, w)
        g = GlobalAveragePool(a)
        f = Flatten(g)
        y = Gemm(f, head)
    }}"""
    model = parsed(body, w=random(4, 6 // groups, 3, 3), head=random(6, 2))
    after, _ = restored(model)
    scaled = after.initializers()["w"].values.reshape(groups, 4 // groups, 6 // groups, 9)
    np.testing.assert_allclose(np.square(scaled).sum(axis=(1, 3)), 1, rtol=1e-5)
    assert_same(model, after, 1e-4)


def test_folding_gives_back_the_model():
    model = net()
    after, _ = restored(model)
    FoldBatchNorm().apply(after, Context())
    assert ops(after) == ops(model)
    assert_same(model, after, 1e-5)
    for node, original in zip(after.nodes(), model.nodes(), strict=True):
        for ours, theirs in zip(node.inputs[1:2], original.inputs[1:2], strict=False):
            np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-5, atol=1e-6)


def test_a_channel_that_never_varies_keeps_the_function_and_gets_a_usable_variance():
    model = net()
    weight = model.initializers()["w"].values.copy()
    weight[0] = 0
    model.set_arrays({"w": weight})
    after, _ = restored(model)
    norm = next(n for n in after.nodes() if n.op == "BatchNormalization")
    assert norm.inputs[4].values[0] > 0
    assert_same(model, after, 1e-4)


def test_a_layer_that_has_a_batch_norm_is_left_alone():
    after, _ = restored(net())
    again, change = restored(after)
    assert change == Change(False)
    assert ops(again) == ops(after)


def test_without_calibration_data_it_says_so():
    with pytest.raises(UsageError, match="restore-batch-norm needs calibration data"):
        RestoreBatchNorm().apply(net(), Context())


def test_empty_calibration_data_is_refused():
    with pytest.raises(DataError, match="holds no sample"):
        restored(net(), context())


def test_activations_that_are_not_finite_are_refused():
    model = net()
    model.set_arrays({"bias": np.array([np.nan, 0, 0, 0], np.float32)})
    with pytest.raises(DataError, match="tensor a is not finite"):
        restored(model)


@pytest.mark.parametrize("name", REAL)
def test_real_models_stay_equal(name):
    model = load(shared_model(name))
    Simplify().apply(model, Context())
    after, change = restored(model, context(3))
    assert change.changed
    assert_same(model, after, 1e-4)
