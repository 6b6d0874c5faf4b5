"""How the channels are chosen: by goals, by --passes, within a drop, around nodes that stay."""

import json
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from pfir.compile import deadline, stages
from pfir.compile.measuring.evaluator import Evaluator
from pfir.compile.request import Goals
from pfir.compile.selection.search_context import search_context_for
from pfir.devices import open_device
from pfir.errors import DataError, Infeasible, UsageError
from pfir.frontends import load
from pfir.report.wording import headline
from pfir.run.evaluate import reference
from pfir.search import searching
from pfir.train import trainer
from tests.support.jobs import images, run
from tests.test_compile.test_selection.search_context import run_context


def _widths(outcome):
    return {w["group"]: (w["before"], w["after"]) for w in outcome.report["widths"]}


@pytest.mark.parametrize(
    "goals",
    [Goals(size=3.0), Goals(macs=0.4), Goals(latency_s=1.5e-4), Goals(speedup=1.5, size=2.0)],
    ids=lambda g: g.text(),
)
def test_each_goal_is_met_by_its_own_figure(goals, model, tmp_path):
    report = run(model, tmp_path / "out", goals=goals).report
    before, after = report["baseline"], report["result"]
    assert report["met"]
    files = report["files"]
    assert goals.size is None or files["original_bytes"] >= goals.size * files["packed_bytes"]
    assert goals.macs is None or after["macs"] <= goals.macs * before["macs"] * 1.005
    assert goals.latency_s is None or after["latency_s"] <= goals.latency_s * 1.005
    assert goals.speedup is None or before["latency_s"] >= goals.speedup * after["latency_s"] / 1.005


def test_widths_are_multiples_of_the_vector_width(plain):
    widths = [(w["before"], w["after"]) for w in json.loads((plain / "report.json").read_text())["widths"]]
    assert all(after % 4 == 0 for _, after in widths)
    assert any(after < before for before, after in widths)


def test_a_fixed_ratio_applies_to_every_group_without_search(model, tmp_path):
    done = run(model, tmp_path / "out", passes="prune-channels{ratio=0.5}")
    assert _widths(done) == {"Conv_1": (16, 8), "Conv_4": (24, 12), "Conv_7": (32, 16)}
    assert done.report["search"]["trials"] == 0 and not (tmp_path / "out/search.jsonl").exists()


def test_ratios_by_group_touch_no_other_group(model, tmp_path):
    done = run(model, tmp_path / "out", passes='prune-channels{ratios="Conv_4":0.5,Conv_7:0.25 align=1}')
    assert _widths(done) == {"Conv_1": (16, 16), "Conv_4": (24, 12), "Conv_7": (32, 24)}


def test_a_share_of_the_macs_is_kept_without_search(model, tmp_path):
    report = run(model, tmp_path / "out", passes="prune-channels{macs=0.5}", goals=Goals(macs=0.5)).report
    assert report["met"] and report["search"]["trials"] == 0


def test_passes_without_pruning_change_no_width_and_miss_the_goal(model, tmp_path):
    done = run(model, tmp_path / "out", passes="simplify")
    assert not done.met and _widths(done) == {}
    assert any("names no prune-channels" in note for note in done.report["notes"])
    assert done.report["result"]["fidelity"] == 1.0 and (tmp_path / "out/model.onnx").exists()


def test_ratios_that_a_pass_leaves_open_are_searched(model, tmp_path):
    report = run(model, tmp_path / "out", passes="remove-dead-channels,prune-channels{criterion=magnitude}").report
    assert report["met"] and report["search"]["trials"] in (4, 4 + 4), "fitted ones are searched where fitting helps"


@pytest.mark.parametrize(
    ("passes", "word"),
    [
        ("prune", "prune"),
        ("prune-channels{ratio=2}", "ratio"),
        ("prune-channels{ratios=Conv_99:0.5}", "Conv_99"),
        ("prune-channels{ratio=0.5},simplify", "last"),
        ("", "pass"),
        ("prune-channels{ratio=0.5", "end"),
    ],
)
def test_passes_that_cannot_be_read_or_applied_are_refused(passes, word, model, tmp_path):
    with pytest.raises(UsageError, match=word):
        run(model, tmp_path / "out", passes=passes)
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_stays_as_wide_as_it_was(model, tmp_path):
    done = run(model, tmp_path / "out", keep=("Conv_4",), goals=Goals(macs=0.7))
    assert "Conv_4" not in _widths(done)
    weights = {n.name: n.inputs[1].values.shape for n in load(tmp_path / "out/model.onnx").nodes() if n.op == "Conv"}
    assert weights["Conv_4"][0] == 24 and _widths(done)
    assert any(k["node"] == "Conv_4" for k in done.report["kept"])


def test_only_what_is_named_is_pruned(model, tmp_path):
    widths = _widths(run(model, tmp_path / "out", only=("Conv_7",), goals=Goals(size=1.2)))
    assert widths.keys() == {"Conv_7"} and widths["Conv_7"][1] < 32


def test_keeping_everything_leaves_nothing_to_prune(model, tmp_path):
    with pytest.raises(Infeasible, match="no channel"):
        run(model, tmp_path / "out", keep=("Conv_1", "Conv_4", "Conv_7"))


