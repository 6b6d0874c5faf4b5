"""The ladder of compositions: its order, and what is built of it."""

from types import SimpleNamespace

import pytest

from pfir.compile.precision import compositions
from pfir.compile.precision.compositions import AVERAGE_BITS, SPARSITIES, Composition, Ladder
from pfir.compile.precision.sizes import Sizes
from pfir.errors import Infeasible
from pfir.passes.spec import format_pass
from pfir.report.weights import Files


@pytest.fixture
def built(monkeypatch):
    """The rungs that are built, in order: models are texts, and pack to their bits and to half where half is zero."""
    made = []

    def coded(model, coder, samples, request):
        if coder.average_bits:
            made.append((model, coder.average_bits))
        return (model, coder.average_bits or float(coder.bits)), ()

    def weighed(request, model):
        start, bits = model
        packed = 1000 * bits / 32 * (0.7 if start == "sparse" else 1.0)
        return Sizes(Files(1000, 1000, packed))

    monkeypatch.setattr(compositions, "coded", coded)
    monkeypatch.setattr(compositions, "sizes_of", weighed)
    monkeypatch.setattr(
        compositions, "sparse", lambda context, model, sparsifier, ends: "sparse" if sparsifier else model
    )
    return made


def _ladder(size):
    scores = SimpleNamespace(scores=lambda model: model)
    request, models = SimpleNamespace(seed=0), SimpleNamespace(start="dense", baseline=None)
    return Ladder(SimpleNamespace(request=request, models=models, samples=None, judge=scores), size)


def test_rungs_go_from_many_bits_to_few_without_zeros_first():
    assert list(AVERAGE_BITS) == sorted(AVERAGE_BITS, reverse=True) and list(SPARSITIES) == [0.0, 0.5]
    assert Composition(3.5, 0.5).way == "3.5 bits, 50 % zeros" and Composition(4.0).way == "4 bits"
    assert Composition(4.0).sparsifier is None and "sparsity=0.5" in format_pass(Composition(4.0, 0.5).sparsifier)


def test_the_most_bits_that_are_small_enough_are_taken_of_each_share_of_zeros(built):
    rungs = _ladder(7.0).rungs()
    assert [(r.composition.average_bits, r.composition.sparsity) for r in rungs] == [(4.5, 0.0), (6.0, 0.5)]
    assert built == [("dense", 5.0), ("dense", 4.5), ("sparse", 6.0)]


def test_zeros_are_not_tried_where_the_first_rung_suffices(built):
    assert [r.composition for r in _ladder(5.0).rungs()] == [Composition(6.0)]


def test_the_last_rungs_are_built_whatever_they_give(built):
    rungs = _ladder(100.0).rungs()
    assert [r.composition for r in rungs] == [Composition(3.0), Composition(3.0, 0.5)]
    assert built == [("dense", 3.0), ("sparse", 3.0)] and not any(r.sizes.reach(100.0) for r in rungs)


def test_a_model_that_can_have_no_zeros_has_the_other_rungs(built, monkeypatch):
    def refuse(context, model, sparsifier, ends):
        if sparsifier is not None:
            raise Infeasible("no weight may become zero")
        return model

    monkeypatch.setattr(compositions, "sparse", refuse)
    assert [r.composition for r in _ladder(100.0).rungs()] == [Composition(3.0)]


def test_a_model_that_can_have_no_codebook_is_refused(built, monkeypatch):
    def refuse(*_):
        raise Infeasible("no layer may have a codebook")

    monkeypatch.setattr(compositions, "coded", refuse)
    with pytest.raises(Infeasible):
        _ladder(100.0).rungs()
