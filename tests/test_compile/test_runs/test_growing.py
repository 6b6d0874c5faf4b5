"""`sparsify-weights{gradual=true}` in `pfir compile`: zeros spread while the result is fine-tuned."""

import numpy as np
import pytest

from pfir.compile.request import Goals
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.train.engines.choice import ort_trains
from tests.support.jobs import run, write_data

TEXT = "prune-channels{ratio=0.25},sparsify-weights{sparsity=0.75 gradual=true}"
SIZE = Goals(size=2.0)

pytestmark = pytest.mark.skipif(not ort_trains(), reason="ONNX Runtime cannot train here")


@pytest.fixture(scope="module")
def many(place):
    return str(write_data(place, count=400, name="many.npz"))


@pytest.fixture(scope="module")
def grown(place, model, many):
    return run(model, place / "grown", passes=TEXT, data=many, goals=SIZE, epochs=8)


def _zeros(folder):
    held = load(folder / "model.onnx").initializers().values()
    weights = [t.values for t in held if t.values.ndim == 4 and t.values.shape[1] >= 4]
    return weights, [float(np.mean(w == 0)) for w in weights]


def test_the_result_was_trained_and_has_its_zeros(grown):
    weights, shares = _zeros(grown.folder)
    assert len(weights) == 2 and all(abs(share - 0.75) < 0.01 for share in shares)
    assert not any(np.signbit(w[w == 0]).any() for w in weights)
    assert grown.report["passes"][-1] == "sparsify-weights{sparsity=0.75 gradual=true}"
    assert "fine-tune" in load(grown.folder / "model.onnx").provenance


def test_losses_rise_as_zeros_spread_and_fall_again(grown):
    losses = [epoch["loss"] for epoch in grown.report["training"]]
    assert max(losses[1:]) > losses[-1]


def test_a_recipe_makes_the_same_again(grown, model, tmp_path):
    again = run(model, tmp_path / "out", recipe=grown.folder / "recipe.json", goals=SIZE)
    for file in ("model.onnx", "weights.npz", "model.pfir"):
        assert (again.folder / file).read_bytes() == (grown.folder / file).read_bytes()


def test_a_recipe_s_zeros_are_grown_again(grown, model, many, tmp_path):
    options = {"recipe": grown.folder / "recipe.json", "retrain": True, "data": many, "epochs": 4}
    again = run(model, tmp_path / "out", goals=SIZE, **options)
    assert again.report["passes"] == grown.report["passes"]
    assert all(abs(share - 0.75) < 0.01 for share in _zeros(again.folder)[1])


def test_without_training_zeros_are_made_at_once(model, many, tmp_path):
    done = run(model, tmp_path / "out", passes=TEXT, data=many, goals=SIZE)
    assert all(abs(share - 0.75) < 0.01 for share in _zeros(done.folder)[1])
    assert not done.report["training"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sparsify-weights{gradual=true}", "needs its sparsity"),
        ("sparsify-weights{sparsity=0.5 gradual=true},prune-channels", "behind what else changes weights"),
    ],
)
def test_where_zeros_cannot_spread_one_line_says_why(text, said, model, many, tmp_path):
    with pytest.raises(UsageError, match=said):
        run(model, tmp_path / "out", passes=text, data=many, goals=SIZE)
