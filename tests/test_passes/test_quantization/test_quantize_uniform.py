import numpy as np
import onnx
import pytest

from pfir.errors import DataError, FrontendError, Infeasible, UsageError
from pfir.frontends import load
from pfir.ir.edit import is_op
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.quantization.placement import layers_of
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.spec import format_pass, parse
from pfir.run.session import Session
from tests.support.calibration import context, learning, outputs, samples
from tests.support.models import REAL, shared_model
from tests.support.net import Net, feeds, parsed, random
from tests.support.quantization import PLAIN, quantized, random_samples, residual
from tests.support.runs import ops
from tests.support.runs import run as ort_run
from tests.support.structures import FAMILIES, build

CHECKED = [f for f in FAMILIES if f not in ("traced_attention", "split_qkv", "packed_qkv")]
"""Families whose own shapes onnx's strict inference accepts."""


def _error(net, made):
    wanted, given = (outputs(m, samples(net, seed=7)) for m in (net, made))
    return float(np.square(given - wanted).sum() / np.square(wanted - wanted.mean(axis=0)).sum())


def test_eight_bits_lose_little_and_fewer_more():
    net = residual()
    errors = [_error(net, quantized(net, weight_bits=bits, **PLAIN)) for bits in (8, 4, 2)]
    assert errors[0] < 0.01 and errors == sorted(errors)
    by_activations = [_error(net, quantized(net, activation_bits=bits, **PLAIN)) for bits in (8, 5, 3)]
    assert by_activations == sorted(by_activations)


@pytest.mark.parametrize("calibration", ["min-max", "percentile", "entropy", "mse"])
def test_every_calibration_gives_a_net_that_computes_nearly_the_same(calibration):
    assert _error(residual(), quantized(residual(), calibration=calibration, **PLAIN)) < 0.05


def test_steps_that_measure_are_kept_only_where_they_help():
    net = residual()
    made, notes = run([QuantizeUniform(weight_bits=3)], net, context(net))
    plain, _ = run([QuantizeUniform(weight_bits=3, **PLAIN)], net, context(net))
    assert any("biases corrected" in note for note in notes)
    assert _error(net, made) < _error(net, plain)


def _worse(model, reference, weight_bits, given):
    bias = model.initializers()["c1_quantized"]
    bias.values = bias.values + np.int32(100_000)
    return ("Conv_1",)


def _better(model, reference, weight_bits, given):
    """The first layer gets eight bits after all."""
    weight = layers_of(reference)["Conv_1"].weight
    assert weight_bits == {"Conv_1": 2} and given.activations is not None
    scale = (np.abs(weight).max(axis=(1, 2, 3)) / 127).astype(np.float32)
    bias = model.initializers()["c1_quantized"].values * (model.initializers()["c0_scale"].values / scale)
    integers = np.rint(weight / scale.reshape(-1, 1, 1, 1)).astype(np.int8)
    data = model.initializers()["c1_scale"].values / model.initializers()["c0_scale"].values
    arrays = {"c0_quantized": integers, "c0_scale": scale, "c1_quantized": np.rint(bias).astype(np.int32)}
    model.set_arrays(arrays | {"c1_scale": scale * data})
    return ("Conv_1",)


@pytest.mark.parametrize(("rounding", "kept"), [(_worse, False), (_better, True)])
def test_another_rounding_is_kept_where_it_helps(monkeypatch, rounding, kept):
    net = residual()
    monkeypatch.setattr("pfir.passes.quantization.quantize_uniform.ROUNDINGS", {"nearest": rounding})
    monkeypatch.setattr("pfir.passes.quantization.quantize_uniform.lift_opset", lambda model, wanted: None)
    alone = context(net, only=("Conv_1",))
    made, notes = run([QuantizeUniform(weight_bits=2, **PLAIN)], net, alone)
    assert any("1 layers rounded by nearest" in note for note in notes) == kept
    monkeypatch.undo()
    plain = _error(net, quantized(net, alone, weight_bits=2, **PLAIN))
    assert _error(net, made) < 0.99 * plain if kept else _error(net, made) == pytest.approx(plain)


