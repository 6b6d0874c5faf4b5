"""The pass: exact zeros, as many as asked for, the interface kept, and one line where it cannot be."""

import numpy as np
import pytest

from pfir.errors import FrontendError, Infeasible, UsageError
from pfir.frontends import load
from pfir.ir.weights import numbers
from pfir.passes.base import Context
from pfir.passes.pipeline import run as run_passes
from pfir.passes.sparsity import sparsify_weights
from pfir.passes.sparsity.criteria import CRITERIA
from pfir.passes.sparsity.sparsify_weights import SPARSITY, SparsifyWeights
from pfir.passes.spec import format_pass, parse
from tests.support.calibration import context, outputs, samples
from tests.support.jobs import run as compile_job
from tests.support.jobs import short_runs, write_data, write_model
from tests.support.net import parsed, random
from tests.support.runs import assert_valid
from tests.support.small_nets import dense_layers, linear, residual, separable, two_convolutions

PATTERNS = ("unstructured", "2:4", "1x4", "4x1", "channel-vectors")
SPARSE = ("w1", "w2", "w3")
"""Weights of the residual net that may become sparse."""


def sparse(net, given=None, **fields):
    filled = given or context(net, gradients=own_values)
    return run_passes([SparsifyWeights(**fields)], net, filled)


def own_values(model, names):
    """As gradients: descent that takes all towards zero alike."""
    return {name: model.initializers()[name].values for name in names}


def zeros(model, names=SPARSE):
    return sum(int(np.sum(model.initializers()[n].values == 0)) for n in names)


def error(net, made):
    feeds = samples(net)
    wanted = outputs(net, feeds)
    return float(np.square(outputs(made, feeds) - wanted).sum() / np.square(wanted - wanted.mean(0)).sum())


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("criterion", CRITERIA)
def test_half_of_the_weights_are_zero(criterion, pattern):
    net = residual()
    made, notes = sparse(net, sparsity=0.5, criterion=criterion, pattern=pattern)
    assert zeros(made) == 592 and "592 of 1184 weights are zero, 50.0%" in notes[0]
    assert [t.name for t in made.graph.outputs] == ["y"] and zeros(net) == 0
    assert not any(np.signbit(w[w == 0]).any() for w in (made.initializers()[n].values for n in SPARSE))
    assert_valid(made)


def test_what_makes_up_for_it_is_nearer_than_magnitude():
    net = residual()
    plain, exact, blocks, refit = (
        error(net, sparse(net, sparsity=0.5, **fields)[0])
        for fields in ({}, {"criterion": "obc"}, {"criterion": "sparsegpt"}, {"reconstruct": True})
    )
    assert max(exact, blocks, refit) < 0.5 * plain


@pytest.mark.parametrize("distribution", ["global", "lamp", "dp"])
def test_shares_differ_from_layer_to_layer_and_the_whole_is_as_asked(distribution):
    made, _ = sparse(residual(), sparsity=0.5, distribution=distribution)
    assert 580 <= zeros(made) <= 592
    assert len({zeros(made, [name]) / 576 for name in ("w1", "w2")}) == 2


def test_means_that_the_weights_gave_go_into_the_bias():
    net = dense_layers()
    net.set_arrays({n: np.abs(x.values) for n, x in net.initializers().items()})
    made, _ = sparse(net, sparsity=0.5, criterion="wanda")
    wanted, found = (outputs(m, samples(net)).mean(0) for m in (net, made))
    bare, _ = sparse(net, sparsity=0.5, criterion="magnitude")
    assert np.abs(found - wanted).max() < 0.2 * np.abs(outputs(bare, samples(net)).mean(0) - wanted).max()


