"""Backends open by name: only the one that is asked for is imported, and it says what it can do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pfir.backends import BACKENDS, check_backend, known_backend, open_backend
from pfir.errors import UsageError
from pfir.target import FLOAT16, FLOAT32
from tests.support.jobs import write_model

COMPILE = """
import sys
from pathlib import Path
from tests.support.jobs import run, short_runs

model, out = map(Path, sys.argv[1:])
with short_runs():
    run(model, out, trials=1)
assert (out / "manifest.json").exists()
print(*(name for name in sys.modules if name.startswith(("pfir.backends.tvm", "tvm"))))
"""


def test_a_whole_run_of_the_ort_backend_imports_nothing_of_the_tvm_backend(tmp_path):
    command = [sys.executable, "-c", COMPILE, write_model(tmp_path), tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.split() == [], done.stdout + done.stderr


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_is_what_its_name_says_before_and_after_it_is_opened(name):
    assert known_backend(name).name == open_backend(name).name == name


def test_backends_say_what_they_can_do():
    ours, theirs = known_backend("tvm"), known_backend("ort")
    assert ours.arithmetics == (FLOAT32, FLOAT16) and theirs.arithmetics == (FLOAT32,)
    assert ours.tunes and not ours.is_onnxruntime
    assert theirs.is_onnxruntime and not theirs.tunes


def test_a_name_that_is_no_backend_and_measured_kernels_that_it_cannot_use_are_refused():
    with pytest.raises(UsageError, match="--backend gcc is not known; it is one of tvm, ort"):
        open_backend("gcc")
    with pytest.raises(UsageError, match="--backend ort has none"):
        open_backend("ort", tuned="kernels.json")
    check_backend("tvm", "kernels.json")


def test_the_user_s_files_of_measured_kernels_are_told_and_what_ships_is_not(tmp_path):
    path = tmp_path / "kernels.json"
    path.write_text('{"format": 1, "cores": {}}')
    assert open_backend("tvm", str(path)).tuning_files() == (path,)
    assert open_backend("tvm", "none").tuning_files() == open_backend("ort").tuning_files() == ()