@pytest.mark.parametrize("rounding", ["compensated", "adaround", "blocks"])
def test_roundings_come_nearer_to_the_float_net(rounding):
    net = residual()
    made, notes = run([QuantizeUniform(weight_bits=3, rounding=rounding, **PLAIN)], net, learning(net))
    assert _error(net, made) < 0.7 * _error(net, quantized(net, weight_bits=3, **PLAIN))
    assert any(f"layers rounded by {rounding}" in note for note in notes)


def test_one_scale_for_a_weight_loses_more_than_one_a_channel_and_equalisation_helps_it():
    net = residual()
    next(iter(layers_of(net).values())).scale_outputs(np.geomspace(0.05, 5, 8), np.zeros(8))
    channels, whole = (_error(net, quantized(net, per_channel=p, weight_bits=6, **PLAIN)) for p in (True, False))
    equalized = quantized(net, per_channel=False, weight_bits=6, equalize=True, bias_correction=False)
    assert channels < whole and _error(net, equalized) < whole


def test_the_most_sensitive_layers_stay_in_float():
    net = residual()
    made, notes = run([QuantizeUniform(weight_bits=2, float_layers=2, **PLAIN)], net, context(net))
    assert len(layers_of(made)) == 2
    assert _error(net, made) < _error(net, quantized(net, weight_bits=2, **PLAIN))
    assert any("the most sensitive layers stay float" in note for note in notes)


def test_a_share_of_the_work_stays_in_float():
    net = residual()
    made, notes = run([QuantizeUniform(weight_bits=2, float_share=0.07, **PLAIN)], net, context(net))
    assert "quantize-uniform: the most sensitive layers stay float: Gemm_10" in notes
    assert list(layers_of(made)) == ["Gemm_10"]


def test_a_second_run_changes_nothing():
    net = quantized(residual(), **PLAIN)
    again, notes = run([QuantizeUniform()], net, context(residual()))
    assert again.provenance == net.provenance and "keeps its scales" in notes[0]


def test_the_given_model_stays():
    net = residual()
    before = net.to_bytes()
    quantized(net, **PLAIN)
    assert net.to_bytes() == before


def test_normalisation_is_folded_first():
    net = Net(0)
    net.output("y", net.head(net.relu(net.norm(net.conv(net.input("N", 3, 8, 8), 3, 6), 6)), 6))
    made = quantized(net.model(), **PLAIN)
    assert "BatchNormalization" not in ops(made) and not layers_of(made)


def test_old_opsets_are_lifted():
    made = quantized(parsed("net (float[N,3] x) => (float[N,4] y) { y = MatMul(x, w) }", 11, w=random(3, 4)), **PLAIN)
    assert made.graph.opset == 13 and "DequantizeLinear" in ops(made)


def test_four_bits_stay_in_eight_where_the_opset_cannot_be_lifted(monkeypatch):
    def lift(model, wanted):
        if wanted == 21:
            raise FrontendError("onnx cannot convert it")

    monkeypatch.setattr("pfir.passes.quantization.quantize_uniform.lift_opset", lift)
    made = quantized(residual(), weight_bits=4, **PLAIN)
    assert {t.values.dtype for n, t in made.initializers().items() if n == "c0_quantized"} == {np.dtype(np.int8)}


def test_layers_beside_a_constant_stay_float_and_a_note_says_so():
    net = residual()
    net.graph.nodes[0].inputs[2].values = np.full(8, -1e3, np.float32)
    made, notes = run([QuantizeUniform(**PLAIN)], net, context(net))
    assert "quantize-uniform: Conv_1 stays float: relu2 is constant on the calibration data" in notes
    assert "Conv_1" in layers_of(made)


