"""The loss of matching is the distance of a batch's statistics from those that the layers hold."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.ir.shapes import fix_sizes
from pfir.passes.batch_norm.match_statistics import ADDED, matched_norms, matching_graph
from pfir.run.session import Session
from tests.support.jobs import images, small_net
from tests.support.net import Net
from tests.support.small_nets import after_conv


@pytest.mark.parametrize("opset", [13, 18])
def test_the_loss_measures_means_and_deviations_in_deviations(opset):
    net = Net(0, opset=opset)
    x = net.norm(net.input("N", 3, 4, 4), 3)
    model = net.model((net.relu(x),))
    (norm,) = matched_norms(model)
    mean, variance = norm.statistics
    given = images(6)[:, :, :4, :4]
    graph = matching_graph(model, 6)
    (loss,) = Session(graph.model).predict({"in0": given}).values()
    m, s = given.mean((0, 2, 3)), given.std((0, 2, 3))
    expected = (((m - mean) ** 2 + (s - np.sqrt(variance)) ** 2) / variance).mean()
    np.testing.assert_allclose(loss, expected, rtol=1e-3)
    assert graph.trainable == (ADDED,) and graph.model.initializers()[ADDED].values.shape == given.shape


def test_the_model_is_left_alone_and_only_what_leads_to_its_layers_is_kept():
    model = small_net()
    before = model.to_bytes()
    graph = matching_graph(model, 4)
    assert model.to_bytes() == before and len(matched_norms(fix_sizes(model))) == 2
    assert not any(n.op == "Gemm" for n in graph.model.nodes())


def test_a_model_without_statistics_is_refused():
    with pytest.raises(UsageError, match="reaches a BatchNormalization"):
        matching_graph(after_conv("Relu"), 4)
