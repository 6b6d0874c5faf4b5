import numpy as np
import pytest

from pfir.errors import Infeasible, UsageError
from pfir.frontends import load
from pfir.ir.constants.codebooks import codebook_weights
from pfir.ir.costs.model_cost import model_cost
from pfir.passes.base import Context
from pfir.passes.codebook.quantize_codebook import QuantizeCodebook
from pfir.passes.pipeline import run
from pfir.passes.simplification.simplify import Simplify
from pfir.passes.spec import format_pass, parse
from tests.support.calibration import context, outputs, samples
from tests.support.net import Net, parsed, random


def net(seed=0, width=24):
    """Convolutions with a shortcut, then a classifier; the weights of two layers are worth a codebook."""
    net = Net(seed)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, width))
    x = net.relu(net.op("Add", x, net.conv(x, width, width)))
    net.output("y", net.head(x, width))
    return net.model()


def _made(model, given=None, **fields):
    return run([QuantizeCodebook(**fields)], model, given or context(model))


def _error(model, made):
    wanted, found = (outputs(m, samples(model, seed=7)) for m in (model, made))
    return float(np.square(found - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum())


def test_fewer_bits_lose_more_and_take_less():
    model = net()
    made = [_made(model, bits=bits)[0] for bits in (8, 4, 2)]
    errors, sizes = [_error(model, m) for m in made], [len(m.to_bytes()) for m in made]
    assert errors[0] < 1e-3 and errors == sorted(errors)
    assert sizes == sorted(sizes, reverse=True) and sizes[0] < 0.5 * len(model.to_bytes())


def test_costs_are_those_of_the_layer_and_bytes_those_of_the_bits():
    model = net()
    before, after = model_cost(model), model_cost(_made(model, bits=4)[0])
    assert after.macs == before.macs and after.peak_activation_bytes == before.peak_activation_bytes
    assert after.parameters == before.parameters
    assert after.size_bytes < before.size_bytes / 4


def test_compensation_loses_less_than_the_nearest_values():
    model = net()
    made, notes = _made(model, bits=2, rounding="compensated")
    assert _error(model, made) < 0.5 * _error(model, _made(model, bits=2)[0])
    assert "quantize-codebook: 2 layers rounded by compensated" in notes


def test_compensation_keeps_zeros_and_codebooks_by_channels():
    model = net()
    weight = model.initializers()["c2"]
    weight.values = np.where(np.abs(weight.values) < 0.3, 0, weight.values)
    made, _ = _made(model, bits=2, channels=8, rounding="compensated")
    (found,) = [w for w in codebook_weights(made.graph) if w.values.shape == weight.values.shape]
    assert not found.values[weight.values == 0].any() and found.book.values.size == 3 * 4


def test_weights_that_multiply_larger_inputs_are_nearer():
    model = parsed("g (float[N,64] in0) => (float[N,32] y) { y = MatMul(in0, w) }", w=random(64, 32))
    large = np.where(np.arange(64) < 8, 30.0, 0.1).astype(np.float32)

    def activations(given, names):
        yield {"in0": np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32) * large}

    before = model.initializers()["w"].values * np.where(np.arange(64) < 8, 0.1, 1).astype(np.float32)[:, None]
    model.set_arrays({"w": before})
    given = Context(activations=activations)
    errors = []
    for weighting in ("hessian", "none"):
        made, _ = _made(model, given, bits=2, weighting=weighting)
        (found,) = codebook_weights(made.graph)
        errors.append(np.square(found.values - before)[:8].mean())
    assert errors[0] < 0.8 * errors[1]


def test_bits_on_average_are_kept_and_lose_no_more_than_the_same_everywhere():
    model = net()
    made, notes = _made(model, average_bits=3)
    weights = list(codebook_weights(made.graph))
    assert sum(w.packed.values.nbytes * 8 for w in weights) <= 3.01 * sum(w.values.size for w in weights)
    assert _error(model, made) <= 1.05 * _error(model, _made(model, bits=3)[0])
    assert notes[0].endswith("bits a weight on average")


def test_bits_of_layers_may_be_named():
    made, notes = _made(net(), bits=4, layer_bits=(("Conv_3", 2),))
    assert "quantize-codebook: bits by layer: Conv_1 4, Conv_3 2" in notes
    assert [w.book.values.size for w in codebook_weights(made.graph)] == [16, 4]
    made, _ = _made(net(), bits=None, layer_bits=(("Conv_3", 2),))
    assert [w.book.values.size for w in codebook_weights(made.graph)] == [4]


def test_what_is_kept_stays_and_without_data_all_weights_count_the_same():
    made, notes = _made(net(), Context(keep=("Conv_1",)))
    assert len(list(codebook_weights(made.graph))) == 1 and notes[0].startswith("quantize-codebook: 1 of 2 layers")


def test_a_second_run_and_simplification_change_nothing(tmp_path):
    made, _ = _made(net())
    made.save(tmp_path / "made.onnx")
    again = load(tmp_path / "made.onnx")
    for each in (QuantizeCodebook(), Simplify()):
        same, _ = run([each], again, Context())
        assert same.to_bytes() == again.to_bytes()


def test_a_layer_that_would_be_no_smaller_stays():
    same, notes = _made(parsed("g (float[N,4] x) => (float[N,3] y) { y = MatMul(x, w) }", w=random(4, 3)), Context())
    assert notes == ("quantize-codebook: no layer would be smaller with a codebook",) and same.provenance == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bits=0", "bits is 0; it must be 1 to 8"),
        ("average_bits=9", "average_bits is 9.0; it must be 1 to 8"),
        ("layer_bits=a:9", "layer_bits of a is 9; it must be 1 to 8"),
        ("start=random", "start is random; it must be one of kmeans, quantile"),
        ("weighting=mean", "weighting is mean; it must be one of hessian, none"),
        ("rounding=up", "rounding is up; it must be one of nearest, compensated"),
        ("channels=-1", "channels is -1; it must be at least 0"),
    ],
)
def test_fields_out_of_range_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse(f"quantize-codebook{{{text}}}")


def test_bits_that_nothing_says_are_left_to_a_search():
    each = QuantizeCodebook().opened()
    assert each.is_open and format_pass(each) == "quantize-codebook{bits=none}" and parse(format_pass(each)) == (each,)
    (parameter,) = each.space(net(), Context()).parameters
    assert (parameter.name, parameter.low, parameter.cheapest) == ("average_bits", 2.0, 2.0)
    assert each.with_parameters({"average_bits": 3.25}) == QuantizeCodebook(bits=None, average_bits=3.25)
    assert not QuantizeCodebook().space(net(), Context()).parameters
    with pytest.raises(UsageError, match="needs one of the fields bits, average_bits and layer_bits"):
        _made(net(), Context(), bits=None)


@pytest.mark.parametrize("fields", [{"average_bits": 3.0}, {"rounding": "compensated"}])
def test_what_needs_data_says_so(fields):
    with pytest.raises(UsageError, match=r"average_bits and rounding=compensated need calibration data.*--data"):
        _made(net(), Context(), **fields)


def test_names_of_no_layer_are_refused():
    with pytest.raises(UsageError, match="layer_bits names Relu_2, which is no layer that may have a codebook"):
        _made(net(), layer_bits=(("Relu_2", 2),))
    with pytest.raises(UsageError, match="no node is called Conv_99"):
        _made(net(), Context(keep=("Conv_99",)))


def test_a_model_without_layers_is_refused():
    with pytest.raises(Infeasible, match="no layer may have a codebook"):
        _made(parsed("g (float[N,4] x) => (float[N,4] y) { y = Relu(x) }"), Context())