def test_nodes_to_keep_stay_float_and_only_those_named_get_few_bits():
    net = residual()
    kept, _ = run([QuantizeUniform(**PLAIN)], net, context(net, keep=("Conv_3",)))
    only, notes = run([QuantizeUniform(**PLAIN)], net, context(net, only=("Conv_3",)))
    assert list(layers_of(kept)) == ["Conv_3"] and set(layers_of(only)) == {"Conv_1", "Conv_5", "Gemm_10"}
    assert notes[-1] == "quantize-uniform: 1 of 4 layers quantized"
    with pytest.raises(UsageError, match="no node is called Conv_99"):
        run([QuantizeUniform()], net, context(net, keep=("Conv_99",)))
    with pytest.raises(Infeasible, match="no layer is left to quantize: all stay float, as Conv_1, Conv_3"):
        run([QuantizeUniform()], net, context(net, keep=("Conv_1", "Conv_3", "Conv_5", "Gemm_10")))


def test_without_data_generated_inputs_serve():
    net = residual()
    made, _ = run([QuantizeUniform(**PLAIN)], net, Context(generated=context(net).activations))
    assert _error(net, made) < 0.01


def test_without_any_data_it_refuses():
    with pytest.raises(UsageError, match=r"needs calibration data, and none was given \(--data\)"):
        run([QuantizeUniform()], residual(), Context())


def test_a_net_without_layers_is_infeasible():
    net = parsed("net (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    with pytest.raises(Infeasible, match="no layer may be quantized"):
        run([QuantizeUniform()], net, context(net))


def test_weights_that_are_nan_are_refused():
    net = residual()
    net.graph.nodes[0].inputs[1].values = np.full((8, 3, 3, 3), np.nan, np.float32)
    with pytest.raises(FrontendError, match="weights must be finite"):
        run([QuantizeUniform()], net, context(net))


def test_activations_that_are_nan_are_refused():
    net = residual()
    broken = Context(activations=lambda m, names: iter([{n: np.full((9, 1), np.nan, np.float32) for n in names}]))
    with pytest.raises(DataError, match="is NaN or infinite on calibration data"):
        run([QuantizeUniform()], net, broken)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("weight_bits=9", "weight_bits is 9; it must be 2 to 8"),
        ("pairs=all", "pairs is all; it must be one of kernels, operators"),
        ("float_share=-1", r"float_share is -1.0; it must be in \[0, 1\]"),
        ("eight_bit_share=2", r"eight_bit_share is 2.0; it must be in \[0, 1\]"),
        ("activation_bits=1", "activation_bits is 1; it must be 2 to 8"),
        ("calibration=best", "calibration is best; it must be one of min-max, percentile, entropy, mse"),
        ("rounding=up", "rounding is up; it must be one of nearest, compensated, adaround, blocks"),
        ("percentile=20", r"percentile is 20.0; it must be in \(50, 100\]"),
        ("float_layers=-1", "float_layers is -1; it must be at least 0"),
    ],
)
def test_fields_out_of_range_are_refused(fields, said):
    with pytest.raises(UsageError, match=said):
        parse(f"quantize-uniform{{{fields}}}")


def test_a_search_chooses_how_many_layers_stay_in_float():
    net, each = residual(), QuantizeUniform().opened()
    assert each.is_open and format_pass(each) == "quantize-uniform{float_layers=none}"
    (parameter,) = each.space(net, Context()).parameters
    assert (parameter.name, parameter.values, parameter.cheapest) == ("float_layers", (0.0, 1.0), 0.0)
    assert each.with_parameters({"float_layers": 1.0}) == QuantizeUniform(float_layers=1)
    assert not QuantizeUniform().space(net, Context()).parameters
    with pytest.raises(UsageError, match="needs the field float_layers"):
        run([each], net, context(net))


