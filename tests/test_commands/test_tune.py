"""`pfir tune`: what it measures, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import pytest

from pfir import cli
from pfir.backends.tvm.tuning.database import Entry, add, core_name, known, read
from pfir.commands import tune as module
from pfir.commands.fastest_way import Fastest
from pfir.commands.tune import Tune, tune
from pfir.commands.tuned_lines import lines, plan
from pfir.devices import rpc
from pfir.errors import DeviceError, UsageError
from pfir.report.progress import Silent
from pfir.target import parse_target
from tests.test_devices.server import rpc_server

HOST = parse_target("host")


def _few(monkeypatch, **changes):
    kept = module._kernels

    def kernels(asked, target):
        return [replace(kernel, candidates=kernel.candidates[:2], **changes) for kernel in kept(asked, target)[:2]]

    monkeypatch.setattr(module, "_kernels", kernels)


@pytest.fixture
def few(monkeypatch):
    """There are two kernels of two ways, and no library takes time to build."""
    _few(monkeypatch, build=lambda schedule: schedule)


@pytest.fixture
def second_wins(monkeypatch, few):
    """The second way takes four fifths of the first one's time."""
    monkeypatch.setattr(module, "fastest", lambda libraries, device: Fastest(1, 1.25, (1e-5, 8e-6), 1.25))


def test_the_fastest_ways_are_kept_and_built_by_afterwards(model, tmp_path, second_wins):
    path = tmp_path / "kernels.json"
    found = tune(Tune((model, model), "host", out=path), Silent())
    names = [row["kernel"] for row in found["kernels"]]
    assert len(set(names)) == len(names) == 2 and not found["earlier"] and not found["left"]
    entries = known(HOST, path).entries
    for row in found["kernels"]:
        assert entries[row["kernel"]].schedule == row["fastest"] != row["modelled"]
        assert entries[row["kernel"]].gain == 1.25 and entries[row["kernel"]].device
    assert "2 of 2 kernels faster than as modelled" in lines(found)[-2] and str(path) in lines(found)[-1]


def test_the_kernel_that_costs_most_comes_first(model, tmp_path, second_wins):
    kernels = module._kernels(Tune((model,), "host"), HOST)
    costs = {kernel.name: kernel.calls * kernel.macs for kernel in kernels}
    found = tune(Tune((model,), "host", out=tmp_path / "kernels.json", dry_run=True), Silent())["left"]
    assert found == sorted(costs, key=lambda name: -costs[name]) and len(set(costs.values())) == 2


def test_a_dry_run_measures_and_writes_nothing(model, tmp_path, monkeypatch, few):
    monkeypatch.setattr(module, "fastest", lambda *_: pytest.fail("measured"))
    found = tune(Tune((model,), "host", out=tmp_path / "kernels.json", dry_run=True), Silent())
    assert not list(tmp_path.glob("kernels*")) and plan(found)[-1].startswith("2 kernels to measure for x86_64")


def test_kernels_of_float16_are_others_than_those_of_float32(model, tmp_path):
    where = {"target": "arm:cortex-a76", "device": "rpc://127.0.0.1:1", "out": tmp_path / "kernels.json"}
    half, single = (tune(Tune((model,), **where, dry_run=True, precision=p), Silent()) for p in ("float16", "float32"))
    assert half["core"] == f"{single['core']} float16" and not {*half["left"]} & {*single["left"]}
    with pytest.raises(UsageError, match="no fp16 vector arithmetic"):
        tune(Tune((model,), "host", precision="float16"), Silent())


def test_what_was_measured_is_not_measured_again_unless_the_ways_or_the_compiler_changed(
    model, tmp_path, monkeypatch, second_wins
):
    path, asked = tmp_path / "kernels.json", Tune((model,), "host", out=tmp_path / "kernels.json")
    first = tune(asked, Silent())
    second = tune(asked, Silent())
    assert second["kernels"] == second["left"] == [] and len(second["earlier"]) == 2
    assert lines(second)[0] == "2 kernels measured before (--again measures anew)"
    assert len(tune(replace(asked, again=True), Silent())["kernels"]) == 2
    entries = read(path)[first["core"]]
    (one, kept), (other, old) = entries.items()
    add(path, HOST, {one: replace(kept, among="other ways")})
    assert [row["kernel"] for row in tune(asked, Silent())["kernels"]] == [one]
    add(path, HOST, {other: replace(old, tvm="0.1")})
    assert [row["kernel"] for row in tune(asked, Silent())["kernels"]] == [other]


