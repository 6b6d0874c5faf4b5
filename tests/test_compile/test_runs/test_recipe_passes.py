"""A recipe brings its own passes; --metric says what a drop is one of; --depfile names all that was read."""

from __future__ import annotations

import numpy as np
import onnx

from pfir.compile.request import Goals
from tests.support.jobs import images, run, small_net


def test_a_recipe_replays_without_the_passes_being_said_again(model, tmp_path):
    run(model, tmp_path / "a", passes="prune-channels{ratio=0.5 criterion=magnitude}")
    report = run(model, tmp_path / "b", recipe=tmp_path / "a/recipe.json").report
    assert (tmp_path / "b/model.onnx").read_bytes() == (tmp_path / "a/model.onnx").read_bytes()
    assert not any(p.startswith("remove-dead-channels") for p in report["passes"])


def test_a_drop_of_fidelity_needs_no_labels(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=images(64))
    goals = Goals(max_drop=10.0)
    done = run(model, tmp_path / "out", data=str(tmp_path / "x.npz"), metric="fidelity", goals=goals)
    assert done.met and done.report["result"]["fidelity"] >= 0.9 and done.report["result"]["accuracy"] is None


def test_the_depfile_names_external_data_and_the_recipe_with_its_weights(tmp_path):
    proto = small_net().to_proto()
    onnx.save(proto, tmp_path / "net.onnx", save_as_external_data=True, location="net.weights", size_threshold=0)
    net, goals, made = tmp_path / "net.onnx", Goals(speedup=1.2), tmp_path / "a"
    run(net, made, goals=goals, depfile=tmp_path / "a.d")
    assert (tmp_path / "a.d").read_text() == f"{made}/manifest.json: {net} {tmp_path}/net.weights\n"
    run(net, tmp_path / "b", goals=goals, depfile=tmp_path / "b.d", recipe=made / "recipe.json")
    assert (tmp_path / "b.d").read_text().endswith(f"{made}/recipe.json {made}/weights.npz\n")
