"""What cases start from: small networks, ONNX's own test models, and the results of a run of pfir."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import onnx

from benchmarks.fuzz.case import Base
from tests.support import jobs
from tests.support.structures import FAMILIES, build

SEEDS = (0, 1)
RUN = (
    "compile",
    "net.onnx",
    "--target",
    "host",
    "--backend",
    "ort",
    "--size",
    "1.5x",
    "--trials",
    "2",
    "--jobs",
    "1",
    "--data",
    "data.npz",
)


def make_base(folder: Path, node_tests: bool) -> Base:
    """The base, its files in the folder.

    Args:
        node_tests: Whether ONNX's test models of single operators belong to it; they take some seconds to be made.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    jobs.write_model(folder)
    jobs.write_data(folder, count=16)
    models = {"families": _families(), "files": _files(), "nodes": _node_tests() if node_tests else ()}
    _in_a_child(lambda: _runs(folder))
    return Base(folder, models)


def _families() -> tuple[bytes, ...]:
    """Members of the structure families that the tests share."""
    return tuple(build(name, seed).to_proto().SerializeToString() for name in FAMILIES for seed in SEEDS)


def _files() -> tuple[bytes, ...]:
    """Whole networks and subgraphs that the onnx wheel brings."""
    data = Path(onnx.__file__).parent / "backend/test/data"
    return tuple(path.read_bytes() for path in sorted(data.rglob("model.onnx")))


def _node_tests() -> tuple[bytes, ...]:
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    models = [c.model.SerializeToString() for c in cases if c.model is not None]
    return tuple(m for m in models if len(m) < 1 << 16)


def _runs(folder: Path) -> None:
    """A finished run with fine-tuning, and the state that it would have left, had it been ended while it trained."""
    from pfir.cli import main
    from pfir.train import checkpoint

    def keep(path: Path, state, keeps_last: bool = True) -> None:
        save(path, state, keeps_last)
        shutil.copyfile(path, folder / "state" / path.name)

    save, checkpoint.save = checkpoint.save, keep
    os.chdir(folder)
    (folder / "state").mkdir()
    sys.argv = ["pfir", *RUN, "--epochs", "1", "-o", "done"]
    with jobs.short_runs(), suppress(SystemExit):
        main()
    for journal in (folder / "done").glob("*.jsonl"):
        shutil.copyfile(journal, folder / "state" / journal.name)


def _in_a_child(work) -> None:
    """Threads that it starts stay out of the process that cases are forked from."""
    child = os.fork()
    if child == 0:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit("the run that cases start from failed")
