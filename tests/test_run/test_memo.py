"""What is remembered is what would be computed, and nothing is computed twice."""

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.ir.shapes import infer_shapes
from pfir.run import memo
from pfir.run.activations import activations
from pfir.run.memo import Memo
from tests.support import small_nets
from tests.support.calibration import samples
from tests.support.net import feeds
from tests.support.samples import Samples
from tests.support.structures import FAMILIES, build

ALL = ("r0", "a1", "a2", "s", "y")
# ONNX Runtime 1.19.2 fails on FusedConv with a sum, by itself, when a tensor before it is an output of the graph.
BATCHED = [
    n for n in FAMILIES if len({len(x) for x in feeds(build(n, 0)).values()}) == 1 and n != "microsoft_convolutions"
]


def residual():
    model = small_nets.residual()
    infer_shapes(model)
    return model


@pytest.fixture
def runs(monkeypatch):
    """The nodes of every session that a Memo opens."""
    seen, plain = [], memo.Session

    def session(model):
        seen.append([n.name for n in model.nodes()])
        return plain(model)

    monkeypatch.setattr(memo, "Session", session)
    return seen


def joined(batches, names=ALL):
    batches = list(batches)
    return {n: np.concatenate([b[n] for b in batches]) for n in names}


def same(model, found, data, names=ALL):
    for name, wanted in joined(activations(model, names, data, 16), names).items():
        np.testing.assert_allclose(found[name], wanted, rtol=1e-5, atol=1e-5)


def test_values_are_those_of_activations_whatever_was_asked_before():
    model = residual()
    data = Samples(samples(model, 40))
    remembered = Memo(data, 16)
    for names in (("r0",), ("s", "a1"), ALL, ("x", "w0", "y"), ALL):
        same(
            model,
            joined(remembered(model, names), [n for n in names if n != "w0"]),
            data,
            [n for n in names if n != "w0"],
        )


def test_what_is_known_is_where_the_next_run_begins(runs):
    model = residual()
    remembered = Memo(Samples(samples(model)), 16)
    list(remembered(model, ["r0"]))
    list(remembered(model.clone(), ["s"]))
    list(remembered(model, ["s", "r0"]))
    assert runs == [["stem", "relu0"], ["inner", "relu1", "outer", "add"]]


def test_a_changed_weight_is_seen_by_all_behind_it_and_by_nothing_else(runs):
    model = residual()
    data = Samples(samples(model))
    remembered = Memo(data, 16)
    list(remembered(model, ALL))
    model.set_arrays({"w2": model.initializers()["w2"].values * 2})
    same(model, joined(remembered(model, ALL)), data)
    assert runs[1][:2] == ["relu1", "outer"]  # from a1, which was asked for, on


def test_what_does_not_fit_is_computed_again(runs):
    model = residual()
    data = Samples(samples(model))
    remembered = Memo(data, 16, most_bytes=1000)
    for _ in range(2):
        same(model, joined(remembered(model, ALL)), data)
    assert len(runs) == 2


def test_the_longest_unused_goes_first(runs):
    model = residual()
    one = 48 * 8 * 64 * 4
    remembered = Memo(Samples(samples(model)), 16, most_bytes=4 * one)
    for names in (["r0"], ["a1"], ["r1"], ["a2"], ["r0"], ["s"], ["r0"]):
        list(remembered(model, names))
    assert [r[-1] for r in runs] == ["relu0", "inner", "relu1", "outer", "add"]


def test_an_unknown_tensor_is_refused():
    with pytest.raises(UsageError, match="nothing"):
        list(Memo(Samples(samples(residual())), 16)(residual(), ["nothing"]))


@pytest.mark.parametrize("name", BATCHED)
def test_every_structure_gives_the_same_when_run_in_two_parts(name):
    model = build(name, 0)
    arrays = feeds(model, 4)
    inner = [t.name for n in model.nodes() for t in n.outputs if t.name and t.dtype == np.float32]
    data, names = Samples(arrays), inner[:: max(1, len(inner) // 3)]
    remembered = Memo(data, 2)
    for asked in (names[:1], names):
        for one, other in zip(remembered(model, asked), activations(model, asked, data, 2), strict=True):
            for tensor in asked:
                np.testing.assert_allclose(one[tensor], other[tensor], rtol=1e-4, atol=1e-4)
