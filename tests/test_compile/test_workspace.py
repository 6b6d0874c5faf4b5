import errno
import json
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest

from pfir.compile import lock
from pfir.compile import workspace as workspace_module
from pfir.compile.workspace import Workspace
from pfir.errors import UsageError


def begun(folder, **options):
    """A workspace in which a run goes on."""
    workspace = Workspace(folder, **options)
    workspace.begin()
    return workspace


def test_delivered_files_are_listed_with_their_hashes_and_no_state_remains(tmp_path):
    Workspace(tmp_path / "out").deliver({"model.onnx": b"abc", "report.json": b"{}"}, {"made": "here"})
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifest.json", "model.onnx", "report.json"]
    listed = json.loads((tmp_path / "out/manifest.json").read_text())["files"]
    assert listed["model.onnx"]["sha256"].startswith("ba7816bf") and listed["model.onnx"]["size_bytes"] == 3
    assert json.loads((tmp_path / "out/manifest.json").read_text())["made"] == "here"


def test_a_folder_that_is_not_empty_needs_force(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(UsageError, match="not empty"):
        Workspace(tmp_path)
    Workspace(tmp_path, force=True).deliver({"model.onnx": b"abc"})
    assert (tmp_path / "mine").read_text() == "x"


def test_an_interrupted_run_is_named_and_resumed(tmp_path):
    Workspace(tmp_path / "out").journal().write_text("{}\n")
    with pytest.raises(UsageError, match="--resume"):
        Workspace(tmp_path / "out")
    assert Workspace(tmp_path / "out", resume=True).journal().read_text() == "{}\n"


def test_a_finished_run_resumes_from_its_delivered_journal(tmp_path):
    Workspace(tmp_path / "out").deliver({"search.jsonl": b"{}\n"})
    assert begun(tmp_path / "out", resume=True).journal().read_bytes() == b"{}\n"


def test_a_failed_run_without_trials_leaves_no_folder(tmp_path):
    Workspace(tmp_path / "out").abandon()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_failed_run_keeps_its_finished_trials(tmp_path, attempt):
    workspace = Workspace(tmp_path / "out")
    workspace.journal(attempt).write_text("{}\n{}\n")
    workspace.abandon()
    assert workspace.journal(attempt).exists()


def test_a_failed_run_keeps_what_it_has_trained(tmp_path):
    workspace = Workspace(tmp_path / "out")
    workspace.checkpoint(b"model").write_bytes(b"x")
    workspace.abandon()
    assert workspace.checkpoint(b"model").exists()


def test_a_failed_run_drops_a_journal_without_trials(tmp_path):
    workspace = Workspace(tmp_path / "out")
    workspace.journal().write_text("{}\n")
    workspace.abandon()
    assert not (tmp_path / "out").exists()


def test_a_finished_run_that_is_resumed_in_vain_is_as_it_was(tmp_path):
    Workspace(tmp_path / "out").deliver({"search.jsonl": b"{}\n{}\n"})
    Workspace(tmp_path / "out", resume=True).abandon()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["manifest.json", "search.jsonl"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(UsageError, match="is a file"):
        Workspace(tmp_path / "out")


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        Workspace(tmp_path / "file" / "out")


def test_a_full_disk_delivers_nothing(tmp_path, monkeypatch):
    workspace = Workspace(tmp_path / "out")

    def full(path, content):
        if path.name == "report.json":
            raise OSError(28, os.strerror(28))
        path.write_bytes(content)

    monkeypatch.setattr(workspace_module, "_write", full)
    with pytest.raises(UsageError, match="no space left"):
        workspace.deliver({"model.onnx": b"abc", "report.json": b"{}"})
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".pfir"]


def test_a_second_run_in_the_folder_of_a_live_one_is_told_so_at_once_and_harms_nothing(tmp_path):
    live = begun(tmp_path / "out")
    live.journal().write_text("{}\n{}\n")
    for options in ({}, {"force": True}, {"resume": True}):
        with pytest.raises(UsageError, match=f"process {os.getpid()}.*at work in .*out"):
            Workspace(tmp_path / "out", **options)
    assert live.journal().read_text() == "{}\n{}\n"
    live.deliver({"model.onnx": b"abc"})
    Workspace(tmp_path / "out", force=True)


def test_a_live_run_over_earlier_results_is_named_before_they_are(tmp_path):
    Workspace(tmp_path / "out").deliver({"model.onnx": b"abc"})
    live = begun(tmp_path / "out", force=True)
    with pytest.raises(UsageError, match="at work"):
        Workspace(tmp_path / "out")
    live.abandon()
    with pytest.raises(UsageError, match="not empty"):
        Workspace(tmp_path / "out")


@pytest.mark.parametrize("end", ["abandon", "deliver", "kill"])
def test_however_a_run_ends_its_folder_is_free_again(tmp_path, end):
    source = f"""
import os, signal, sys
from pathlib import Path
from pfir.compile.workspace import Workspace
room = Workspace(Path({str(tmp_path / "out")!r}))
room.begin()
if {end!r} == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
room.deliver({{}}) if {end!r} == "deliver" else room.abandon()
"""
    subprocess.run([sys.executable, "-c", source], check=end != "kill")
    Workspace(tmp_path / "out", force=True)


def test_of_runs_that_start_at_once_just_one_gets_the_folder(tmp_path):
    source = f"""
import sys
from pathlib import Path
from pfir.compile.workspace import Workspace
from pfir.errors import UsageError
print("ready", flush=True)
sys.stdin.readline()
try:
    room = Workspace(Path({str(tmp_path / "out")!r}))
    print("mine", flush=True)
    sys.stdin.readline()
except UsageError as error:
    print(error, flush=True)
"""
    command, pipe = [sys.executable, "-c", source], subprocess.PIPE
    runs = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(3)]
    for act in (lambda r: r.stdout.readline(), lambda r: (r.stdin.write("go\n"), r.stdin.flush())):
        for each in runs:
            act(each)
    said = [each.stdout.readline().strip() for each in runs]
    for each in runs:
        each.communicate("end\n")
    assert said.count("mine") == 1 and sum("at work" in words for words in said) == 2, said


def test_a_lock_that_its_holder_removes_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    once = iter([False])
    monkeypatch.setattr(lock, "_is_still", lambda file, path: next(once, True))
    assert lock.take(tmp_path / "state" / "lock", tmp_path).name == str(tmp_path / "state" / "lock")


@pytest.mark.parametrize(("number", "refused"), [(errno.ENOLCK, False), (errno.EIO, True)])
def test_a_file_system_without_locks_goes_without(tmp_path, monkeypatch, number, refused):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(UsageError, match="cannot be written") if refused else nullcontext():
        Workspace(tmp_path / "out")


def test_what_an_interrupted_run_left_stays_until_the_next_begins(tmp_path):
    begun(tmp_path / "out").journal().write_text("{}\n{}\n")
    Workspace(tmp_path / "out", force=True).abandon()
    workspace = Workspace(tmp_path / "out", force=True)
    assert workspace.journal().exists()
    workspace.begin()
    assert not workspace.journal().exists()
