"""`--size` alone: codebooks and zeros before channels, by the packed file, and made again by a recipe."""

import pytest

from pfir.compile.request import Goals
from pfir.errors import Infeasible
from pfir.frontends import load
from pfir.ir.constants.codebooks import codebook_weights
from pfir.ir.costs.kept_weights import CODEBOOK
from pfir.report.terminal import lines
from tests.support.jobs import pinned_net, run, write_data, write_model

FOUR, NINE = Goals(size=4.0), Goals(size=9.0)


@pytest.fixture(scope="module")
def four(place, model, data):
    """A run for which codebooks suffice."""
    return run(model, place / "four", data=data, goals=FOUR, precision="auto")


@pytest.fixture(scope="module")
def nine(place, model, data):
    """A run for which codebooks of the fewest bits and zeros do not suffice."""
    return run(model, place / "nine", data=data, goals=NINE, precision="auto", epochs=2)


def _passes(done):
    return [text.partition("{")[0] for text in done.report["passes"]]


@pytest.mark.parametrize(("name", "size"), [("four", 4.0), ("nine", 9.0)])
def test_the_packed_file_meets_the_goal(name, size, request):
    done = request.getfixturevalue(name)
    files = done.report["files"]
    assert done.met and (done.folder / "model.pfir").stat().st_size == files["packed_bytes"]
    assert files["packed_bytes"] * size <= files["original_bytes"]


def test_a_size_that_bits_reach_before_the_file_does_costs_more_than_these_bits(model, data, tmp_path):
    done = run(model, tmp_path / "out", data=data, goals=Goals(size=10.0), precision="auto")
    files, tried = done.report["files"], {each["way"]: each for each in done.report["alone"]}
    assert done.met and files["packed_bytes"] * 10 <= files["original_bytes"]
    assert not tried["3 bits"]["meets"]  # 32 / 3 is more than ten


def test_codebooks_that_suffice_cost_no_channel(four):
    assert _passes(four)[-1] == "quantize-codebook" and "sparsify-weights" not in _passes(four)
    assert four.report["search"]["trials"] == 0
    assert four.report["baseline"]["macs"] == four.report["result"]["macs"]


def test_channels_go_where_the_smallest_composition_is_too_large(nine):
    assert _passes(nine)[-3:] == ["prune-channels", "sparsify-weights", "quantize-codebook"]
    tried = {each["way"]: each for each in nine.report["alone"]}
    assert not tried["3 bits"]["meets"] and not tried["3 bits, 50 % zeros"]["meets"]


def test_the_report_tells_what_weights_are_kept_as(nine):
    before, after = nine.report["weights"]["before"], nine.report["weights"]["after"]
    assert set(before["bytes"]) == {"float32"} and after["bytes"][CODEBOOK] < before["bytes"]["float32"] / 8
    assert after["zeros"] > 0.4 > before["zeros"]
    assert {each["layer"] for each in after["layers"]} == {each["layer"] for each in before["layers"]}
    said = "\n".join(lines(nine.report, "out/"))
    assert "weights: " in said and "codebook" in said and "zeros" in said
    assert "% zeros" in (nine.folder / "report.html").read_text()


@pytest.mark.parametrize("name", ["four", "nine"])
def test_a_recipe_makes_the_same_again(name, request, model, tmp_path):
    done = request.getfixturevalue(name)
    again = run(model, tmp_path / "out", recipe=done.folder / "recipe.json", goals=NINE)
    for file in ("model.onnx", "weights.npz", "model.pfir"):
        assert (again.folder / file).read_bytes() == (done.folder / file).read_bytes()


@pytest.mark.parametrize("name", ["four", "nine"])
def test_a_recipe_s_composition_is_trained_again(name, request, model, data, tmp_path):
    done = request.getfixturevalue(name)
    options = {"recipe": done.folder / "recipe.json", "retrain": True, "data": data, "epochs": 1}
    again = run(model, tmp_path / "out", goals=NINE, **options)
    assert again.report["passes"] == done.report["passes"]
    assert list(codebook_weights(load(again.folder / "model.onnx").graph))


def test_a_size_that_nothing_reaches_is_refused_with_what_is_reached(model, data, tmp_path):
    with pytest.raises(Infeasible, match=r"out of reach by pruning, codebooks and zeros: at most \d+\.\d\dx smaller"):
        run(model, tmp_path / "out", data=data, goals=Goals(size=5000.0), precision="auto")
    assert Infeasible.exit_code == 4 and not (tmp_path / "out").exists()


def test_without_a_channel_that_may_go_codebooks_reach_what_they_can(tmp_path):
    model = write_model(tmp_path, pinned_net())
    options = {"data": str(write_data(tmp_path, pinned_net())), "precision": "auto"}
    with pytest.raises(Infeasible, match="out of reach by codebooks and zeros, and no channel may go: at most"):
        run(model, tmp_path / "out", goals=Goals(size=5000.0), **options)
    done = run(model, tmp_path / "out", goals=Goals(size=6.0), **options)
    assert done.met and _passes(done)[-1] == "quantize-codebook"
