import dataclasses
import json

import pytest

from pfir.backends.tvm.tuning.database import Entry, add
from pfir.commands import tune as tune_module
from pfir.commands.tune import Tune
from pfir.compile import replay
from pfir.compile.replay import retrained_otherwise, train_options, tuned_otherwise
from pfir.compile.request import Goals
from pfir.compile.training.options import TrainOptions, parse_train
from pfir.errors import UsageError
from pfir.recipe import read_recipe, sha256
from pfir.target import parse_target
from tests.support.jobs import request, run, small_net, write_data, write_model

HOST = parse_target("host")


@pytest.fixture(scope="module")
def recipe(finished):
    return finished / "recipe.json"


@pytest.fixture(scope="module")
def taught(model, tmp_path_factory):
    """The folder of a run whose training is kept, and the data that it learnt from."""
    folder = tmp_path_factory.mktemp("taught")
    options = {"data": str(write_data(folder, count=240)), "epochs": 2, "trials": 2, "goals": Goals(macs=0.5)}
    run(model, folder / "out", train=parse_train("lr=0.002"), **options)
    return folder / "out", options


def test_a_recipe_replays_byte_identically_without_search_or_training(
    recipe, finished, model, data, tmp_path, monkeypatch
):
    for name in ("measured_search.search_for", "selection.fine_tune", "choosing.search_context_for"):
        monkeypatch.setattr(f"pfir.compile.selection.{name}", lambda *_: pytest.fail("not in a replay"))
    report = run(model, tmp_path / "out", data=data, recipe=recipe, epochs=2).report
    for name in ("model.onnx", "weights.npz"):
        assert (tmp_path / "out" / name).read_bytes() == (finished / name).read_bytes()
    assert report["search"]["trials"] == 0 and report["training"] == []
    assert report["result"]["accuracy"] == json.loads((finished / "report.json").read_text())["result"]["accuracy"]


def test_a_replay_can_be_replayed(recipe, finished, model, tmp_path):
    first = run(model, tmp_path / "first", recipe=recipe).folder
    run(model, tmp_path / "second", recipe=first / "recipe.json")
    assert (tmp_path / "second/model.onnx").read_bytes() == (finished / "model.onnx").read_bytes()


def test_a_run_tells_which_kernels_were_measured_and_a_replay_by_others_says_so(model, tmp_path):
    mine = tmp_path / "mine.json"
    kernel = tune_module._kernels(Tune((model,), "host"), HOST)[0]
    add(mine, HOST, {kernel.name: Entry(kernel.candidates[1], 1.1)})
    options = {"backend": "tvm", "target": "host", "passes": "simplify", "goals": Goals(macs=0.9), "verify": "none"}
    tuned = run(model, tmp_path / "a", tuned=str(mine), depfile=tmp_path / "made.d", **options).report["tuned"]
    assert {"name": "mine.json", "sha256": sha256(mine.read_bytes()), "kernels": 1} in tuned["databases"]
    assert str(mine) in (tmp_path / "made.d").read_text()
    for name in ("manifest.json", "recipe.json", "report.json"):
        assert json.loads((tmp_path / "a" / name).read_text())["tuned"] == tuned
    assert f"mine.json {sha256(mine.read_bytes())[:12]}" in (tmp_path / "a/report.html").read_text()
    recipe = tmp_path / "a/recipe.json"
    assert tuned_otherwise(request(model, tmp_path, recipe=recipe), read_recipe(recipe).tuning) == ()
    notes = run(model, tmp_path / "b", recipe=recipe, tuned="none", **options).report["notes"]
    assert any("not the recipe's: it was built by other measured kernels" in note for note in notes)
    assert (tmp_path / "b/model.so").read_bytes() != (tmp_path / "a/model.so").read_bytes()


def test_a_replay_needs_no_data(recipe, finished, model, tmp_path):
    run(model, tmp_path / "out", recipe=recipe)
    assert (tmp_path / "out/model.onnx").read_bytes() == (finished / "model.onnx").read_bytes()


def test_retraining_keeps_the_channels_and_trains_anew(recipe, finished, model, data, tmp_path):
    report = run(model, tmp_path / "out", data=data, recipe=recipe, retrain=True, epochs=1).report
    again, before = (json.loads((f / "recipe.json").read_text()) for f in (tmp_path / "out", finished))
    assert again["removed"] == before["removed"] and report["search"]["trials"] == 0
    assert len(report["training"]) == 1


@pytest.mark.parametrize("epochs", [2, 3])
def test_retraining_gives_the_same_weights_or_says_what_is_other(taught, model, tmp_path, epochs):
    folder, options = taught
    asked = {**options, "recipe": folder / "recipe.json", "retrain": True, "epochs": epochs}
    report = run(model, tmp_path / "out", **asked).report
    said = [note for note in report["notes"] if "The training is not the recipe's" in note]
    if epochs == 2:
        assert (tmp_path / "out/model.onnx").read_bytes() == (folder / "model.onnx").read_bytes() and not said
    else:
        assert "epochs 3 in place of 2" in said[0]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, None),
        ({"engine": "jax"}, 'engine "jax" in place of '),
        ({"processes": 2, "compression": "ecq"}, 'processes 2 in place of 1, compression "ecq" in place of "none"'),
        ({"timed": True}, "rates by the clock"),
        ({"unheard of": 1}, None),
    ],
)
def test_a_training_that_is_not_the_recipe_s_is_told_apart(taught, model, tmp_path, changed, said):
    recipe = taught[0] / "recipe.json"
    asked = request(model, tmp_path, recipe=recipe, retrain=True)
    (note,) = retrained_otherwise(asked, {**read_recipe(recipe).training, **changed}) or ("",)
    assert said in note if said else not note
    assert retrained_otherwise(request(model, tmp_path, recipe=recipe), changed) == ()


