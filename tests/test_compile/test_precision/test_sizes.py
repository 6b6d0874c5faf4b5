"""What a goal of size counts is the packed file."""

import pytest

from pfir.compile.precision.sizes import Sizes, sizes_of
from pfir.frontends import load
from pfir.report.weights import Files
from tests.support.jobs import request

WEIGHTS = Sizes(Files(4000, 1200, 1000, graph_bytes=100))
GRAPH = Sizes(Files(4000, 1200, 1000, graph_bytes=700))


@pytest.mark.parametrize("sizes", [WEIGHTS, GRAPH])
def test_the_packed_file_counts_whatever_of_it_is_graph(sizes):
    assert sizes.times == 4.0
    assert sizes.reach(4.0) and not sizes.reach(4.001) and sizes.reach(None)


def test_fewer_weights_leave_the_graph():
    half = WEIGHTS.with_weights(0.5)
    assert half.files.packed_bytes == 550 and half.files.graph_bytes == 100


@pytest.mark.parametrize(("sizes", "size"), [(WEIGHTS, 5.0), (WEIGHTS, 8.0), (WEIGHTS, 30.0), (GRAPH, 5.0)])
def test_the_share_for_a_size_reaches_it(sizes, size):
    share = sizes.share_for(size)
    assert sizes.with_weights(share).times == pytest.approx(size, rel=0.01)
    assert not sizes.with_weights(1.1 * share).reach(1.02 * size)


def test_a_size_that_the_graph_alone_exceeds_leaves_no_weights():
    assert GRAPH.share_for(6.0) == 0.0 and not GRAPH.with_weights(0.0).reach(6.0)


def test_a_model_is_weighed_beside_its_original(model, tmp_path):
    original = load(model)
    sizes = sizes_of(request(model, tmp_path), original)
    assert sizes.files.original_bytes == model.stat().st_size
    assert 0 < sizes.files.graph_bytes < sizes.files.packed_bytes < sizes.files.original_bytes
