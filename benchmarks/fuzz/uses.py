"""What is done with a model file: mostly inspect and opt, which are quick, now and then all the rest."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.fuzz.case import Case, chance, pick

PASSES = (
    "simplify",
    "simplify,fold-batch-norm",
    "fold-batch-norm",
    "remove-dead-channels",
    "inline-functions,simplify",
    "simplify,fold-batch-norm,remove-dead-channels",
    "prune-channels{ratio=0.3}",
    "prune-channels{ratio=0.99}",
    "simplify,prune-channels{ratio=0.5}",
    "simplify,fold-batch-norm,prune-channels{macs=0.6}",
    "prune-channels{ratio=0.4 align=4}",
    "prune-channels{macs=0.3 criterion=magnitude}",
    "restore-batch-norm",
    "inline-functions,simplify,fold-batch-norm,remove-dead-channels,prune-channels{ratio=0.5}",
    "simplify,prune-channels{ratio=0.5 steps=2}",
    "prune-channels{ratio=0.5 within_heads=true}",
)


def use(rng: np.random.Generator, path: str, note: str) -> Case:
    """A command on the model."""
    return pick(rng, _USES)(rng, path, note)


def _inspect(rng: np.random.Generator, path: str, note: str) -> Case:
    words = ["inspect", path] + (["--json"] if chance(rng, 0.5) else [])
    if chance(rng, 0.05):
        words += [pick(rng, ("--keep", "--only")), pick(rng, ("Conv_1", "x", ""))]
    return Case(tuple(words), note)


def _opt(rng: np.random.Generator, path: str, note: str) -> Case:
    return Case(("opt", path, "--passes", pick(rng, PASSES), "-o", "out.onnx"), note, partial(_written, path))


def _evaluate(rng: np.random.Generator, path: str, note: str) -> Case:
    x = rng.standard_normal(pick(rng, ((4, 3, 6, 6), (4, 3, 4, 4), (4, 4), (3, 2, 4), (2, 3)))).astype(np.float32)
    np.savez("d.npz", x=x)
    return Case(("evaluate", path, "--data", "d.npz", "--reference", path, "--jobs", "1"), note)


def plan(rng: np.random.Generator, path: str, note: str) -> Case:
    """What compile would do with the model; it imports TVM."""
    words = ("compile", path, "--target", "host", "--backend", pick(rng, ("ort", "tvm")), "--macs", "0.7", "--dry-run")
    return Case((*words, "--jobs", "1"), note)


def _written(path: str, code: int) -> str | None:
    """What opt wrote opens in ONNX Runtime, unless the original does not; a failure writes nothing."""
    if code != 0:
        return "an output in spite of a failure" if Path("out.onnx").exists() else None
    if "opens neither" in Path("../stdout").read_text(errors="replace"):
        return None
    refused = _refused("out.onnx")
    return f"opt wrote what ONNX Runtime refuses: {refused}" if refused and not _refused(path) else None


def _refused(path: str) -> str:
    """With which exception ONNX Runtime refuses a file; empty where it takes it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (ONNX Runtime has a dozen types)
        return type(error).__name__
    return ""


_USES = (_inspect,) * 45 + (_opt,) * 50 + (_evaluate,) * 5
