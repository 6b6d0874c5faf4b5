"""`--precision`: what runs choose by it, say of it, and replay of it."""

import json

import numpy as np
import pytest

from pfir.compile.precision.layers import INTEGERS
from pfir.compile.request import Goals
from pfir.errors import DataError, Infeasible, UsageError
from pfir.frontends import load
from pfir.report.terminal import lines
from tests.support.jobs import images, pinned_net, run, write_data, write_model
from tests.support.net import Net

SIZE = Goals(size=3.35)


@pytest.fixture(scope="module")
def small(place, model, data):
    """A run that eight bits alone suffice for."""
    return run(model, place / "eight", data=data, goals=SIZE, precision="auto").folder


def _report(folder):
    return json.loads((folder / "report.json").read_text())


def _types(folder):
    return {node.name: node.op for node in load(folder / "model.onnx").nodes()}.values()


def test_a_size_is_met_by_eight_bits_and_costs_no_channel(small):
    report = _report(small)
    assert report["met"] and report["baseline"]["macs"] == report["result"]["macs"]
    assert report["search"]["trials"] == 0 and "QuantizeLinear" in _types(small)
    assert report["passes"][-1].startswith("quantize-uniform")
    assert report["precision"]["int8"] >= 3 and {layer["arithmetic"] for layer in report["layers"]} >= {"int8"}


def test_the_report_says_what_each_way_would_have_given_alone(small):
    report = _report(small)
    ways = {each["way"]: each for each in report["alone"]}
    assert ways["int8"]["meets"] and ways["int8"]["size"] > 3.5 and ways["int8"]["fidelity"] > 0.9
    assert ways["channels"]["fidelity"] < ways["int8"]["fidelity"]
    said = "\n".join(lines(report, "out/"))
    assert "int8 alone: " in said and "channels alone: " in said and "computes in: " in said
    assert "nothing was removed" not in said and "Eight bits and channels" in (small / "report.html").read_text()


