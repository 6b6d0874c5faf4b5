"""`pfir tune`: what it measures, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import sys

import pytest

from pfir import cli
from pfir.backends.tvm.database import Entry, add, known, read
from pfir.compile import tune as module
from pfir.compile.fastest import Fastest
from pfir.compile.tune import Tune, lines, tune
from pfir.errors import UsageError
from pfir.report.progress import Silent
from pfir.target import parse_target

HOST = parse_target("host")


@pytest.fixture
def second_wins(monkeypatch):
    """There are two kernels of two ways, the second of which takes four fifths of the first one's time."""

    def found(libraries, device):
        assert all(library.files[library.library] for library in libraries)
        return Fastest(1, 1.25, (1e-5, 8e-6), 1.25)

    kept = module._kernels

    def few(asked, target):
        return [type(k)(k.name, k.ways[:2], k.build, k.calls) for k in kept(asked, target)[:2]]

    monkeypatch.setattr(module, "fastest", found)
    monkeypatch.setattr(module, "_kernels", few)


def test_the_fastest_ways_are_kept_and_built_by_afterwards(model, tmp_path, second_wins):
    path = tmp_path / "kernels.json"
    found = tune(Tune((model, model), "host", out=path), Silent())
    names = [row["kernel"] for row in found["kernels"]]
    assert len(set(names)) == len(names) == 2
    entries = known(HOST, path).entries
    for row in found["kernels"]:
        assert entries[row["kernel"]].way == row["fastest"] != row["modelled"]
        assert entries[row["kernel"]].gain == 1.25 and entries[row["kernel"]].device
    assert f"{len(names)} of {len(names)} kernels are faster" in lines(found)[-1] and str(path) in lines(found)[-1]


def test_an_entry_that_no_longer_holds_is_dropped(model, tmp_path, monkeypatch, second_wins):
    path = tmp_path / "kernels.json"
    kernels = module._kernels(Tune((model,), "host"), HOST)[:1]
    monkeypatch.setattr(module, "_kernels", lambda asked, target: kernels)
    monkeypatch.setattr(module, "fastest", lambda libraries, device: Fastest(0, 1.0, (1e-5, 1e-5), 1.01))
    add(path, HOST, {kernels[0].name: Entry("before"), "another": Entry("stays")})
    found = tune(Tune((model,), "host", out=path), Silent())
    assert read(path)[found["core"]] == {"another": Entry("stays")}
    assert lines(found) == [f"0 of 1 kernels are faster than the model of the core has them; 0.010 -> 0.010 ms for all "
                            f"of them, calls counted; kept in {path}"]  # fmt: skip


def test_the_command_prints_json_and_nothing_else(model, tmp_path, monkeypatch, capsys, second_wins):
    out = tmp_path / "kernels.json"
    monkeypatch.setattr(sys, "argv", ["pfir", "tune", str(model), "--target", "host", "--out", str(out), "--json"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert not left.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["file"] == str(out) and {"kernel", "gain", "modelled", "fastest"} <= found["kernels"][0].keys()


@pytest.mark.parametrize(("options", "why"), [
    ({"paths": ()}, "nothing to tune"),
    ({"device": "emulated"}, "yields no latency"),
    ({"batch": 0}, "--batch is 0"),
])  # fmt: skip
def test_options_that_make_no_sense_are_refused(model, options, why):
    with pytest.raises(UsageError, match=why):
        Tune(**{"paths": (model,), "target": "host", **options})


def test_a_device_that_does_not_run_the_target_is_refused(model):
    with pytest.raises(UsageError, match="--target host"):
        tune(Tune((model,), "armv7"), Silent())


def test_a_file_that_is_no_database_is_refused_before_anything_is_measured(model, tmp_path):
    path = tmp_path / "kernels.json"
    path.write_text("{}")
    with pytest.raises(UsageError, match="no database"):
        tune(Tune((model,), "host", out=path), Silent())
