"""The standard streams may be closed, full or read by nobody: no traceback, the right code, nothing lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import pfir

HERE = {**os.environ, "PYTHONPATH": str(Path(pfir.__file__).parents[1])}
MAIN = f"{sys.executable} -c 'from pfir.cli import main; main()'"
SAYS_AND_WRITES = """
import contextlib, os, sys
from pfir.system import streams
raw = streams.secure()
with open("file", "w") as file:
    with contextlib.suppress(OSError):
        os.write(2, b"a library speaks")
    print("progress", file=sys.stderr)
    print("result")
    file.write("whole")
print(streams.trouble(raw), file=open("trouble", "w"))
"""


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        ("passes >&-", 0, ""),
        ("passes >&- 2>&- <&-", 0, ""),
        ("passes >/dev/full", 2, "stdout cannot be written (No space left on device)"),
        ("--help >/dev/full", 2, "stdout cannot be written"),
        ("passes 2>&- >/dev/null", 0, ""),
        ("compile 2>&-", 2, ""),
        ("compile 2>/dev/full", 2, ""),
        ("inspect nosuch.onnx >&-", 3, "does not exist"),
    ],
)
def test_a_stream_that_cannot_be_written_costs_no_traceback(command, code, said, tmp_path):
    done = subprocess.run(f"{MAIN} {command}", shell=True, capture_output=True, text=True, cwd=tmp_path, env=HERE)
    assert done.returncode == code
    assert said in done.stderr and len(done.stderr.splitlines()) == (1 if said else 0)


def test_a_reader_that_goes_away_changes_no_code():
    command = f'bash -c "{MAIN} passes | true; echo \\${{PIPESTATUS[0]}}"'
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=HERE)
    assert (done.stdout.strip(), done.stderr) == ("0", "")


@pytest.mark.parametrize(
    ("streams", "trouble"),
    [
        ("", "None"),
        (">&-", "None"),
        ("2>&-", "None"),
        (">&- 2>&- <&-", "None"),
        ("2>/dev/full", "None"),
        (">/dev/full", "No space left on device"),
        ("| true", "None"),
        ("2>&1 | true", "None"),
    ],
)
def test_files_are_whole_whatever_becomes_of_the_streams(streams, trouble, tmp_path):
    (tmp_path / "script.py").write_text(SAYS_AND_WRITES)
    command = f"{sys.executable} script.py {streams}"
    subprocess.run(command, shell=True, capture_output=True, cwd=tmp_path, check=True, env=HERE)
    assert (tmp_path / "file").read_text() == "whole"
    assert (tmp_path / "trouble").read_text().strip() == trouble
