import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.run.activations import activations
from pfir.run.memo import Memo
from tests.support.net import feeds
from tests.support.samples import Samples, rows
from tests.support.small_nets import linear
from tests.support.structures import build

RNG = np.random.default_rng(0)
X = RNG.standard_normal((7, 4)).astype(np.float32)
W = RNG.standard_normal((4, 3)).astype(np.float32)


def joined(name, **options):
    return np.concatenate([part[name] for part in activations(linear(W), [name], rows(X), **options)])


def test_inner_tensors_are_seen_in_order():
    assert np.allclose(joined("h", batch=3), np.maximum(X @ W, 0), atol=1e-5)


def test_outputs_and_inputs_are_seen_too():
    parts = list(activations(linear(W), ["y", "x", "w"], rows(X), batch=4))
    assert [len(part["y"]) for part in parts] == [4, 3]
    assert np.array_equal(parts[0]["x"], X[:4])
    assert np.array_equal(parts[0]["w"], W)


def test_a_limit_of_samples_ends_activations_early():
    assert len(joined("y", batch=2, limit=3)) == 3


def test_the_model_keeps_its_outputs():
    model = linear(W)
    list(activations(model, ["h"], rows(X)))
    assert [t.name for t in model.graph.outputs] == ["y"]


def test_an_unknown_tensor_is_refused():
    with pytest.raises(UsageError, match="nowhere"):
        next(activations(linear(W), ["nowhere"], rows(X)))


@pytest.mark.parametrize("family", ["half_precision", "double_precision"])
@pytest.mark.parametrize("sizes", [None, ["N", None]])
def test_tensors_of_which_the_model_says_no_type_have_that_of_the_run(family, sizes):
    model = build(family, 1)
    inner = list(model.nodes())[-2].outputs[0]
    inner.dtype, inner.shape = None, sizes
    given = feeds(model)
    (name,), data = given, Samples(given)
    for source in (lambda *asked: activations(*asked, data), Memo(data, 16)):
        (found,) = source(model, [inner.name])
        assert found[inner.name].dtype == given[name].dtype