def test_other_versions_of_what_trains_are_told(taught, model, tmp_path):
    content = json.loads((taught[0] / "recipe.json").read_text())
    content["versions"]["numpy"] = "0.1"
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    asked = request(model, tmp_path, recipe=tmp_path / "recipe.json", retrain=True)
    (note,) = retrained_otherwise(asked, content["training"])
    assert ' in place of "0.1"' in note


def test_retraining_trains_as_a_user_had_said(model, tmp_path):
    data = write_data(tmp_path, count=240)
    options = {"data": str(data), "epochs": 2, "trials": 2, "goals": Goals(macs=0.5)}
    said = parse_train("lr=0.002,batch=16,momentum=0.8,ema=0.2")
    run(model, tmp_path / "first", train=said, **options)
    training = json.loads((tmp_path / "first/recipe.json").read_text())["training"]
    assert training["given"] == said.text() and training["averaged"] and training["momentum"] == 0.8
    again = {"recipe": tmp_path / "first/recipe.json", "retrain": True, **options}
    run(model, tmp_path / "second", **again)
    assert (tmp_path / "second/model.onnx").read_bytes() == (tmp_path / "first/model.onnx").read_bytes()
    run(model, tmp_path / "third", train=parse_train("lr=0.002,batch=16"), **again)
    assert json.loads((tmp_path / "third/recipe.json").read_text())["training"]["momentum"] == 0.9


def test_what_was_said_is_read_from_the_training_of_a_quantized_model_too(recipe, model, tmp_path):
    content = json.loads(recipe.read_text())
    content["quantized"] = {"text": "quantize-uniform", "left_in_float": [], "training": {"given": "lr=0.5"}}
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    asked = request(model, tmp_path, recipe=tmp_path / "recipe.json", retrain=True)
    assert train_options(asked) == parse_train("lr=0.5")
    assert train_options(request(model, tmp_path)) == TrainOptions()


@pytest.mark.parametrize(
    ("compiled", "why_not", "decided"),
    [
        ((True,), None, {"compile": "always"}),
        ((True,), "there is no compiler", {}),
        ((False, False), None, {"compile": "never"}),
        ((True, False), None, {}),
        ((), None, {}),
    ],
)
def test_steps_are_compiled_again_as_they_were(recipe, model, tmp_path, monkeypatch, compiled, why_not, decided):
    content = json.loads(recipe.read_text())
    content["training"].pop("compiled", None)
    trainings = [content["training"], {}]
    for training, was in zip(trainings, compiled, strict=False):
        training["compiled"] = was
    content["quantized"] = {"text": "quantize-uniform", "left_in_float": [], "training": trainings[1]}
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    monkeypatch.setattr(replay, "why_not_compiled", lambda engine, several: why_not)
    asked = request(model, tmp_path, recipe=tmp_path / "recipe.json", retrain=True)
    assert train_options(asked).decided == decided
    assert train_options(dataclasses.replace(asked, epochs=1, train=parse_train("compile=auto"))).decided == {}


def test_a_recipe_of_kept_nodes_and_passes_replays(model, tmp_path):
    options = {"keep": ("Conv_1",), "passes": "remove-dead-channels,prune-channels{ratio=0.5}"}
    run(model, tmp_path / "a", **options)
    run(model, tmp_path / "b", recipe=tmp_path / "a/recipe.json", **options)
    assert (tmp_path / "b/model.onnx").read_bytes() == (tmp_path / "a/model.onnx").read_bytes()


def test_a_recipe_that_removed_nothing_replays(model, tmp_path):
    options = {"passes": "simplify", "goals": Goals(macs=0.9)}
    run(model, tmp_path / "a", **options)
    run(model, tmp_path / "b", recipe=tmp_path / "a/recipe.json", goals=Goals(macs=0.9))
    assert (tmp_path / "b/model.onnx").read_bytes() == (tmp_path / "a/model.onnx").read_bytes()


def test_a_recipe_of_another_model_is_refused(recipe, tmp_path):
    other = write_model(tmp_path, small_net(seed=9), "other.onnx")
    with pytest.raises(UsageError, match="another model"):
        run(other, tmp_path / "out", recipe=recipe)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "removed", [{"Conv_99": [0]}, {"Conv_1": [99]}, {"Conv_1": [-1]}, {"Conv_1": list(range(16))}, {"Gemm_11": [0]}]
)
def test_a_recipe_with_channels_that_cannot_go_is_refused(removed, recipe, model, tmp_path):
    content = json.loads(recipe.read_text()) | {"removed": removed}
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    (tmp_path / "weights.npz").write_bytes(recipe.with_name("weights.npz").read_bytes())
    with pytest.raises(UsageError):
        run(model, tmp_path / "out", recipe=tmp_path / "recipe.json")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_recipe_are_refused(recipe, model, tmp_path):
    (tmp_path / "recipe.json").write_text(recipe.read_text())
    (tmp_path / "weights.npz").write_bytes(b"PK")
    with pytest.raises(UsageError, match="SHA-256 differs"):
        run(model, tmp_path / "out", recipe=tmp_path / "recipe.json")
