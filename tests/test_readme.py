"""The README tells what is true: its commands are those that CI runs and the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    ")]


def test_ci_runs_the_test_command_of_the_readme():
    command = next(c for c in COMMANDS if c.endswith("pytest"))
    assert command in (ROOT / ".ci" / "run").read_text()


def test_files_that_the_readme_names_exist():
    named = re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"examples/[\w.]+", README)
    assert named
    for name in named:
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("command", [c for c in COMMANDS if "pfir compile" in c])
def test_the_compile_commands_of_the_readme_are_taken(command, monkeypatch):
    from pfir import cli
    from pfir.compile import flow

    asked = []
    monkeypatch.setattr(flow, "compile_model", lambda request, progress: asked.append(request) or _Outcome())
    words = shlex.split(command.split("#")[0].split("&&")[-1])
    with pytest.raises(SystemExit) as end:
        cli.app(words[1:], prog_name="pfir")
    assert end.value.code == 0 and len(asked) == 1


class _Outcome:
    met = True

    def print(self) -> None:
        pass
