"""Two processes joined by gloo against one: images a second with a thread each, and the same loss curve.

    python benchmarks/training/processes.py [--models DIR] [--engine ort] [--batch 32] [--steps 60] [--rounds 3]

One process has the batch, two have it each, and a third side is one process with the doubled batch: its curve is that
of the two. ResNet-20 from weights drawn anew on images of CIFAR-10. Needs the extra `torch`; on an idle machine. Writes
benchmarks/results/training_processes.json and .md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.from_scratch import in_processes, smoothed, train, write_images, write_results  # noqa: E402
from pfir.devices.host import cpu_name  # noqa: E402
from pfir.train.distributed.compression.choice import NONE, hook_named  # noqa: E402
from pfir.train.settings import Settings  # noqa: E402

SIDES = {"one": (1, 1), "two": (2, 2), "one, doubled batch": (1, 2)}
"""Processes, and batches."""


def main() -> None:
    arguments = _arguments()
    if arguments.images:
        settings = Settings(epochs=1, batch=arguments.batch, jobs=1, engine=arguments.engine, learning_rate=0.05)
        train(arguments.models, arguments.images, settings, hook_named(NONE))
        return
    found: dict[str, Any] = {"cpu": cpu_name(), "batch": arguments.batch, "engine": arguments.engine, "sides": {}}
    with tempfile.TemporaryDirectory() as folder:
        images = [Path(folder) / f"images{times}.npz" for times in (1, 2)]
        for times, path in enumerate(images, start=1):
            write_images(path, arguments.batch * times * arguments.steps)
        for _ in range(arguments.rounds):
            for side, (count, times) in SIDES.items():
                run = _run(arguments, count, arguments.batch * times, images[times - 1])
                found["sides"].setdefault(side, []).append(run)
                print(side, f"{run['images_per_s']:.0f} images a second", flush=True)
    write_results("training_processes", found, _page)


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--engine", choices=("ort", "torch"), default="ort")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(arguments: argparse.Namespace, count: int, batch: int, images: Path) -> dict[str, Any]:
    given = ("--models", str(arguments.models), "--engine", arguments.engine, "--batch", str(batch))
    return in_processes(count, __file__, *given, "--images", str(images))


def _page(found: dict[str, Any]) -> str:
    sides = found["sides"]
    speed = {side: float(np.median([run["images_per_s"] for run in runs])) for side, runs in sides.items()}
    two, doubled = (sides[side][0]["losses"] for side in ("two", "one, doubled batch"))
    apart = float(np.abs(np.array(two) - np.array(doubled)).max())
    exchange = float(np.median([run["exchange_s"] for run in sides["two"]]))
    step = float(np.median([run["step_s"] for run in sides["two"]]))
    lines = [
        "# Training in two processes against one",
        "",
        f"`python benchmarks/training/processes.py`: ResNet-20 on images of CIFAR-10, engine {found['engine']}, batch",
        f"{found['batch']} for each process, a thread each, gloo over loopback. On: {found['cpu']}. Medians of",
        f"{len(sides['two'])} rounds.",
        "",
        "| side | images a second | against one |",
        "|---|---|---|",
        *(f"| {side} | {speed[side]:.0f} | {speed[side] / speed['one']:.2f} |" for side in SIDES),
        "",
        f"Averaging the gradients ({sides['two'][0]['gradient_bytes'] / 1e6:.2f} MB) takes {exchange * 1e3:.1f} ms "
        "of a step of "
        f"{step * 1e3:.0f} ms, waiting for the other process included.",
        "",
        f"Loss of each step, two processes against one with the doubled batch: at most {apart:.1e} apart over",
        f"{len(two)} steps; the means of tenths of the steps:",
        "",
        f"- two: {', '.join(f'{loss:.4f}' for loss in smoothed(two))}",
        f"- one, doubled batch: {', '.join(f'{loss:.4f}' for loss in smoothed(doubled))}",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