@pytest.mark.parametrize("kept", [(), ("Conv_1", "Conv_4", "Conv_7")], ids=["free", "all kept"])
def test_a_latency_that_the_model_keeps_already_costs_no_channel(kept, model, tmp_path, monkeypatch):
    monkeypatch.setattr("pfir.compile.selection.measured_search.search_for", lambda *_: pytest.fail("a trial was made"))
    done = run(model, tmp_path / "out", keep=kept, goals=Goals(latency_s=10.0))
    assert done.met and done.report["result"]["macs"] == done.report["baseline"]["macs"]
    assert headline(done.report).startswith("nothing was removed: the model already meets the goal")


def test_ratios_that_were_given_apply_though_the_goal_is_met_already(model, tmp_path):
    done = run(model, tmp_path / "out", passes="prune-channels{ratio=0.5}", goals=Goals(latency_s=10.0))
    assert done.report["result"]["macs"] < done.report["baseline"]["macs"]


def test_the_fastest_model_within_a_drop_loses_no_more(model, data, tmp_path):
    done = run(model, tmp_path / "out", data=data, goals=Goals(max_drop=20.0))
    assert done.met and done.report["accuracy_drop"] <= 0.2 + 1e-9 and done.report["speedup"] > 1.5


def test_a_larger_drop_allows_no_slower_model(model, data, tmp_path):
    small, large = (
        run(model, tmp_path / str(d), data=data, goals=Goals(max_drop=d)).report["speedup"] for d in (0.0, 100.0)
    )
    assert large >= small and large > 4


def test_a_drop_without_labels_is_refused(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=images(40))
    with pytest.raises(DataError, match="no labels"):
        run(model, tmp_path / "out", data=str(tmp_path / "x.npz"), goals=Goals(max_drop=1.0))


def test_a_device_that_measures_slower_than_estimated_is_searched_again(model, tmp_path, monkeypatch):
    asked = []

    def excess(self, candidate, baseline, precision):
        asked.append(candidate)
        return 1.2 if len(asked) == 1 else 0.9

    monkeypatch.setattr(Evaluator, "excess", excess)
    done = run(model, tmp_path / "out", goals=Goals(speedup=1.5))
    names = [s["name"] for s in done.report["stages"]]
    assert "search again (2)" in names and (tmp_path / "out/2.search.jsonl").exists()
    assert done.report["speedup"] >= 1.5 * 1.2
    assert "2.search.jsonl" in json.loads((tmp_path / "out/manifest.json").read_text())["files"]


def test_a_limit_tightened_beyond_reach_delivers_the_best_that_was_found(model, tmp_path, monkeypatch):
    monkeypatch.setattr("pfir.compile.measuring.evaluator.Evaluator.excess", lambda *_: 50.0)
    done = run(model, tmp_path / "out", goals=Goals(speedup=1.5))
    assert [s["name"] for s in done.report["stages"]].count("search again (2)") == 1
    assert any("50.00 times the latency that the goal allows" in note for note in done.report["notes"])
    assert (tmp_path / "out/model.onnx").exists()


def test_of_several_searches_the_one_that_measured_nearest_is_delivered(model, tmp_path, monkeypatch):
    measured = {}

    def excess(self, candidate, baseline, precision):
        return measured.setdefault(id(candidate), (1.4, 1.1, 1.2)[min(len(measured), 2)])

    monkeypatch.setattr("pfir.compile.measuring.evaluator.Evaluator.excess", excess)
    done = run(model, tmp_path / "out", goals=Goals(speedup=1.2))
    assert any("measured 1.10 times the latency" in note for note in done.report["notes"])


def test_with_trials_and_epochs_given_no_clock_changes_the_model(model, data, tmp_path, monkeypatch):
    once = run(model, tmp_path / "calm", data=data, epochs=1).folder
    now = iter(range(0, 10**9, 1000))  # a thousand seconds between any two looks at the clock
    hasty = SimpleNamespace(monotonic=lambda: float(next(now)), perf_counter=time.perf_counter)
    for module in (deadline, stages, searching, trainer):
        monkeypatch.setattr(module, "time", hasty)
    again = run(model, tmp_path / "hasty", data=data, epochs=1).folder
    assert (again / "model.onnx").read_bytes() == (once / "model.onnx").read_bytes()


def test_the_original_teaches_even_behind_a_lossy_pass(model):
    start = run_context(model)
    damaged = start.models.start.clone()
    first = next(n for n, t in damaged.initializers().items() if t.values.ndim == 4)
    damaged.set_arrays({first: 0 * damaged.initializers()[first].values})
    prepared = replace(start.prepared, models=replace(start.models, start=damaged))
    evaluator = Evaluator(start.backend, open_device(None, start.target), start.target, start.request)
    found = search_context_for(prepared, start.request, evaluator, start.samples)
    assert found.models.teacher is start.models.baseline
    answers = reference(start.models.baseline, found.score.data).outputs
    for name, expected in answers.items():
        np.testing.assert_array_equal(found.score.reference.outputs[name], expected)
