"""The process that cases are forked from: everything imported and used once, with a single thread."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import pkgutil
import sys
from contextlib import redirect_stdout, suppress
from io import StringIO
from pathlib import Path

from benchmarks.fuzz.forked import fork_trials


def warm_up(scratch: Path) -> None:
    """Import and use what cases will use, so that each of them takes milliseconds.

    Raises:
        SystemExit: Threads were started: a forked process would lack them.
    """
    _import_pfir()
    _build_the_command_line_once()
    fork_trials()
    _use(scratch / "warm.onnx")
    _refuse_threads()


def import_heavy() -> None:
    """Import what doubles the memory of a process, and with it the time of a fork.

    Raises:
        SystemExit: Threads were started.
    """
    import nevergrad  # noqa: F401
    import tvm  # noqa: F401

    _refuse_threads()


def _refuse_threads() -> None:
    if len(os.listdir("/proc/self/task")) > 1:
        raise SystemExit("a thread runs in the process that cases are forked from")


def _import_pfir() -> None:
    import onnxruntime  # noqa: F401
    import PIL.Image

    import pfir

    PIL.Image.init()
    left_out = () if importlib.util.find_spec("torch") else (".pytorch",)
    for module in pkgutil.walk_packages(pfir.__path__, "pfir."):
        if not any(part in module.name for part in ("_main", "_script", *left_out)):
            importlib.import_module(module.name)


def _build_the_command_line_once() -> None:
    """Typer builds it anew at each call, which takes longer than most cases."""
    import typer.main

    typer.main.get_command = functools.cache(typer.main.get_command)


def _use(path: Path) -> None:
    from pfir.cli import main
    from tests.support.structures import build

    build("chain", 0).save(path)
    passes = "simplify,fold-batch-norm,prune-channels{ratio=0.3}"
    for words in (("passes",), ("inspect", path), ("opt", path, "--passes", passes, "-o", path)):
        sys.argv = ["pfir", *map(str, words)]
        with redirect_stdout(StringIO()), suppress(SystemExit):
            main()
