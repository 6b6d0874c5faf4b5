"""What compressed gradients cost and teach: bytes, time and loss curves of two processes on ResNet-20.

    python benchmarks/training/compression.py [--models DIR] [--engine ort] [--batch 64] [--steps 150] [--only NAME ...]

The batch is that of both together; weights are drawn anew, the images are CIFAR-10's. Needs the extra `torch`. Writes
benchmarks/results/training_compression.json and .md.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.from_scratch import in_processes, smoothed, train, write_images, write_results  # noqa: E402
from pfir.devices.host import cpu_name  # noqa: E402
from pfir.train.distributed.compression.choice import COMPRESSIONS, hook_named  # noqa: E402
from pfir.train.settings import Settings  # noqa: E402

RATE = 0.05


def main() -> None:
    arguments = _arguments()
    if arguments.images:
        settings = Settings(epochs=1, batch=arguments.batch, jobs=1, engine=arguments.engine, learning_rate=RATE)
        train(arguments.models, arguments.images, settings, hook_named(arguments.only[0]))
        return
    found: dict[str, Any] = {"cpu": cpu_name(), "batch": arguments.batch, "engine": arguments.engine, "sides": {}}
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.npz"
        write_images(images, arguments.batch * arguments.steps)
        for name in arguments.only:
            found["sides"][name] = run = _run(arguments, name, images)
            print(name, f"{run['exchange_bytes']:.0f} bytes a step", smoothed(run["losses"]), flush=True)
            write_results("training_compression", found, _page)


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--engine", choices=("ort", "torch"), default="ort")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--only", nargs="*", choices=COMPRESSIONS, default=COMPRESSIONS)
    parser.add_argument("--images", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(arguments: argparse.Namespace, name: str, images: Path) -> dict[str, Any]:
    given = ("--models", str(arguments.models), "--engine", arguments.engine, "--batch", str(arguments.batch))
    return in_processes(2, __file__, *given, "--only", name, "--images", str(images))


def _page(found: dict[str, Any]) -> str:
    sides = found["sides"]
    first = next(iter(sides.values()))
    size, steps = first["gradient_bytes"], len(first["losses"])
    lines = [
        "# Compressed gradients",
        "",
        "`python benchmarks/training/compression.py`: ResNet-20 from weights drawn anew on images of CIFAR-10, two",
        f"processes with a thread each, gloo over loopback, engine {found['engine']},",
        f"{steps} steps of {found['batch']} images, rate {RATE}. On: {found['cpu']}.",
        f"A gradient has {size / 1e6:.3f} MB in float32; bytes are what one",
        "process gives to the network in a step, medians. The clock takes in the wait for the other process and for",
        "whatever else the machine does; the processor's time, in brackets, is that of one process alone.",
        "",
        "| compression | bytes a step | times fewer | exchange | step | loss over tenths of the steps |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in sides.items():
        sent, curve = run["exchange_bytes"], ", ".join(f"{loss:.2f}" for loss in smoothed(run["losses"]))
        exchange = f"{run['exchange_s'] * 1e3:.1f} ({run['exchange_cpu_s'] * 1e3:.1f}) ms"
        times = f"{exchange} | {run['step_s'] * 1e3:.0f} ({run['step_cpu_s'] * 1e3:.0f}) ms"
        lines.append(f"| {name} | {sent:.0f} | {size / sent:.1f} | {times} | {curve} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