def test_a_recipe_makes_the_same_integers_again(small, model, tmp_path):
    run(model, tmp_path / "out", recipe=small / "recipe.json", goals=SIZE)
    for name in ("model.onnx", "weights.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (small / name).read_bytes()


def test_a_recipe_s_channels_are_trained_and_quantized_again(small, model, data, tmp_path):
    done = run(model, tmp_path / "out", data=data, recipe=small / "recipe.json", retrain=True, epochs=1, goals=SIZE)
    assert done.met and "QuantizeLinear" in _types(tmp_path / "out")


def test_beyond_eight_bits_channels_go_at_eight_bit_prices(model, data, tmp_path):
    report = run(model, tmp_path / "out", data=data, goals=Goals(size=6.0), precision="int8").report
    assert report["met"] and report["result"]["macs"] < report["baseline"]["macs"]
    assert 5.97 <= report["files"]["original_bytes"] / report["files"]["packed_bytes"] < 12
    assert not next(each for each in report["alone"] if each["way"] == "int8")["meets"]


def test_eight_bits_that_are_asked_for_are_in_all_layers(model, tmp_path):
    done = run(model, tmp_path / "out", goals=Goals(macs=0.6), precision="int8")
    kinds = [n.inputs[1].inputs[0].op for n in load(tmp_path / "out/model.onnx").nodes() if n.op in ("Conv", "Gemm")]
    assert done.met and kinds == ["DequantizeLinear"] * 4


def test_passes_that_are_named_say_all_unless_eight_bits_are_asked_for(model, tmp_path):
    named = {"passes": "prune-channels{ratio=0.5}", "goals": SIZE}
    assert "QuantizeLinear" not in _types(run(model, tmp_path / "auto", precision="auto", **named).folder)
    assert "QuantizeLinear" in _types(run(model, tmp_path / "int8", precision="int8", **named).folder)
    simple = run(model, tmp_path / "simple", precision="int8", passes="simplify", goals=SIZE)
    assert simple.met and "QuantizeLinear" in _types(simple.folder)


def test_integers_are_trained_and_a_recipe_makes_the_same_again(model, data, tmp_path):
    options = {"passes": "quantize-uniform{weight_bits=2}", "precision": "auto", "epochs": 48}
    done = run(model, tmp_path / "a", data=data, goals=SIZE, **options)
    assert any(note.startswith("training with integers in place: fidelity") for note in done.report["notes"])
    assert len(done.report["training"]) == 12 and "train quantized" in {s["name"] for s in done.report["stages"]}
    again = run(model, tmp_path / "b", recipe=done.folder / "recipe.json", goals=SIZE)
    assert (again.folder / "model.onnx").read_bytes() == (done.folder / "model.onnx").read_bytes()


def test_eight_bits_alone_are_trained_where_data_and_epochs_are_given(model, data, tmp_path):
    report = run(model, tmp_path / "a", data=data, goals=SIZE, precision="auto", epochs=4).report
    assert "train quantized" in {s["name"] for s in report["stages"]} and report["result"]["fidelity"] > 0.9


@pytest.mark.parametrize(
    "fields", ["{weight_bits=4}", "{activation_bits=6 per_channel=false}", "{float_layers=1}", "{average_bits=4}"]
)
def test_a_pass_that_quantizes_is_taken_as_it_is_given(model, data, tmp_path, fields):
    text = f"prune-channels{{ratio=0.25}},quantize-uniform{fields}"
    options = {"passes": text, "data": data, "goals": Goals(size=2.0), "precision": "auto"}
    report = run(model, tmp_path / "a", **options).report
    assert report["passes"][-1].startswith("quantize-uniform") and report["widths"]
    run(model, tmp_path / "b", recipe=tmp_path / "a/recipe.json", goals=SIZE)
    for name in ("model.onnx", "weights.npz"):
        assert (tmp_path / "b" / name).read_bytes() == (tmp_path / "a" / name).read_bytes()


def test_few_bits_that_are_given_are_trained_behind_the_channels(model, data, tmp_path):
    text = "prune-channels{ratio=0.25},quantize-uniform{weight_bits=2}"
    done = run(model, tmp_path / "a", passes=text, data=data, goals=SIZE, precision="auto", epochs=4)
    stages = [s["name"] for s in done.report["stages"]]
    assert stages.index("fine-tune") < stages.index("quantize") < stages.index("train quantized")
    made = run(model, tmp_path / "b", data=data, recipe=done.folder / "recipe.json", retrain=True, epochs=4, goals=SIZE)
    assert made.report["passes"][-1] == "quantize-uniform{weight_bits=2 pairs=kernels}"


def test_eight_bits_alone_serve_where_no_channel_may_go(tmp_path):
    model = write_model(tmp_path, pinned_net())
    options = {"data": str(write_data(tmp_path, pinned_net())), "precision": "int8"}
    assert run(model, tmp_path / "out", goals=SIZE, **options).met
    with pytest.raises(Infeasible, match="no channel"):
        run(model, tmp_path / "other", goals=Goals(size=6.0), **options)


def test_a_drop_is_spent_on_eight_bits_first(model, data, tmp_path):
    done = run(model, tmp_path / "out", data=data, goals=Goals(max_drop=30.0), precision="int8")
    assert done.met and "QuantizeLinear" in _types(tmp_path / "out")


def test_eight_bits_that_lose_more_than_the_drop_are_given_up_unless_asked_for(model, data, tmp_path, monkeypatch):
    place = "pfir.compile.selection.within_drop._is_within"
    monkeypatch.setattr(place, lambda selection, chosen, what, floor: what != "eight bits")
    monkeypatch.setattr("pfir.compile.precision.choice.cheapest", lambda prices: INTEGERS)
    auto, asked = (
        run(model, tmp_path / name, data=data, goals=Goals(max_drop=5.0), precision=name).folder
        for name in ("auto", "int8")
    )
    assert "QuantizeLinear" not in _types(auto) and "QuantizeLinear" in _types(asked)


def test_eight_bits_that_would_lose_more_than_channels_are_left_out(model, data, tmp_path, monkeypatch):
    monkeypatch.setattr("pfir.compile.precision.choice._is_nearer", lambda one, other: True)
    done = run(model, tmp_path / "out", data=data, goals=SIZE, precision="auto")
    ways = [way["way"] for way in done.report["alone"]]
    assert "QuantizeLinear" not in _types(done.folder) and ways == ["int8", "channels", "6 bits"]


def test_data_too_little_for_eight_bits_leaves_floats_unless_they_are_asked_for(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=images(8))
    few = {"data": str(tmp_path / "x.npz"), "goals": Goals(size=1.5)}
    assert "QuantizeLinear" not in _types(run(model, tmp_path / "auto", precision="auto", **few).folder)
    with pytest.raises(DataError, match="too few"):
        run(model, tmp_path / "int8", precision="int8", **few)


def test_a_model_without_layers_for_eight_bits_is_refused_where_they_are_asked_for(tmp_path):
    net = Net(0)
    path = write_model(tmp_path, net.model((net.relu(net.input("N", 3, 4, 4)),)))
    with pytest.raises(Infeasible, match="no layer of this model can compute in eight bits"):
        run(path, tmp_path / "out", precision="int8", passes="simplify")


def test_an_unknown_precision_is_refused_with_those_that_are_known(model, tmp_path):
    with pytest.raises(UsageError, match="int4.*auto, float32, float16, int8"):
        run(model, tmp_path / "out", precision="int4")


def test_a_dry_run_tells_what_eight_bits_would_give(model, tmp_path):
    told = [
        run(model, tmp_path / "out", dry_run=True, precision="auto", backend="tvm", target=target)
        for target in ("arm", "arm:cortex-a76")
    ]
    assert " of 4 layers may compute in eight bits" in told[1].lines[2]
    assert told[1].report["reachable_speedup"] > told[0].report["reachable_speedup"]
    size = run(model, tmp_path / "out", dry_run=True, precision="int8").report["reachable_size"]
    assert size > 2 * run(model, tmp_path / "out", dry_run=True).report["reachable_size"]
