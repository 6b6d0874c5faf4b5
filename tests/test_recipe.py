import json
from dataclasses import replace

import numpy as np
import pytest

from pfir.artifact import Database, Tuning
from pfir.errors import UsageError
from pfir.recipe import QUANTIZED, Recipe, pack_weights, read_recipe, read_weights, sha256


def _written(folder, arrays):
    content = pack_weights(arrays)
    tuning = Tuning("core", 3, (Database("mine.json", "cd" * 32, 2),), "ef")
    parts, passes = {"removed": {"conv/1": [0, 3]}}, ("prune-channels{ratio=0.5}",)
    recipe = Recipe("ab" * 32, parts, passes, {"epochs": 2}, sha256(content), 7, tuning=tuning)
    (folder / "recipe.json").write_text(recipe.to_json())
    (folder / "weights.npz").write_bytes(content)
    return recipe


def test_a_recipe_reads_back_as_it_was_written(tmp_path):
    recipe = _written(tmp_path, {})
    assert read_recipe(tmp_path / "recipe.json") == recipe


def test_a_recipe_says_how_its_model_was_quantized(tmp_path):
    part = {"text": "quantize-uniform", "left_in_float": ["conv/1"], "training": {"epochs": 3}}
    recipe = replace(_written(tmp_path, {}), parts={"removed": {}, QUANTIZED: part})
    (tmp_path / "recipe.json").write_text(recipe.to_json())
    assert read_recipe(tmp_path / "recipe.json") == recipe
    (tmp_path / "recipe.json").write_text(recipe.to_json().replace("left_in_float", "left"))
    with pytest.raises(UsageError, match=r"not a recipe"):
        read_recipe(tmp_path / "recipe.json")


def test_recipes_from_before_tuning_was_told_are_read(tmp_path):
    content = json.loads(_written(tmp_path, {}).to_json())
    del content["tuned"]
    (tmp_path / "recipe.json").write_text(json.dumps(content))
    assert read_recipe(tmp_path / "recipe.json").tuning is None
    (tmp_path / "recipe.json").write_text(json.dumps({**content, "tuned": {"core": "x"}}))
    with pytest.raises(UsageError, match=r"not a recipe"):
        read_recipe(tmp_path / "recipe.json")


def test_weights_read_back_whatever_their_names(tmp_path):
    arrays = {"a/b:0": np.eye(3, dtype=np.float32), "file": np.arange(4), "../x\n": np.float16([1.5])}
    recipe = _written(tmp_path, arrays)
    found = read_weights(tmp_path / "recipe.json", recipe)
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[n], arrays[n]) and found[n].dtype == arrays[n].dtype for n in arrays)


def test_equal_weights_give_equal_bytes():
    assert pack_weights({"b": np.ones(2), "a": np.zeros(1)}) == pack_weights({"a": np.zeros(1), "b": np.ones(2)})


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", '{"format": 1}', '{"format": 1, "removed": 3}'])
def test_what_is_no_recipe_is_refused(tmp_path, text):
    (tmp_path / "recipe.json").write_text(text)
    with pytest.raises(UsageError, match=r"not a recipe"):
        read_recipe(tmp_path / "recipe.json")


def test_a_recipe_of_another_format_is_refused(tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({"format": 99}))
    with pytest.raises(UsageError, match="format 99"):
        read_recipe(tmp_path / "recipe.json")


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.json cannot be read"):
        read_recipe(tmp_path / "nowhere.json")


def test_missing_or_other_weights_are_refused(tmp_path):
    recipe = _written(tmp_path, {"w": np.ones(2)})
    (tmp_path / "weights.npz").write_bytes(pack_weights({"w": np.zeros(2)}))
    with pytest.raises(UsageError, match="SHA-256 differs"):
        read_weights(tmp_path / "recipe.json", recipe)
    (tmp_path / "weights.npz").unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        read_weights(tmp_path / "recipe.json", recipe)


@pytest.mark.parametrize("damage", [lambda b: b[:-30], lambda b: b[:90] + b[120:], lambda b: b"", lambda b: b"x"])
def test_weights_that_cannot_be_unpacked_are_refused_though_the_recipe_vouches_for_them(tmp_path, damage):
    recipe = _written(tmp_path, {"w": np.arange(40.0)})
    content = damage((tmp_path / "weights.npz").read_bytes())
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(UsageError, match=r"weights.npz, the weights of the recipe, cannot be unpacked"):
        read_weights(tmp_path / "recipe.json", replace(recipe, weights_sha256=sha256(content)))