def test_time_that_is_up_leaves_the_rest_to_the_next_run(model, tmp_path, second_wins):
    asked = Tune((model,), "host", out=tmp_path / "kernels.json", time_budget_s=1e-9)
    first, second = (tune(asked, Silent()) for _ in range(2))
    assert (len(first["kernels"]), len(first["left"])) == (1, 1) and "1 kernel not measured" in lines(first)[-2]
    assert (len(second["kernels"]), len(second["earlier"]), second["left"]) == (1, 1, [])


def test_a_device_that_fails_leaves_what_was_measured_before(model, tmp_path, monkeypatch, few):
    path, answers = tmp_path / "kernels.json", iter([Fastest(1, 1.25, (1e-5, 8e-6), 1.25)])

    def found(libraries, device):
        for answer in answers:
            return answer
        raise DeviceError("the cable came off")

    monkeypatch.setattr(module, "fastest", found)
    with pytest.raises(DeviceError, match=r"came off; 1 of 2 kernels are kept in .*kernels\.json, the same command"):
        tune(Tune((model,), "host", out=path), Silent())
    assert len(read(path)[core_name(HOST)]) == 1
    with pytest.raises(DeviceError, match=r"came off$"):
        tune(Tune((model,), "host", out=path), Silent())


def test_kernels_are_measured_on_a_device_by_rpc(model, tmp_path, monkeypatch):
    _few(monkeypatch)
    monkeypatch.setattr(rpc, "MIN_REPEAT_S", 0.001)
    with rpc_server() as server:
        found = tune(Tune((model,), "host", server.url, tmp_path / "kernels.json"), Silent())
        assert [row["modelled_s"] > 0 for row in found["kernels"]] == [True, True]
        assert {entry.device for entry in read(tmp_path / "kernels.json")[found["core"]].values()} == {
            "a device by RPC"
        }


def test_a_device_that_is_not_there_is_found_out_before_anything_is_built(model, monkeypatch):
    monkeypatch.setattr(module, "_row", lambda *_: pytest.fail("built"))
    with pytest.raises(DeviceError, match="rpc://127.0.0.1:1 failed to open"):
        tune(Tune((model,), "host", "rpc://127.0.0.1:1"), Silent())


def test_an_entry_that_no_longer_holds_changes_no_build(model, tmp_path, monkeypatch, second_wins):
    path = tmp_path / "kernels.json"
    kernels = module._kernels(Tune((model,), "host"), HOST)[:1]
    monkeypatch.setattr(module, "_kernels", lambda asked, target: kernels)
    monkeypatch.setattr(module, "fastest", lambda libraries, device: Fastest(0, 1.0, (1e-5, 1e-5), 1.01))
    add(path, HOST, {kernels[0].name: Entry("before", 1.1), "another": Entry("stays", 1.1)})
    found = tune(Tune((model,), "host", out=path), Silent())
    assert "another" in known(HOST, path).entries and kernels[0].name not in known(HOST, path).entries
    assert lines(found) == [
        "0 of 1 kernel faster than as modelled; an inference spends 0.010 -> 0.010 ms in what was measured",
        f"kept in {path} for {found['core']}",
    ]


def test_the_command_prints_json_and_nothing_else(model, tmp_path, monkeypatch, capsys, second_wins):
    out = tmp_path / "kernels.json"
    monkeypatch.setattr(sys, "argv", ["pfir", "tune", str(model), "--target", "host", "--out", str(out), "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(out) and {"kernel", "gain", "modelled", "fastest"} <= found["kernels"][0].keys()


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"paths": ()}, "nothing to tune"),
        ({"device": "emulated"}, "yields no latency"),
        ({"batch": 0}, "--batch is 0"),
        ({"time_budget_s": 0.0}, "--time-budget"),
    ],
)
def test_options_that_make_no_sense_are_refused(model, options, why):
    with pytest.raises(UsageError, match=why):
        Tune(**{"paths": (model,), "target": "host", **options})


def test_a_device_that_does_not_run_the_target_is_refused(model):
    with pytest.raises(UsageError, match="--target host"):
        tune(Tune((model,), "armv7"), Silent())


def test_a_file_that_cannot_be_written_is_refused_before_anything_is_measured(model, tmp_path, monkeypatch, few):
    monkeypatch.setattr(module, "fastest", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        tune(Tune((model,), "host", out=tmp_path / "file" / "kernels.json"), Silent())


def test_a_file_that_is_no_database_is_refused_before_anything_is_measured(model, tmp_path):
    path = tmp_path / "kernels.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match="no database"):
        tune(Tune((model,), "host", out=path), Silent())
