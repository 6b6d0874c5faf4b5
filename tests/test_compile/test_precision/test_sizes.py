import pytest

from pfir.compile.precision.sizes import Sizes, sizes_of
from pfir.frontends import load
from pfir.report.weights import Files
from tests.support.jobs import request

LARGE = Sizes(Files(4000, 1200, 1000, graph_bytes=100), before_bytes=3600, after_bytes=600)
SMALL = Sizes(Files(4000, 1200, 1000, graph_bytes=700), before_bytes=3600, after_bytes=600)


def test_the_packed_file_counts_unless_it_is_mostly_graph():
    assert LARGE.times == 4.0 and SMALL.times == 6.0 and SMALL.packed == 4.0
    assert LARGE.reach(4.01) and not LARGE.reach(4.1) and SMALL.reach(6.0) and LARGE.reach(None)


def test_fewer_weights_leave_the_graph():
    half = LARGE.with_weights(0.5)
    assert half.files.packed_bytes == 550 and half.after_bytes == 300 and half.files.graph_bytes == 100


@pytest.mark.parametrize("sizes", [LARGE, SMALL])
@pytest.mark.parametrize("size", [5.0, 8.0, 30.0])
def test_the_share_for_a_size_reaches_it(sizes, size):
    share = sizes.share_for(size)
    assert sizes.with_weights(share).reach(size) and not sizes.with_weights(1.1 * share).reach(1.05 * size)


def test_a_model_is_weighed_beside_its_original(model, tmp_path):
    original = load(model)
    sizes = sizes_of(request(model, tmp_path), original, original)
    assert sizes.files.original_bytes == model.stat().st_size and sizes.before_bytes == sizes.after_bytes
    assert 0 < sizes.files.graph_bytes < sizes.files.packed_bytes < sizes.files.original_bytes
