"""Images a second of training, by both engines and by PyTorch as one writes it oneself.

    python benchmarks/training/engines.py [--models DIR] [--threads 2] [--batch 128] [--rounds 3] [--only NAME ...]

Each side of each network, with and without a teacher, runs in a process of its own, the sides in turn; a figure is the
median of the rounds, each the best of a few steps. Needs the extra `torch`; on an idle machine. Writes
benchmarks/results/training_engines.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.plain import NETS, plain_step  # noqa: E402
from pfir.devices.host import cpu_name  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.batch_norm.restore import RestoreBatchNorm  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.run.session import Session  # noqa: E402
from pfir.train.feeding.teacher import Teacher  # noqa: E402
from pfir.train.optimizing.sgd import NesterovSgd  # noqa: E402
from pfir.train.session import TrainSession  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SIDES = ("ort", "torch", "plain")
STEPS = 5
RATE = 1e-4


def main() -> None:
    arguments = _arguments()
    if arguments.side:
        print(json.dumps(_images_per_second(arguments)))
        return
    found = {"cpu": cpu_name(), "threads": arguments.threads, "batch": arguments.batch, "versions": _versions()}
    found["rows"] = {}
    for name in arguments.only or NETS:
        for taught in (False, True):
            row = f"{name}{', teacher' if taught else ''}"
            found["rows"][row] = _row(arguments, name, taught)
            print(row, found["rows"][row], flush=True)
            (RESULTS / "training_engines.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "training_engines.md").write_text(_page(found))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=NETS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--taught", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _versions() -> dict[str, str]:
    import onnxruntime
    import torch

    return {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}


def _row(arguments: argparse.Namespace, name: str, taught: bool) -> dict[str, float]:
    """Images a second of each side, the medians of the rounds."""
    rounds = [[_in_its_own_process(arguments, name, taught, side) for side in SIDES] for _ in range(arguments.rounds)]
    return dict(zip(SIDES, np.median(rounds, axis=0).tolist(), strict=True))


def _in_its_own_process(arguments: argparse.Namespace, name: str, taught: bool, side: str) -> float:
    command = [sys.executable, __file__, "--models", str(arguments.models), "--only", name, "--side", side]
    command += ["--threads", str(arguments.threads), "--batch", str(arguments.batch)] + ["--taught"] * taught
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def _images_per_second(arguments: argparse.Namespace) -> float:
    (name,) = arguments.only
    make = plain_step if arguments.side == "plain" else _our_step
    step = make(arguments, name)
    step()
    return arguments.batch / min(_seconds(step) for _ in range(STEPS))


def _seconds(step: Callable[[], None]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def _our_step(arguments: argparse.Namespace, name: str) -> Callable[[], None]:
    """One step of pfir's trainer on random images: the teacher's outputs, loss and gradients, the optimizer."""
    original = load(arguments.models / NETS[name].file)
    (taken,) = original.inputs()
    images = np.random.default_rng(0).normal(size=(arguments.batch, *taken.shape[1:])).astype(np.float32)
    restored = with_batch_norm(original, {taken.name: images[:8]})
    settings = DistillationSettings(teacher_weight=1.0) if arguments.taught else DistillationSettings(label_weight=1.0)
    graph = attach_teacher(restored, original if arguments.taught else None, settings)
    teacher = Teacher(graph, arguments.threads) if graph.teacher else None
    given = {taken.name: images}
    labels = {graph.labels: np.arange(arguments.batch) % 2} if graph.labels else {}

    def feeds() -> dict[str, np.ndarray]:
        return {**given, **labels, **(teacher.outputs(given) if teacher else {})}

    shapes = {n: x.shape[1:] for n, x in feeds().items()}
    session = TrainSession(graph, shapes, arguments.batch, arguments.threads, arguments.side)
    optimizer = NesterovSgd(session.parameters.flat.size, session.parameters.flat * 0 + 1e-4, 0.9, 2.0)

    def step() -> None:
        session.step(feeds())
        optimizer.step(session.parameters.flat, session.gradients.flat, RATE)

    return step


def with_batch_norm(model: Model, feeds: dict[str, np.ndarray]) -> Model:
    def activations(given, names):
        yield Session(given.until(names)).predict(feeds)

    return run((RestoreBatchNorm(),), model, Context(activations=activations))[0]


def _page(found: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "# Training: images a second",
        "",
        f"`python benchmarks/training/engines.py`, {found['threads']} threads, batch {found['batch']}; {versions}.",
        f"On: {found['cpu']}. Medians. `plain` is PyTorch with channels last as one writes it oneself: modules,",
        "autograd, torch.optim.SGD, and the teacher in PyTorch; pfir's teacher runs in ONNX Runtime by either engine.",
        "",
        "| network | ort | torch | plain PyTorch | torch / ort | torch / plain |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in found["rows"].items():
        ort, torch, plain = (row[side] for side in SIDES)
        lines.append(f"| {name} | {ort:.0f} | {torch:.0f} | {plain:.0f} | {torch / ort:.2f} | {torch / plain:.2f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
