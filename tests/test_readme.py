"""The README tells what is true: its commands are those that CI runs and the command line takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    ")]


def test_ci_runs_the_test_command_of_the_readme():
    command = next(c for c in COMMANDS if "bin/pytest" in c)
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


def test_the_code_that_runs_a_library_runs_it(tmp_path, monkeypatch):
    """On this machine, a library of the model that the README's command compresses, before it is compressed."""
    from pfir.backends.tvm import TvmBackend
    from pfir.compile.prepare import BASELINE
    from pfir.frontends import load
    from pfir.ir.shapes import fix_sizes
    from pfir.passes.base import Context
    from pfir.passes.pipeline import run
    from pfir.run.session import Session
    from pfir.target import parse_target

    model = fix_sizes(run(BASELINE, load(ROOT / "examples" / "small_net.onnx"), Context())[0])
    library = TvmBackend().build(model, parse_target("host")).files["model.so"]
    (tmp_path / "model.so").write_bytes(library)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(re.search(r"```python\n(.*?)```", README, re.DOTALL)[1], names)
    (expected,) = Session(model).predict({model.inputs()[0].name: names["image"]}).values()
    np.testing.assert_allclose(names["scores"], expected, rtol=1e-3, atol=1e-3)


class _Outcome:
    met = True

    def print(self) -> None:
        pass
