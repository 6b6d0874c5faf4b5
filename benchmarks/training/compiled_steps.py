"""Whether compiled steps pay: what a step of the engine torch takes as it is and compiled, and what compiling takes.

    python benchmarks/training/compiled_steps.py [--models DIR] [--batch 32] [--threads 1] [--steps 15] [--only NAME ..]

Both sides of a network are sessions of pfir in one process, whose steps alternate; figures are their medians, and so
is the ratio of each pair. `at 2.5x` has lost channels until 40 % of the multiply-accumulates are left, as a student
has. Compiling begins with an empty cache of Inductor's, so the first network's has what is done once on a machine.
Needs the extra `torch` and a C++ compiler. Writes benchmarks/results/training_compiled.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.engines import KEPT_MACS, with_batch_norm  # noqa: E402
from benchmarks.training.plain import NETS  # noqa: E402
from pfir.devices.host import cpu_name  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.training import TrainingGraph  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.passes.pruning.prune_channels import PruneChannels  # noqa: E402
from pfir.train.session import TrainSession  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
WARM_UP = 2
PRUNED = "ResNet-56"
ROWS = {name: (name, False) for name in NETS} | {f"{PRUNED} at 2.5x": (PRUNED, True)}
"""By name the network, and whether it has lost channels."""

Arrays = dict[str, np.ndarray]


def main() -> None:
    arguments = _arguments()
    import torch

    found: dict = {"cpu": cpu_name(), "torch": torch.__version__, "batch": arguments.batch}
    command = " ".join(("python benchmarks/training/compiled_steps.py", *sys.argv[1:]))
    found |= {"threads": arguments.threads, "command": command, "rows": {}}
    for name in arguments.only:
        found["rows"][name] = _figures(arguments, *_graph(arguments, *ROWS[name]))
        print(name, found["rows"][name], flush=True)
    (RESULTS / "training_compiled.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "training_compiled.md").write_text(_page(found))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--only", nargs="*", choices=ROWS, default=list(ROWS))
    return parser.parse_args()


def _graph(arguments: argparse.Namespace, net: str, pruned: bool) -> tuple[TrainingGraph, Arrays]:
    """What is trained, by labels, and a batch of noise for it."""
    random = np.random.default_rng(0)
    model = load(arguments.models / NETS[net].file)
    (taken,) = model.inputs()
    images = random.normal(size=(arguments.batch, *taken.shape[1:])).astype(np.float32)
    passes = (PruneChannels(macs=KEPT_MACS, criterion="l1"),) if pruned else ()
    student = with_batch_norm(model, {taken.name: images[:8]}, *passes)
    graph = attach_teacher(student, None, DistillationSettings(label_weight=1.0))
    return graph, {taken.name: images, graph.labels: np.arange(arguments.batch) % NETS[net].classes}


def _figures(arguments: argparse.Namespace, graph: TrainingGraph, feeds: Arrays) -> dict[str, float]:
    shapes = {name: x.shape[1:] for name, x in feeds.items()}
    sides = [TrainSession(graph, shapes, arguments.batch, arguments.threads, "torch", halves=True) for _ in range(2)]
    began, used = time.perf_counter(), _used_s()
    sides[1].compile(feeds)
    taken, used = time.perf_counter() - began, _used_s() - used
    start = sides[0].statistics.flat.copy()
    apart = _difference(sides, feeds)
    pairs = np.array([[_step_s(side, feeds, start) for side in sides] for _ in range(WARM_UP + arguments.steps)])
    eager, compiled = pairs[WARM_UP:].transpose(1, 2, 0)
    for side in sides:
        side.close()
    return {
        **{f"eager_{name}_ms": 1e3 * float(np.median(x)) for name, x in zip(("processor", "wall"), eager, strict=True)},
        **{
            f"{n}_ratio": float(np.median(b / a))
            for n, a, b in zip(("processor", "wall"), eager, compiled, strict=True)
        },
        "compiling_s": taken,
        "compiling_processor_s": used,
        "nodes": len(graph.model.graph.nodes),
        "gradient_difference": apart,
    }


def _difference(sides: list[TrainSession], feeds: Arrays) -> float:
    """How far the gradients are apart, as a share of their length."""
    gradients = []
    for side in sides:
        side.step(feeds)
        gradients.append(side.gradients.flat.astype(np.float64))
    return float(np.linalg.norm(gradients[1] - gradients[0]) / np.linalg.norm(gradients[0]))


def _step_s(session: TrainSession, feeds: Arrays, statistics: np.ndarray) -> tuple[float, float]:
    """Processor time and time of a step from these running statistics."""
    session.set_statistics(statistics)
    began, busy = time.perf_counter(), time.process_time()
    session.step(feeds)
    return time.process_time() - busy, time.perf_counter() - began


def _used_s() -> float:
    """Seconds of the processor, of this process and of compilers that it ran."""
    return sum(os.times()[:4])


def _page(found: dict) -> str:
    lines = [
        "# Training: compiled steps",
        "",
        f"`{found['command']}`: torch {found['torch']}, batch {found['batch']}, threads: {found['threads']}.",
        f"On: {found['cpu']}, shared with other work, so processor time tells more than the clock. Steps as they are",
        "and compiled alternate in one process; medians, of ratios those of the pairs. `difference`: of the gradients,",
        "over their length.",
        "",
        "| network | nodes | step, ms | compiled / as it is: processor, wall | compiling, s: wall, CPU | difference |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(name, row) for name, row in found["rows"].items())]) + "\n"


def _line(name: str, row: dict[str, float]) -> str:
    ratios = f"{row['processor_ratio']:.2f}, {row['wall_ratio']:.2f}"
    compiling = f"{row['compiling_s']:.0f}, {row['compiling_processor_s']:.0f}"
    figures = f"{row['nodes']} | {row['eager_wall_ms']:.0f} | {ratios} | {compiling} | {row['gradient_difference']:.0e}"
    return f"| {name} | {figures} |"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        main()