def test_a_search_chooses_the_bits_that_nothing_says():
    net, each = residual(), parse("quantize-uniform{weight_bits=none}")[0]
    assert each.is_open and not QuantizeUniform(weight_bits=None, average_bits=4).is_open
    (parameter,) = each.space(net, Context()).parameters
    assert (parameter.name, parameter.low, parameter.high) == ("average_bits", 2.0, 8.0)
    assert each.with_parameters({"average_bits": 3.5}) == QuantizeUniform(weight_bits=None, average_bits=3.5)
    with pytest.raises(UsageError, match="needs one of the fields weight_bits and average_bits"):
        run([each], net, context(net))


@pytest.mark.parametrize("family", CHECKED)
def test_every_structure_stays_a_valid_model_with_its_interface(family):
    net = build(family, 0)
    try:
        made, _ = run([QuantizeUniform(**PLAIN)], net, random_samples(net))
    except Infeasible:
        return
    assert made.inputs() == net.inputs() and made.outputs() == net.outputs()
    onnx.checker.check_model(made.to_proto(), full_check=True)
    for wanted, given in zip(ort_run(net, feeds(net)), ort_run(made, feeds(net)), strict=True):
        assert given.shape == wanted.shape
        assert np.abs(given - wanted).max(initial=0) <= 0.15 * np.abs(wanted).max(initial=1e-6)


@pytest.mark.parametrize("name", ("quantized_weights", "quantized_residual", "quantized_in_a_run"))
def test_layers_that_came_quantized_keep_their_integers(name):
    net = build(name, 0)
    made, _ = run([QuantizeUniform(**PLAIN)], net, random_samples(net))
    kept = {n: t.values for n, t in net.initializers().items() if t.values.dtype.kind in "iu" and t.values.ndim > 1}
    found = made.initializers()
    assert kept and all(np.array_equal(found[n].values, values) for n, values in kept.items())


@pytest.mark.parametrize("file", [f for f in REAL if f.startswith(("mltk", "resnet20"))])
def test_real_models_run_in_onnx_runtime_and_are_a_quarter_as_large(file):
    net = load(shared_model(file))
    given = {t.name: np.random.default_rng(0).normal(size=(8, *t.shape[1:])).astype(np.float32) for t in net.inputs()}

    def activations(model, names):
        from pfir.run.activations import activations as of
        from tests.support.samples import Samples

        return of(model, names, Samples(given), 8)

    made = quantized(net, Context(activations=activations), **PLAIN)
    assert len(made.to_bytes()) < (0.6 if "keyword" in file else 0.4) * len(net.to_bytes())
    assert not any(is_op(n, "Conv") and n.name in layers_of(made) for n in made.nodes())
    wanted, found = (Session(m).predict(given) for m in (net, made))
    for name, y in wanted.items():
        assert np.abs(found[name] - y).max() < 0.25 * np.abs(y).max()


def test_bits_on_average_are_chosen_layer_by_layer():
    net = residual()
    made, notes = run([QuantizeUniform(average_bits=4, **PLAIN)], net, context(net))
    assert any("bits by layer: Conv_1 " in note for note in notes)
    assert _error(net, made) <= 1.05 * _error(net, quantized(net, weight_bits=4, **PLAIN))
    assert made.provenance[-1] == "quantize-uniform{equalize=false bias_correction=false average_bits=4}"


def test_bits_of_layers_may_be_named():
    net = residual()
    made = quantized(net, weight_bits=8, layer_bits=(("Conv_1", 3),), **PLAIN)
    held = made.initializers()
    limits = {name: int(np.abs(held[name].values.astype(np.int32)).max()) for name in ("c0_quantized", "c2_quantized")}
    assert limits["c0_quantized"] <= 3 < limits["c2_quantized"]
    with pytest.raises(UsageError, match="layer_bits names Relu_2, which is no layer that may be quantized"):
        quantized(net, layer_bits=(("Relu_2", 3),))