def test_layers_too_large_to_measure_go_by_magnitude(monkeypatch):
    monkeypatch.setattr(sparsify_weights, "MOST_FEATURES", 8)
    plain, exact = (sparse(residual(), sparsity=0.5, criterion=each)[0] for each in ("magnitude", "obc"))
    arrays = [{n: x.values for n, x in made.initializers().items()} for made in (plain, exact)]
    assert np.array_equal(arrays[0]["w1"], arrays[1]["w1"]) and not np.array_equal(arrays[0]["w3"], arrays[1]["w3"])


def test_layers_by_name_get_their_share_and_others_none():
    made, _ = sparse(residual(), sparsities=(("inner", 0.25), ("head", 0.0)))
    assert zeros(made, ["w1"]) == 144 and zeros(made, ["w2", "w3"]) == 0
    made, _ = sparse(residual(), sparsity=0.5, sparsities=(("inner", 0.25),))
    assert zeros(made, ["w1"]) == 144 and zeros(made, ["w2"]) == 288


def test_a_shared_weight_is_chosen_once():
    net = parsed("net (float[N,8] x) => (float[N,8] y) { a = MatMul(x, w) y = MatMul(a, w) }", w=random(8, 8))
    made, _ = sparse(net, sparsity=0.5, criterion="obc")
    assert len(made.initializers()) == 1 and zeros(made, ["w"]) == 32


def test_a_second_run_and_no_share_change_nothing():
    once, _ = sparse(residual(), sparsity=0.5)
    again, notes = sparse(once, sparsity=0.5)
    assert again.to_bytes() == once.to_bytes() and "592 of 1184" in notes[0]
    same, notes = sparse(residual(), sparsity=0.0)
    assert same.to_bytes() == residual().to_bytes() and "no weight became zero" in notes[0]


def test_notes_name_the_layers_that_stay_dense():
    _, notes = sparse(separable(), sparsity=0.5)
    assert any("since their outputs sum fewer than 4 channels" in note for note in notes)


@pytest.mark.parametrize("rounding", ["nearest", "compensated", "adaround"])
def test_zeros_stay_when_the_model_is_quantized_after(rounding):
    net = residual()
    made, _ = sparse(net, sparsity=0.5, criterion="obc")
    quantized, _ = run_passes(parse(f"quantize-uniform{{rounding={rounding} weight_bits=4}}"), made, context(net))
    for node, name in (("inner", "w1"), ("outer", "w2"), ("head", "w3")):
        reader = next(n for n in quantized.nodes() if n.name == node)
        assert not numbers(reader.inputs[1])[made.initializers()[name].values == 0].any()


@pytest.mark.parametrize("pattern", PATTERNS)
def test_integers_become_the_zero_point_and_the_others_stay(pattern):
    net = residual()
    quantized, _ = run_passes(parse("quantize-uniform"), net, context(net))
    made, _ = sparse(quantized, context(net), sparsity=0.5, pattern=pattern, criterion="obc")
    for node in ("inner", "outer"):
        before, after = (numbers(next(n for n in m.nodes() if n.name == node).inputs[1]) for m in (quantized, made))
        assert np.mean(after == 0) >= 0.5 and np.array_equal(after[after != 0], before[after != 0])
    assert_valid(made)


@pytest.mark.parametrize("criterion", ["magnitude", "obc"])
def test_compile_delivers_the_zeros_and_a_recipe_makes_the_same_again(criterion, tmp_path):
    model, data = write_model(tmp_path), str(write_data(tmp_path))
    text = f"sparsify-weights{{sparsity=0.5 criterion={criterion}}}"
    with short_runs():
        compile_job(model, tmp_path / "out", passes=text, epochs=1, data=data)
        compile_job(model, tmp_path / "again", recipe=tmp_path / "out" / "recipe.json")
    assert (tmp_path / "again" / "model.onnx").read_bytes() == (tmp_path / "out" / "model.onnx").read_bytes()
    made = load(tmp_path / "out" / "model.onnx")
    shares = [np.mean(held.values == 0) for held in made.initializers().values() if held.values.ndim > 1]
    assert sorted(shares) == [0, 0.5, 0.5, 0.5] and made.provenance[1] == format_pass(*parse(text))


