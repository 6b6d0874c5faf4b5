"""Command lines that start Python with the packages of this process, and nothing from the folder it is started in."""

from __future__ import annotations

import os
import sys
from pathlib import Path

# `python -m` and `python -c` look for modules in the working folder first: a `random.py` of the user's would run.
# The child has this very pfir, even where another one is installed and this one lies in the working folder.
_OF_THIS_PATH = """import sys, importlib.util as finder
sys.path[:] = sys.argv.pop(1).split({separator!r})
found = finder.spec_from_file_location("pfir", {package!r} + "/__init__.py", submodule_search_locations=[{package!r}])
sys.modules["pfir"] = finder.module_from_spec(found)
found.loader.exec_module(sys.modules["pfir"])
exec(sys.argv.pop(1))"""
_OF_ITS_OWN_PATH = "import sys; sys.path[:] = [path for path in sys.path if path]; exec(sys.argv.pop(1))"
_MODULE = "del sys.argv[0]; import runpy; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
_PACKAGE = Path(__file__).resolve().parents[1]
_ROOT = str(_PACKAGE.parent)


def run_module(name: str, *arguments: str) -> tuple[str, ...]:
    """Start this Python on a module, as `python -m` would.

    Args:
        name: The module, run as `__main__`.
        arguments: Its `sys.argv[1:]`.
    """
    return run_text(_MODULE, name, *arguments)


def run_text(text: str, *arguments: str, python: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Start Python on a program, as `python -c` would.

    Args:
        text: The program.
        arguments: Its `sys.argv[1:]`.
        python: The start of another Python's command line, which then finds its own packages. It is not in isolated
            mode, since they may lie in its user's folder; `environment` keeps out what is meant for this Python.
    """
    if python:
        return (*python, "-c", _OF_ITS_OWN_PATH, text, *arguments)
    start = _OF_THIS_PATH.format(separator=os.pathsep, package=str(_PACKAGE))
    return (sys.executable, "-I", "-c", start, os.pathsep.join(_safe_path()), text, *arguments)


def environment(**settings: str) -> dict[str, str]:
    """The variables of this process without those that change where a Python finds its modules, and these settings."""
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | settings


def _safe_path() -> list[str]:
    """Where this process finds modules, less the working folder; if pfir itself runs from there, it comes last."""
    paths = [path for path in sys.path if isinstance(path, str) and os.path.isabs(path)]
    here = _working_folder()
    safe = [path for path in dict.fromkeys(paths) if os.path.realpath(path) != here]
    return safe if _ROOT in map(os.path.realpath, safe) else [*safe, _ROOT]


def _working_folder() -> str | None:
    try:
        return os.path.realpath(os.getcwd())
    except FileNotFoundError:  # it was removed meanwhile, and no module is found there
        return None
