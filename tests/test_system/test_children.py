"""Nothing from the folder that pfir is started in runs in a process that it starts."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pfir
from pfir.backends.ort import OrtBackend, OrtHost
from pfir.backends.tvm.library.link import linker
from pfir.devices.emulation import counting, provision
from pfir.devices.emulation.apt import run
from pfir.devices.host import HostDevice
from pfir.ir.shapes import fix_sizes
from pfir.run.rival import time_onnxruntime
from pfir.search.executors import executor
from pfir.system.children import environment, run_module, run_text
from pfir.target import parse_target
from tests.support.jobs import images, small_net
from tests.test_devices.library import X, doubled
from tests.test_search.problems import SPACE, score

ROOT = Path(pfir.__file__).parent
# Modules of Python's own that the children import, of packages, and of packages that others import if they are there.
NAMES = (
    "random",
    "json",
    "struct",
    "hashlib",
    "socket",
    "signal",
    "pickle",
    "re",
    "tempfile",
    "pathlib",
    "runpy",
    "typing",
    "multiprocessing",
    "logging",
    "ctypes",
    "ziglang",
    "numpy",
    "tvm",
    "tvm_ffi",
    "pip",
    "onnx",
    "onnxruntime",
    "torch",
    "ml_dtypes",
    "psutil",
    "sitecustomize",
    "usercustomize",
    "pfir",
)


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """The working folder, full of modules that leave a trace when they run; a function that gives these traces."""
    folder, trace = tmp_path / "work", tmp_path / "ran"
    folder.mkdir()
    for name in NAMES:
        text = f"open({str(trace)!r}, 'a').write({name!r} + chr(10))\nraise SystemExit('foreign code')\n"
        (folder / f"{name}.py").write_text(text)
    monkeypatch.chdir(folder)
    # Where `python -m`, `python -c` and an empty part of PYTHONPATH put it.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT.parent), ""]))
    return lambda: trace.read_text().split() if trace.exists() else []


def test_a_python_started_plainly_in_the_folder_would_run_what_lies_there(hostile):
    subprocess.run([sys.executable, "-c", "import random"], stderr=subprocess.DEVNULL)
    assert hostile() in (["sitecustomize"], ["random"], ["usercustomize"])


def test_the_worker_of_the_host_runs_nothing_of_the_working_folder(hostile):
    with HostDevice() as device:
        np.testing.assert_array_equal(device.run(doubled(), {"x": X})["y"], 2 * X)
    assert hostile() == []


def test_sessions_of_onnx_runtime_in_other_processes_run_nothing_of_the_working_folder(hostile):
    model = fix_sizes(small_net())
    with OrtHost() as device:
        assert len(device.run(OrtBackend().build(model, parse_target("host")), {"in0": images(1)})) == 1
    assert time_onnxruntime(model, 1).seconds and time_onnxruntime(model, 1, sys.executable).seconds
    assert hostile() == []


def test_the_linker_and_the_compiler_of_the_plugin_run_nothing_of_the_working_folder(hostile, tmp_path):
    (tmp_path / "f.c").write_text("int f(int x) { return x + 1; }")
    linker("x86_64-linux-gnu")(str(tmp_path / "f.so"), str(tmp_path / "f.c"))
    assert (tmp_path / "f.so").exists()
    run(run_module("ziglang", "version"), environment())
    assert hostile() == []


def test_pip_runs_nothing_of_the_working_folder(hostile):
    assert run(run_module("pip", "--version"), environment(), name="pip").stdout.startswith("pip ")
    assert hostile() == []


def test_the_processes_of_a_search_run_nothing_of_the_working_folder(hostile):
    workers = executor(score, 2)
    try:
        workers.submit(0, dict.fromkeys(SPACE.names, 0.1))
        [(_, outcome)] = workers.finished()
    finally:
        workers.close()
    assert outcome.score == score(dict.fromkeys(SPACE.names, 0.1))[0] and hostile() == []


def test_a_python_under_emulation_is_started_without_the_folder(hostile, monkeypatch):
    made = provision.Emulated(Path("/nowhere"))
    monkeypatch.setattr(provision.Emulated, "python", "3.11")
    command = run_text("pass", python=made.command("max"))
    # All of its command line but the emulator, with this Python in place of the emulated one.
    start = command.index("/nowhere/root/usr/bin/python3.11")
    text = "import sys, random; print(random.__name__, '' in sys.path)"
    done = run([sys.executable, *command[start + 1 : -1], text], environment())
    assert done.stdout.split() == ["random", "False"] and hostile() == []
    assert "PYTHONNOUSERSITE=1" in command


def test_the_counting_emulator_is_compiled_by_the_same_start(hostile, monkeypatch):
    seen = []
    monkeypatch.setattr(counting, "run", lambda command, env, name: seen.append((command, env)))
    counting._compile(b"", Path.cwd())
    [(command, env)] = seen
    assert command[:3] == (sys.executable, "-I", "-c") and "PYTHONPATH" not in env


def test_a_child_finds_what_this_process_finds_but_not_what_lies_in_the_folder(tmp_path, monkeypatch):
    for folder in ("packages", "work"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"only_{folder}.py").touch()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setattr(sys, "path", ["", str(tmp_path / "work"), ".", str(tmp_path / "packages"), *sys.path])
    find = "from importlib.util import find_spec; print(*(find_spec(name) is not None for name in sys.argv[1:]))"
    done = run(run_text(find, "only_packages", "only_work", "pfir", "numpy"), environment())
    assert done.stdout.split() == ["True", "False", "True", "True"]


def test_a_checkout_that_is_the_working_folder_is_found_after_all_else(monkeypatch):
    monkeypatch.chdir(ROOT.parent)
    done = run(run_text("import pfir; print(sys.path[-1]); print(pfir.__file__)"), environment())
    assert done.stdout.split() == [str(ROOT.parent), pfir.__file__]


def test_a_module_has_its_arguments_and_its_name(tmp_path):
    (tmp_path / "told.py").write_text("import sys; print(__name__, sys.argv[1:])")
    start = f"sys.path.append({str(tmp_path)!r}); sys.argv[1:] = ['a b', 'c']; import runpy; "
    done = run(run_text(start + "runpy.run_module('told', run_name='__main__', alter_sys=True)"), environment())
    assert done.stdout == "__main__ ['a b', 'c']\n"
    assert run(run_module("json.tool", "--help"), environment()).stdout.startswith("usage: ")


def test_a_folder_that_was_removed_is_no_hindrance(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(run_text("print(1)"), environment()).stdout == "1\n"
    monkeypatch.chdir(tmp_path)


def test_python_is_started_in_one_place_only():
    """Another way to start it would look for modules in the working folder."""
    allowed = {"children.py"}
    for path in ROOT.rglob("*.py"):
        found = re.findall(r"sys\.executable|get_context|ProcessPool|\bProcess\(", path.read_text())
        assert not found or path.name in allowed, f"{path.relative_to(ROOT)} starts Python by {found[0]}"
