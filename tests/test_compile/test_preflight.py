"""What is wrong with the options is found before the model is loaded."""

from pathlib import Path

import pytest

from pfir.compile import flow
from pfir.compile.request import Goals, Request
from pfir.errors import UsageError
from pfir.report.progress import Silent
from tests.support.jobs import run


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"target": "amr"}, "did you mean arm"),
        ({"device": "phone"}, "phone"),
        ({"backend": "tvm", "tuned": "nosuch.json"}, "nosuch.json"),
        ({"passes": "prune"}, "prune"),
        ({"data": "x.npz", "preprocess": "nicely"}, "nicely"),
        ({"depfile": Path("/nowhere/at/all.d")}, "depfile"),
        ({"recipe": Path("nosuch.json")}, "nosuch.json"),
        ({"precision": "float16", "backend": "tvm"}, "fp16"),
        ({"output": Path(__file__)}, "name a folder"),
        ({"output": Path(__file__).parent}, "not empty"),
    ],
)
def test_wrong_options_are_refused_before_the_model_is_loaded(options, word, tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "prepare", lambda *_: pytest.fail("the model was loaded"))
    options = {"output": tmp_path / "out", **options}
    with pytest.raises(UsageError, match=word):
        run(tmp_path / "nosuch.onnx", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_cannot_be_used_leaves_an_interrupted_run_as_it_was(tmp_path):
    state = tmp_path / "out" / ".pfir"
    state.mkdir(parents=True)
    (state / "search.jsonl").write_text("{}\n{}\n")
    with pytest.raises(Exception, match="does not exist"):
        run(tmp_path / "nosuch.onnx", tmp_path / "out", force=True)
    assert (state / "search.jsonl").read_text() == "{}\n{}\n"


def test_a_recipe_is_replayed_without_a_goal(model, plain, tmp_path):
    asked = Request(model, "arm", Goals(), tmp_path / "again", backend="ort", recipe=plain / "recipe.json", jobs=1)
    done = flow.compile_model(asked, Silent())
    assert done.met and done.report["goal"] == "no goal"
    assert (tmp_path / "again/model.onnx").read_bytes() == (plain / "model.onnx").read_bytes()
