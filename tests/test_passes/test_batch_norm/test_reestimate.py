"""Statistics of BatchNormalization taken anew: those of the data as it now flows, layer behind layer."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest

from pfir.errors import DataError, UsageError
from pfir.passes.base import Change, Context
from pfir.passes.batch_norm.channel_statistics import SMALLEST_SHARE
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.batch_norm.reestimate import ReestimateBatchNorm
from pfir.passes.pruning.prune_channels import PruneChannels
from tests.support.net import feeds, parsed, random
from tests.support.runs import assert_same, ops, run
from tests.test_passes.test_batch_norm.test_restore import context

BODY = """net (float[N,3,6,6] x) => (float[N,5] y) {
    a = Conv<pads = [1,1,1,1]>(x, w1)
    m = BatchNormalization(a, s1, b1, mean1, var1)
    r = Relu(m)
    c = Conv<pads = [1,1,1,1]>(r, w2)
    n = BatchNormalization(c, s2, b2, mean2, var2)
    t = Add(n, r)
    g = GlobalAveragePool(t)
    f = Flatten(g)
    h = BatchNormalization(f, s3, b3, mean2, var2)
    y = Gemm(h, head)
}"""


def net(body=BODY):
    return parsed(
        body,
        15,
        w1=random(6, 3, 3, 3),
        w2=random(6, 6, 3, 3),
        s1=random(6),
        b1=random(6),
        s2=random(6),
        b2=random(6),
        s3=random(6),
        b3=random(6),
        mean1=random(6),
        var1=random(6) ** 2 + 0.1,
        mean2=random(6),
        var2=random(6) ** 2 + 0.1,
        head=random(6, 5),
    )


def renewed(model, where=None):
    after = model.clone()
    return after, ReestimateBatchNorm().apply(after, where or context(0, 1))


def norms(model):
    return [n for n in model.nodes() if n.op == "BatchNormalization"]


def test_each_layer_has_the_statistics_of_what_reaches_it():
    model = net()
    after, change = renewed(model)
    assert change == Change(True, ("estimated anew: 3",))
    x = np.concatenate([feeds(model, seed, dynamic=8)["x"] for seed in (0, 1)])
    for norm in norms(after):
        (read,) = run(after, {"x": x}, (norm.inputs[0].name,))
        rest = tuple(i for i in range(read.ndim) if i != 1)
        np.testing.assert_allclose(norm.inputs[3].values, read.mean(rest), atol=1e-5)
        np.testing.assert_allclose(norm.inputs[4].values, read.var(rest), rtol=1e-4)


def test_the_result_is_what_one_batch_of_all_samples_gives_in_training_mode():
    model = net()
    after, _ = renewed(model, context(3))
    training = model.clone()
    for norm in norms(training):
        norm.attrs["training_mode"] = 1
        norm.outputs += [gs.Variable(f"{norm.name}_{k}", np.float32) for k in ("mean", "variance")]
    given = feeds(model, 3, dynamic=8)
    np.testing.assert_allclose(run(after, given)[0], run(training, given)[0], rtol=1e-3, atol=1e-4)


def test_a_second_time_changes_nothing_but_rounding():
    once, _ = renewed(net())
    twice, _ = renewed(once)
    assert_same(once, twice, 1e-5)


def test_scale_and_bias_and_what_is_shared_with_others_stay():
    model = net()
    after, _ = renewed(model)
    assert len({t.name for norm in norms(after) for t in norm.inputs[3:]}) == 6
    for ours, theirs in zip(norms(after), norms(model), strict=True):
        for index in (1, 2):
            np.testing.assert_array_equal(ours.inputs[index].values, theirs.inputs[index].values)


def test_a_pruned_net_comes_back_to_the_means_that_it_was_trained_for():
    model, _ = renewed(net())
    pruned = model.clone()
    PruneChannels(ratio=0.5).apply(pruned, Context())
    again, _ = renewed(pruned)
    x = np.concatenate([feeds(model, seed, dynamic=8)["x"] for seed in (0, 1)])
    for norm in norms(again):
        (made,) = run(again, {"x": x}, (norm.outputs[0].name,))
        rest = tuple(i for i in range(made.ndim) if i != 1)
        np.testing.assert_allclose(made.mean(rest), norm.inputs[2].values, atol=1e-4)


def test_a_channel_that_never_varies_gets_a_usable_variance():
    model = net()
    weight = model.initializers()["w1"].values.copy()
    weight[0] = 0
    model.set_arrays({"w1": weight})
    after, _ = renewed(model)
    variance = norms(after)[0].inputs[4].values
    assert variance[0] == pytest.approx(SMALLEST_SHARE * variance[1:].sum() / 6, rel=1e-4)


def test_layers_whose_statistics_cannot_be_estimated_stay():
    model = net(BODY.replace("h = BatchNormalization(f", "h, u, v = BatchNormalization<training_mode = 1>(f"))
    after, change = renewed(model)
    assert change == Change(True, ("estimated anew: 2",))
    assert norms(after)[2].inputs[3].values is norms(model)[2].inputs[3].values


def test_a_model_without_batch_norm_stays_as_it_is():
    model = net()
    FoldBatchNorm().apply(model, Context())
    assert "BatchNormalization" not in ops(model)
    assert renewed(model)[1] == Change(False)


def test_without_calibration_data_it_says_so():
    with pytest.raises(UsageError, match="reestimate-batch-norm needs calibration data"):
        ReestimateBatchNorm().apply(net(), Context())


def test_empty_calibration_data_is_refused():
    with pytest.raises(DataError, match="holds no sample"):
        renewed(net(), context())
