"""`--passes quantize-codebook`: found behind the channels, trained, and made again by a recipe."""

import numpy as np
import pytest

from pfir.compile.request import Goals
from pfir.errors import Infeasible
from pfir.frontends import load
from pfir.ir.constants.codebooks import codebook_weights
from tests.support.jobs import run

SIZE = Goals(size=2.0)


@pytest.fixture(scope="module")
def coded(place, model, data):
    """A run that prunes, gives codebooks of two bits, and trains them."""
    text = "prune-channels{ratio=0.25},quantize-codebook{average_bits=2}"
    return run(model, place / "coded", passes=text, data=data, goals=SIZE, epochs=8)


def test_the_result_has_codebooks_that_were_trained_behind_the_channels(coded):
    weights = list(codebook_weights(load(coded.folder / "model.onnx").graph))
    assert weights and np.average([w.bits for w in weights], weights=[w.values.size for w in weights]) <= 2.1
    stages = [stage["name"] for stage in coded.report["stages"]]
    assert stages.index("fine-tune") < stages.index("find codebooks") < stages.index("train codebooks")
    assert any("codebooks" in note for note in coded.report["notes"])
    assert coded.report["passes"][-1].startswith("quantize-codebook{bits=none layer_bits=")
    assert coded.report["result"]["size_bytes"] < coded.report["baseline"]["size_bytes"] / 6


def test_a_search_leaves_the_channels_that_codebooks_have_room_for(model, data, tmp_path):
    text, goals = "prune-channels,quantize-codebook{bits=4}", Goals(size=8.0)
    done = run(model, tmp_path / "out", passes=text, data=data, goals=goals)
    kept = done.report["result"]["parameters"] / done.report["baseline"]["parameters"]
    assert done.met and done.report["files"]["packed_bytes"] * 8 <= done.report["files"]["original_bytes"]
    assert kept > 0.5  # of floats an eighth may stay
    with pytest.raises(Infeasible, match=r"out of reach by pruning: at most \d+\.\d\dx smaller \(.* packed\)"):
        run(model, tmp_path / "none", passes=text, data=data, goals=Goals(size=5000.0))


def test_a_recipe_makes_the_same_codebooks_again(coded, model, tmp_path):
    again = run(model, tmp_path / "out", recipe=coded.folder / "recipe.json", goals=SIZE)
    for name in ("model.onnx", "weights.npz"):
        assert (again.folder / name).read_bytes() == (coded.folder / name).read_bytes()


def test_a_recipe_s_channels_are_given_codebooks_again(coded, model, data, tmp_path):
    made = run(model, tmp_path / "out", data=data, recipe=coded.folder / "recipe.json", retrain=True, goals=SIZE)
    assert made.report["passes"][-1] == coded.report["passes"][-1]