def test_a_search_may_choose_the_share():
    net = residual()
    (parameter,) = SparsifyWeights().space(net, Context()).parameters
    assert (parameter.name, parameter.low, parameter.high) == (SPARSITY, 0.0, 0.95)
    chosen = SparsifyWeights(criterion="obc").with_parameters({SPARSITY: 0.75})
    assert chosen == SparsifyWeights(0.75, criterion="obc") and SparsifyWeights().with_parameters({}).sparsity == 0
    assert chosen.opened() == SparsifyWeights(criterion="obc")
    assert not SparsifyWeights(0.5).space(net, Context()).parameters
    assert not SparsifyWeights().space(two_convolutions(width=3), Context()).parameters


@pytest.mark.parametrize(
    "text",
    [
        "sparsify-weights{sparsity=0.75 pattern=1x4 criterion=obc}",
        "sparsify-weights{pattern=2:4}",
        "sparsify-weights{sparsities=inner:0.5}",
    ],
)
def test_its_text_is_read_back(text):
    (found,) = parse(text)
    assert parse(format_pass(found)) == (found,)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sparsity": 1.0}, "sparsity is 1.0; it must be in"),
        ({"sparsity": -0.1}, "sparsity is -0.1"),
        ({"sparsities": (("inner", 1.5),)}, "the sparsity of inner is 1.5"),
        ({"sparsity": 0.75, "pattern": "2:4"}, "of pattern 2:4 it is 0.5"),
        ({"pattern": "2:4", "distribution": "dp"}, "leave distribution out"),
        ({"sparsity": 0.5, "pattern": "3"}, "pattern is 3"),
        ({"sparsity": 0.5, "criterion": "luck"}, "criterion is luck; it must be one of magnitude"),
        ({"sparsity": 0.5, "distribution": "fair"}, "distribution is fair; it must be one of uniform"),
    ],
)
def test_a_field_out_of_range_is_refused(fields, said):
    with pytest.raises(UsageError, match=said):
        SparsifyWeights(**fields)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "needs one of the fields sparsity and sparsities"),
        ({"sparsity": 0.5, "criterion": "obc"}, "criterion=obc needs calibration data, and none was given"),
        ({"sparsity": 0.5, "reconstruct": True}, "reconstruct=true needs calibration data"),
        ({"sparsity": 0.5, "distribution": "dp"}, "distribution=dp needs calibration data"),
        ({"sparsity": 0.5, "criterion": "movement"}, "movement needs gradients"),
        ({"sparsity": 0.5, "gradual": True}, "gradual=true needs training"),
        ({"sparsities": (("iner", 0.5),)}, "no layer that may become sparse is called iner; there are inner"),
    ],
)
def test_what_is_missing_is_named(fields, said):
    with pytest.raises(UsageError, match=said):
        sparse(residual(), Context(), **fields)


def test_without_samples_it_says_so():
    with pytest.raises(UsageError, match="criterion=obc needs calibration data, but there are no samples"):
        sparse(residual(), Context(activations=lambda model, names: iter(())), sparsity=0.5, criterion="obc")


def test_a_model_without_such_weights_is_refused_with_the_reasons():
    with pytest.raises(Infeasible, match="fewer than 4 channels"):
        sparse(two_convolutions(width=3), sparsity=0.5)
    with pytest.raises(Infeasible, match="it has no layer"):
        sparse(parsed("net (float[N,8] x) => (float[N,8] y) { y = Relu(x) }"), Context(), sparsity=0.5)
    with pytest.raises(Infeasible, match="no multiple of 4"):
        sparse(linear(random(6, 4)), Context(), pattern="2:4")


def test_weights_that_are_not_finite_are_refused():
    net = residual()
    net.set_arrays({"w1": np.full((8, 8, 3, 3), np.nan, np.float32)})
    with pytest.raises(FrontendError, match="must be finite"):
        sparse(net, Context(), sparsity=0.5)
