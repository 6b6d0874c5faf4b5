"""What the tools say of the tree: style, format and types."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def _said(*command):
    """What a tool says against the tree; nothing where all is well."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_the_linter_finds_nothing():
    assert _said("ruff", "check", ".") == ""


def test_every_file_is_formatted():
    assert _said("ruff", "format", "--check", ".") == ""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="NumPy's last release for Python 3.10 has older types")
def test_types_hold():
    assert _said("mypy") == ""
