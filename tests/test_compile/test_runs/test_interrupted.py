"""Runs that are killed or interrupted: no finished trial is lost, and a resumed run ends as if nothing had been."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from pfir.errors import UsageError
from tests.support.jobs import run

TRIALS = 50
ENOUGH = 3
"""Trials that are finished when the signal comes."""


@pytest.fixture(scope="module")
def uninterrupted(place, model):
    return run(model, place / "uninterrupted", trials=TRIALS).folder


def test_a_killed_run_goes_on_where_it_was_and_ends_the_same(model, tmp_path, uninterrupted):
    out = tmp_path / "out"
    process = _started(model, out)
    _wait_for_trials(process, out)
    process.kill()
    process.communicate()
    kept = _trials(out / ".pfir" / "search.jsonl")
    assert ENOUGH <= len(kept) < TRIALS
    with pytest.raises(UsageError, match="interrupted run"):
        run(model, out, trials=TRIALS)
    run(model, out, trials=TRIALS, resume=True)
    found = _trials(out / "search.jsonl")
    assert found[: len(kept)] == kept, "a finished trial was scored again"
    assert len(kept) < len(found) <= TRIALS
    assert [_result(t) for t in found] == [_result(t) for t in _trials(uninterrupted / "search.jsonl")]
    assert (out / "model.onnx").read_bytes() == (uninterrupted / "model.onnx").read_bytes()
    assert not (out / ".pfir").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_says_how_to_go_on(number, model, tmp_path):
    out = tmp_path / "out"
    process = _started(model, out)
    _wait_for_trials(process, out)
    os.killpg(process.pid, number)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("pfir: interrupted") and last.endswith("--resume") and f"-o {out}" in last
    assert "Traceback" not in stderr and stdout == ""
    assert len(_trials(out / ".pfir" / "search.jsonl")) >= ENOUGH
    assert [p.name for p in out.iterdir()] == [".pfir"]


def test_an_interrupt_before_the_first_trial_leaves_nothing(model, tmp_path):
    process = _started(model, tmp_path / "out")
    while "load" not in process.stderr.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130 and "Traceback" not in stderr
    assert list(tmp_path.iterdir()) == []


def _started(model, out):
    words = ["compile", str(model), "--target", "arm", "--speedup", "2", "--backend", "ort", "--jobs", "1"]
    words += ["--precision", "float32"]
    words += ["--trials", str(TRIALS), "--epochs", "0", "-o", str(out)]
    # What runs in the background of a shell without job control inherits that this signal is ignored.
    heeding = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    short = "from pfir.cli import main\nfrom tests.support.jobs import short_runs\nwith short_runs(): main()"
    command = [sys.executable, "-c", f"{heeding}\n{short}", *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _wait_for_trials(process, out):
    journal = out / ".pfir" / "search.jsonl"
    while not (journal.exists() and len(journal.read_bytes().splitlines()) > ENOUGH):
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.005)


def _trials(path):
    """Without the header, and without a last line that a kill has cut off."""
    whole = path.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()[1:]]


def _result(trial):
    return trial["number"], trial["parameters"], trial["score"]
