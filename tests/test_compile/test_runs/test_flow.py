"""Whole runs: what is promised of every result."""

import json
import os

import numpy as np
import onnx
import pytest
from threadpoolctl import threadpool_limits

from pfir.compile import flow, workspace
from pfir.compile.request import Goals
from pfir.errors import DeviceError, Infeasible, UsageError, VerifyError
from pfir.frontends import load
from pfir.run.session import Session
from tests.support.jobs import images, run, write_model
from tests.support.net import Net
from tests.test_report.sample import PROMISED, SIDE, VERIFICATION


def test_the_report_has_every_key_that_others_rely_on(report):
    assert report.keys() >= PROMISED
    assert report["baseline"].keys() == report["result"].keys() >= SIDE
    assert report["verification"].keys() == VERIFICATION
    assert report["search"].keys() >= {"trials", "seconds"}
    assert all(stage.keys() == {"name", "seconds"} for stage in report["stages"])
    assert report["baseline"]["fidelity"] == 1.0 and report["baseline"]["latency_source"] == "estimated"


def test_the_goal_is_met_and_everything_is_delivered(finished, report):
    assert report["met"] and report["speedup"] * 1.005 >= 2.0
    assert report["speedup"] == pytest.approx(report["baseline"]["latency_s"] / report["result"]["latency_s"])
    assert report["verification"]["passed"] is None, "ONNX Runtime is not compared with itself"
    assert report["fidelity_data"] == "given"
    names = {"manifest.json", "model.onnx", "model.pfir", "recipe.json", "report.html", "report.json", "weights.npz"}
    assert {p.name for p in finished.iterdir()} == names | {"search.jsonl", "fitted.search.jsonl"}


def test_the_packed_model_is_the_delivered_one(finished, report, model):
    assert load(finished / "model.pfir").to_bytes() == (finished / "model.onnx").read_bytes()
    sizes = [path.stat().st_size for path in (model, finished / "model.onnx", finished / "model.pfir")]
    files = report["files"]
    assert [files[f"{name}_bytes"] for name in ("original", "result", "packed")] == sizes
    assert files["graph_bytes"] < sizes[2] < sizes[1] < sizes[0]


def test_accuracy_is_that_of_the_held_out_samples(report):
    assert report["baseline"]["accuracy"] == 1.0, "the data's labels are the model's own answers"
    drop = report["baseline"]["accuracy"] - report["result"]["accuracy"]
    assert report["accuracy_drop"] == pytest.approx(drop)
    assert any("measure the result and train nothing" in note for note in report["notes"])


