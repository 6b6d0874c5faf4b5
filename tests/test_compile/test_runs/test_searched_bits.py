"""Bits of weights that the search chooses beside channels and zeros, of codebooks and of integers."""

import numpy as np
import pytest

from pfir.compile.request import Goals
from pfir.errors import Infeasible
from pfir.frontends import load
from pfir.ir.constants.codebooks import codebook_weights
from pfir.passes.quantization.qdq.integer_layers import integer_layers
from tests.support.jobs import run

EIGHT = Goals(size=8.0)
PASSES = {
    "codebooks and zeros": "prune-channels,sparsify-weights,quantize-codebook{bits=none}",
    "integers": "prune-channels,quantize-uniform{weight_bits=none}",
}


@pytest.fixture(scope="module", params=PASSES, ids=PASSES)
def done(request, place, model, data):
    """A run that is to be eight times smaller."""
    folder = place / request.param.replace(" ", "_")
    return run(model, folder, passes=PASSES[request.param], data=data, goals=EIGHT, precision="auto", trials=3)


def _is_small(report, size):
    files = report["files"]
    return files["packed_bytes"] * size <= files["original_bytes"]


def test_the_packed_file_meets_the_goal(done):
    assert done.met and _is_small(done.report, EIGHT.size)


def test_layers_have_the_bits_that_were_chosen(done):
    built = load(done.folder / "model.onnx")
    *before, last = done.report["passes"]
    if last.startswith("quantize-codebook"):
        assert last.startswith("quantize-codebook{bits=none layer_bits=") and list(codebook_weights(built.graph))
    else:
        stated = dict(part.rsplit(":", 1) for part in last.split("layer_bits=")[1].split(" ")[0].rstrip("}").split(","))
        held = built.initializers()
        largest = {x.node: int(np.abs(held[x.integers].values.astype(int)).max()) for x in integer_layers(built)}
        assert largest.keys() == stated.keys() and min(map(int, stated.values())) < 8
        assert all(value < 2 ** (int(stated[name]) - 1) for name, value in largest.items())


def test_a_recipe_makes_the_same_again(done, model, tmp_path):
    again = run(model, tmp_path / "out", recipe=done.folder / "recipe.json", goals=EIGHT)
    for file in ("model.onnx", "weights.npz", "model.pfir"):
        assert (again.folder / file).read_bytes() == (done.folder / file).read_bytes()


def test_bits_join_where_a_goal_of_size_stands_beside_one_of_speed(model, data, tmp_path):
    goals = Goals(speedup=1.5, size=9.0)
    done = run(model, tmp_path / "out", data=data, goals=goals, precision="auto", trials=3)
    assert done.met and _is_small(done.report, goals.size)
    assert done.report["speedup"] >= 1.49
    assert any(text.startswith(("quantize-codebook", "quantize-uniform")) for text in done.report["passes"])


def test_a_size_beyond_the_fewest_bits_is_refused(model, data, tmp_path):
    with pytest.raises(Infeasible, match=r"out of reach by .*bits: at most \d+\.\d\dx smaller \(.* packed\)"):
        run(model, tmp_path / "out", passes="quantize-codebook{bits=none}", data=data, goals=Goals(size=500.0))
