import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from pfir.compile import delivery
from pfir.compile.delivery import check_depfile, is_met, size_notes
from pfir.compile.request import Goals
from pfir.errors import UsageError, VerifyError
from pfir.measurement import ESTIMATED, Measurement
from pfir.passes.spec import parse
from pfir.report.record import Side
from pfir.report.weights import Files
from tests.support.jobs import request, run, small_net, write_model

BEFORE = Side(Measurement(1.0, ESTIMATED, "test"), 1000, 100, 400, 10, accuracy=0.9, fidelity=1.0)
AFTER = replace(
    BEFORE, latency=Measurement(0.5, ESTIMATED, "test"), macs=500, size_bytes=100, accuracy=0.89, fidelity=0.95
)
FILES = Files(original_bytes=450, result_bytes=150, packed_bytes=112)
"""What a size is judged by is 4.02 times smaller, though weights are 4 times smaller and the ONNX file 3 times."""


@pytest.mark.parametrize(
    ("goals", "met"),
    [
        (Goals(speedup=2.0), True),
        (Goals(speedup=2.2), False),
        (Goals(latency_s=0.5), True),
        (Goals(latency_s=0.4), False),
        (Goals(size=4.0), True),
        (Goals(size=5.0), False),
        (Goals(macs=0.5), True),
        (Goals(macs=0.4), False),
        (Goals(max_drop=1.0), True),
        (Goals(max_drop=0.9), False),
        (Goals(speedup=2.0, max_drop=0.5), False),
    ],
    ids=lambda v: v.text() if isinstance(v, Goals) else None,
)
def test_a_result_meets_its_goals_or_not(goals, met):
    assert is_met(goals, BEFORE, AFTER, FILES) is met


def test_a_size_that_only_the_bits_of_weights_reach_is_not_met_and_told():
    larger = replace(FILES, packed_bytes=150, graph_bytes=80)
    assert not is_met(Goals(size=4.0), BEFORE, AFTER, larger)
    (note,) = size_notes(Goals(size=4.0), BEFORE, AFTER, larger)
    assert "4.00x fewer bits" in note and "3.00x smaller" in note
    assert size_notes(Goals(size=4.0), BEFORE, AFTER, FILES) == size_notes(Goals(macs=0.5), BEFORE, AFTER, larger) == ()


def test_without_accuracy_a_drop_is_one_of_fidelity():
    blind = replace(AFTER, accuracy=None)
    assert is_met(Goals(max_drop=5.0), BEFORE, blind, FILES)
    assert not is_met(Goals(max_drop=4.9), BEFORE, blind, FILES)


def test_the_manifest_lists_every_file_with_its_hash(finished):
    listed = json.loads((finished / "manifest.json").read_text())["files"]
    assert listed.keys() == {p.name for p in finished.iterdir()} - {"manifest.json"}
    for name, entry in listed.items():
        content = (finished / name).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["size_bytes"], entry["sha256"])


def test_layers_add_up_to_the_latency_and_name_what_got_faster(report):
    layers = report["layers"]
    assert sum(x["before_s"] for x in layers) == pytest.approx(report["baseline"]["latency_s"])
    assert sum(x["after_s"] or 0 for x in layers) == pytest.approx(report["result"]["latency_s"])
    assert {"Conv_1", "Conv_4", "Conv_7"} <= {x["name"] for x in layers}
    assert layers[0]["before_s"] == max(x["before_s"] for x in layers)
    assert report["goals"] == {"speedup": 2.0}


def test_the_recipe_tells_the_passes_in_their_own_words(finished, report):
    recipe = json.loads((finished / "recipe.json").read_text())
    assert recipe["passes"] == report["passes"] and len(parse(",".join(recipe["passes"]))) == 4
    assert sum(map(len, recipe["removed"].values())) == sum(w["before"] - w["after"] for w in report["widths"])
    was_dropped = any("was dropped" in note for note in report["notes"])
    assert recipe["training"].get("epochs") == (None if was_dropped else 2)


def test_the_depfile_names_what_was_read(finished, place, model, data):
    assert (place / "made.d").read_text() == f"{finished}/manifest.json: {model} {data}\n"


def test_names_in_a_depfile_are_escaped(tmp_path):
    folder = tmp_path / "my $net #1"
    folder.mkdir()
    path = write_model(folder, small_net())
    run(path, folder / "out", depfile=tmp_path / "made.d", passes="simplify")
    escaped = str(folder).replace("$", "$$").replace(" ", "\\ ").replace("#", "\\#")
    assert (tmp_path / "made.d").read_text() == f"{escaped}/out/manifest.json: {escaped}/net.onnx\n"


@pytest.mark.parametrize("name", ["no/made.d", "."])
def test_a_depfile_that_cannot_be_is_refused_before_any_work(name, tmp_path):
    with pytest.raises(UsageError, match="--depfile"):
        check_depfile(request(Path("x"), tmp_path, depfile=tmp_path / name))


def test_a_depfile_that_cannot_be_written_any_more_is_told(model, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(delivery.Path, "write_text", refuse)
    with pytest.raises(UsageError, match="made.d cannot be written: No space left"):
        run(model, tmp_path / "out", depfile=tmp_path / "made.d", passes="simplify")


def test_a_result_that_onnx_runtime_does_not_open_is_not_delivered(monkeypatch):
    monkeypatch.setattr(delivery, "refusal", lambda data: f"{data.decode()} is not to its taste")
    model = SimpleNamespace(to_bytes=lambda: b"this")
    chosen = SimpleNamespace(fine_tuned=SimpleNamespace(model=model))
    with pytest.raises(VerifyError, match="does not open the result, so nothing is written: this is not to its taste"):
        delivery.deliver(None, delivery.Delivery(chosen, None, None, None, None, None), None)