def test_the_written_model_keeps_its_interface_and_is_what_the_report_says(finished, model, report):
    before, after = load(model), load(finished / "model.onnx")
    assert after.inputs() == before.inputs() and after.outputs() == before.outputs()
    proto = onnx.load(finished / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    assert sum(int(np.prod(w.dims)) for w in proto.graph.initializer) == report["result"]["parameters"]
    for count in (1, 3):
        assert Session(after).predict({"in0": images(count)})[after.outputs()[0].name].shape[0] == count


def test_two_runs_with_one_seed_give_the_same_model(finished, model, data, tmp_path):
    again = run(model, tmp_path / "out", data=data, epochs=2).folder
    for name in ("model.onnx", "weights.npz", "recipe.json"):
        assert (again / name).read_bytes() == (finished / name).read_bytes(), name


def test_the_number_of_cores_changes_no_score_and_no_byte(model, tmp_path):
    """Of a process that may use one core, and of children that it starts, BLAS has fewer threads than of others."""
    folders = []
    for threads in (1, 2):
        with threadpool_limits(threads, "blas"):
            folders.append(run(model, tmp_path / str(threads)).folder)
    scores = [[json.loads(t)["score"] for t in (f / "search.jsonl").read_text().splitlines()[1:]] for f in folders]
    assert scores[0] == scores[1] and len(scores[0]) == 4
    assert len({(f / "model.onnx").read_bytes() for f in folders}) == 1


def test_without_data_the_report_says_that_no_accuracy_was_measured(plain):
    report = json.loads((plain / "report.json").read_text())
    assert report["fidelity_data"] == "generated" and report["accuracy_drop"] is None
    assert report["baseline"]["accuracy"] is None and report["result"]["fidelity"] <= 1
    assert any("No data was given" in note for note in report["notes"])


def test_data_without_labels_serves_fidelity(model, tmp_path):
    np.savez(tmp_path / "x.npz", x=images(40))
    report = run(model, tmp_path / "out", data=str(tmp_path / "x.npz"), epochs=1).report
    assert report["fidelity_data"] == "given" and report["result"]["accuracy"] is None


def test_a_failed_verification_writes_nothing(model, tmp_path, monkeypatch):
    def mismatch(*_):
        raise VerifyError("output y differs")

    monkeypatch.setattr(flow, "verify_result", mismatch)
    with pytest.raises(VerifyError):
        run(model, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".pfir"], "finished trials stay, results do not appear"


@pytest.mark.parametrize("stage", ["choose", "verify_result", "host_latency", "deliver"])
def test_a_fault_in_any_stage_leaves_no_result(stage, model, tmp_path, monkeypatch):
    def fault(*_, **__):
        raise ZeroDivisionError(stage)

    monkeypatch.setattr(flow, stage, fault)
    with pytest.raises(ZeroDivisionError):
        run(model, tmp_path / "out")
    left = list(tmp_path.iterdir())
    assert left == [] if stage == "choose" else [p.name for p in left[0].iterdir()] == [".pfir"]


def test_an_unreachable_goal_is_refused_before_any_trial(model, tmp_path, monkeypatch):
    monkeypatch.setattr("pfir.compile.selection.measured_search.search_for", lambda *_: pytest.fail("a trial was made"))
    with pytest.raises(Infeasible, match=r"at most about \d+(\.\d)?x faster by estimate, "):
        run(model, tmp_path / "out", goals=Goals(speedup=100.0))
    assert list(tmp_path.iterdir()) == []


def test_a_missed_drop_is_not_met_and_still_delivered(model, data, tmp_path):
    done = run(model, tmp_path / "out", data=data, goals=Goals(speedup=5.0, max_drop=0.0))
    assert not done.met and not done.report["met"] and (tmp_path / "out/model.onnx").exists()
    assert done.report["speedup"] * 1.005 >= 5.0, "the speed-up comes first; the drop is reported"


def test_a_full_disk_leaves_no_result(model, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(workspace, "_write", full)
    with pytest.raises(UsageError, match="no space left"):
        run(model, tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".pfir"]


def test_force_replaces_an_earlier_result_only_at_the_end(model, copied, monkeypatch):
    before = (copied / "report.json").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(flow, "deliver", lambda *_: (_ for _ in ()).throw(DeviceError("gone")))
        with pytest.raises(DeviceError):
            run(model, copied, force=True, goals=Goals(macs=0.6))
    assert (copied / "report.json").read_bytes() == before
    assert run(model, copied, force=True, goals=Goals(macs=0.6)).report["goal"] == "--macs 0.6"


def test_resuming_a_finished_run_for_another_goal_is_refused_and_harms_nothing(model, copied):
    before = {p.name: p.read_bytes() for p in copied.iterdir()}
    with pytest.raises(UsageError, match="another problem"):
        run(model, copied, resume=True, goals=Goals(macs=0.6))
    assert {p.name: p.read_bytes() for p in copied.iterdir()} == before


def test_a_finished_run_is_continued_with_more_trials(model, copied):
    done = run(model, copied, resume=True, trials=5).report
    assert done["search"]["trials"] == 5 + 5


def test_a_dry_run_tells_the_plan_and_the_range_and_writes_nothing(model, tmp_path, capsys):
    done = run(model, tmp_path / "out", dry_run=True)
    done.print()
    said = capsys.readouterr().out
    assert done.met and "plan:" in said and "reachable speed-up: 1.00x to" in said
    assert done.report["reachable_speedup"] > 2
    assert list(tmp_path.iterdir()) == []


def test_latency_on_the_host_is_measured_on_both_sides(model, tmp_path):
    report = run(model, tmp_path / "out", target="host", device="host", goals=Goals(speedup=1.2)).report
    for side in (report["baseline"], report["result"]):
        assert side["latency_source"] == "measured" and side["latency_s"] > 0
    assert "ONNX Runtime on the host" in report["baseline"]["latency_detail"]


def test_a_model_with_two_outputs_keeps_both(tmp_path):
    net = Net(3)
    x = net.relu(net.conv(net.input("N", 3, 16, 16), 3, 16))
    y = net.relu(net.conv(x, 16, 24))
    model = net.model((net.conv(y, 24, 2), net.head(y, 24)))
    path = write_model(tmp_path, model)
    np.savez(tmp_path / "x.npz", x=images(48), y=np.arange(48))  # no classifier, so labels mean nothing
    report = run(path, tmp_path / "out", data=str(tmp_path / "x.npz"), epochs=1, goals=Goals(macs=0.6)).report
    assert load(tmp_path / "out/model.onnx").outputs() == model.outputs()
    assert report["result"]["accuracy"] is None and 0 <= report["result"]["fidelity"] <= 1


def test_dynamic_sizes_stay_in_the_model_and_are_fixed_for_the_library(tmp_path):
    net = Net(4)
    x = net.relu(net.conv(net.input("N", 3, "H", "W"), 3, 16))
    x = net.relu(net.conv(x, 16, 32))
    model = net.model((net.head(x, 32),))
    path = write_model(tmp_path, model)
    report = run(path, tmp_path / "out", input_shapes={"in0": (1, 3, 16, 16)}, goals=Goals(macs=0.5)).report
    written = load(tmp_path / "out/model.onnx")
    assert written.inputs() == model.inputs() and report["met"]
    for size in (16, 24):
        feeds = {"in0": np.zeros((2, 3, size, size), np.float32)}
        assert Session(written).predict(feeds)[written.outputs()[0].name].shape == (2, 3)


def test_a_batch_is_costed_as_one(model, plain, tmp_path):
    one, four = json.loads((plain / "report.json").read_text()), run(model, tmp_path / "out", batch=4).report
    assert four["baseline"]["macs"] == 4 * one["baseline"]["macs"]
    assert four["result"]["fidelity"] <= 1


def test_a_model_with_a_state_and_a_number_is_compressed_by_onnx_runtime(tmp_path):
    net = Net(5, opset=17)
    x, h, rate = net.input("N", 12), net.input(1, "N", 6), net.input()
    x = net.relu(net.dense(net.relu(net.dense(x, 12, 24)), 24, 16))
    steps = net.op("Unsqueeze", x, net.ints(0))
    _, last = net.op("GRU", steps, net.w(1, 18, 16), net.w(1, 18, 6), "", "", h, outs=2, hidden_size=6)
    y = net.op("Mul", net.dense(net.op("Squeeze", last, net.ints(0)), 6, 4), rate)
    path = write_model(tmp_path, net.model((y, last)))
    outcome = run(path, tmp_path / "out", goals=Goals(macs=0.9), passes="prune-channels{ratio=0.5}")
    assert outcome.met and outcome.report["verification"]["passed"] is None
    assert load(tmp_path / "out/model.onnx").inputs() == load(path).inputs()
