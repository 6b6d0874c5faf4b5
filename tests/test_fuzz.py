"""The fuzzer finds what it looks for, and a slice of it finds nothing in pfir."""

import subprocess
import sys
from pathlib import Path

from benchmarks.fuzz.runner import Runner
from benchmarks.fuzz.verdict import fault_of_end, unexpected

ROOT = Path(__file__).resolve().parents[1]
QUICK = ("families", "files", "graphs", "bombs", "packed", "data", "caches", "recipes", "commands")
"""Kinds whose material is made at once; that of `nodes` takes ten seconds."""
PLANTED = """
import os, sys
from pathlib import Path
from benchmarks.fuzz.case import Base, Case
from benchmarks.fuzz.kinds import KINDS, Kind
from benchmarks.fuzz.runner import Runner

def law(sentence):
    return lambda code: sentence

def broken(code):
    raise KeyError("x")

cases = {
    "abort": lambda *_: os.abort(),
    "exit": lambda *_: os._exit(3),
    "memory": lambda *_: bytearray(2200 << 20) and Case((), ""),
    "law": lambda *_: Case((), "", law("it is broken")),
    "raises": lambda *_: Case((), "", broken),
    "left": lambda *_: Path("../tmp/x").touch() or Case((), ""),
    "fine": lambda *_: Case((), ""),
    "refused": lambda *_: Case(("inspect", "nowhere.onnx"), ""),
    "usage": lambda *_: Case(("inspect",), ""),
}
for name, make in cases.items():
    KINDS[name] = Kind(make, 0.0, "")
found = Runner(Base(Path("."), {}), Path(sys.argv[1]), 0, None).run([(name, 0) for name in cases], 1)
for verdict in found:
    print(verdict.kind, verdict.code, verdict.fault, sep="|")
"""


def _python(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_a_slice_of_the_fuzzer_finds_no_fault(tmp_path):
    words = [
        "-m",
        "benchmarks.fuzz",
        "--seed",
        "1",
        "--cases",
        "150",
        "--scratch",
        str(tmp_path),
        "--keep",
        str(tmp_path),
    ]
    done = _python(*words, *(word for kind in QUICK for word in ("--kind", kind)))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No fault." in done.stdout


def test_each_kind_of_fault_is_found_and_the_cases_behind_it_run(tmp_path):
    done = _python("-c", PLANTED, str(tmp_path))
    assert done.stderr == ""
    found = dict(line.split("|", 1) for line in done.stdout.splitlines())
    assert found == {
        "abort": "-6|SIGABRT",
        "exit": "3|the process ended itself with 3",
        "memory": "0|more than 2 GB",
        "law": "0|it is broken",
        "raises": "0|KeyError in fuzz/child.py:_broken",
        "left": "0|left in TMPDIR: x*",
        "fine": "0|",
        "refused": "3|",
        "usage": "2|",
    }


def test_how_a_command_ends_is_judged_by_its_code_and_its_line():
    assert fault_of_end(3, "pfir: m.onnx is empty", 1) == ""
    assert fault_of_end(1, "pfir: a fault of pfir: KeyError: 'x'", 1).startswith("exit 1: ")
    assert fault_of_end(7, "", 0) == "exit code 7"
    assert fault_of_end(3, "", 0) == "exit 3 with 0 lines on stderr"
    assert fault_of_end(3, "pfir: cannot read <BytesIO object at 0x7f00aabbccdd>", 1).startswith("an address")


def test_an_exception_is_named_by_its_innermost_place_in_pfir():
    try:
        Runner.run(None, None, 1).__next__()
    except TypeError as error:
        assert unexpected(error) == "TypeError in fuzz/runner.py:run"
