import json
import os

import pytest

from pfir.compile import workspace
from pfir.compile.workspace import Workspace
from pfir.errors import UsageError


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
    assert Workspace(tmp_path / "out", resume=True).journal().read_bytes() == b"{}\n"


def test_a_failed_run_without_trials_leaves_no_folder(tmp_path):
    Workspace(tmp_path / "out").abandon()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("attempt", [0, 1])
def test_a_failed_run_keeps_its_finished_trials(tmp_path, attempt):
    room = Workspace(tmp_path / "out")
    room.journal(attempt).write_text("{}\n{}\n")
    room.abandon()
    assert room.journal(attempt).exists()


def test_a_failed_run_keeps_what_it_has_trained(tmp_path):
    room = Workspace(tmp_path / "out")
    room.checkpoint.write_bytes(b"x")
    room.abandon()
    assert room.checkpoint.exists()


def test_a_failed_run_drops_a_journal_without_trials(tmp_path):
    room = Workspace(tmp_path / "out")
    room.journal().write_text("{}\n")
    room.abandon()
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
    room = Workspace(tmp_path / "out")

    def full(path, content):
        if path.name == "report.json":
            raise OSError(28, os.strerror(28))
        path.write_bytes(content)

    monkeypatch.setattr(workspace, "_write", full)
    with pytest.raises(UsageError, match="no space left"):
        room.deliver({"model.onnx": b"abc", "report.json": b"{}"})
    assert [p.name for p in (tmp_path / "out").iterdir()] == [".pfir"]
