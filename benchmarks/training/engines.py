"""Images a second of training, by both engines and by PyTorch as one writes it oneself, with the memory it takes.

    python benchmarks/training/engines.py [--models DIR] [--threads 2] [--rounds 3] [--only NAME ...]

Each side of each network runs in a process of its own, the sides in turn; a figure is the median of the rounds, each
over a few steps in a row. pfir's steps are those of `fit`: samples and the teacher's answers are made ahead, the
teacher on the kernels that pfir compiles. Needs the extra `torch`; on an idle machine, where three rounds take five
minutes. Writes benchmarks/results/training_engines.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.training.plain import NETS, plain_step  # noqa: E402
from pfir.artifact import TensorSpec  # noqa: E402
from pfir.backends import open_backend  # noqa: E402
from pfir.compile.training.compiled_teacher import CompiledTeacher  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.devices.host import cpu_name  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context, Pass  # noqa: E402
from pfir.passes.batch_norm.restore import RestoreBatchNorm  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.pruning.prune_channels import PruneChannels  # noqa: E402
from pfir.run.session import Session  # noqa: E402
from pfir.train.feeding.source import Source  # noqa: E402
from pfir.train.optimizing.sgd import NesterovSgd  # noqa: E402
from pfir.train.session import TrainSession  # noqa: E402
from pfir.train.settings import Settings  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PLAIN = "plain"
SIDES = ("ort", "torch", PLAIN)
WARM_UP, STEPS = 3, 4
RATE = 1e-4
KEPT_MACS = 0.4
"""What a network keeps that is 2.5 times as fast, as a share of its multiply-accumulates."""


@dataclass(frozen=True)
class Row:
    """What is trained.

    Args:
        net: Name of the network.
        taught: Whether a teacher answers in every step.
        batch: Samples a step.
        pruned: Whether the student has 1 / 2.5 of the work, and the teacher's answers are known.
    """

    net: str
    taught: bool = False
    batch: int = 128
    pruned: bool = False

    @property
    def name(self) -> str:
        more = [", teacher"] * self.taught + [" at 2.5x, answers known"] * self.pruned
        return f"{self.net}{''.join(more)}{f', batch {self.batch}' if self.batch != 128 else ''}"


ROWS = [Row(net, taught) for net in NETS for taught in (False, True)]
ROWS += [Row("ResNet-20", taught=True, batch=32), Row("ResNet-56", pruned=True)]


@dataclass(frozen=True)
class Figures:
    """What one side of a row did.

    Args:
        images_per_s: Images a second.
        cores: Processor time of its process over time.
        peak_mb: The most memory that the process held so far, rows before this one included.
    """

    images_per_s: float
    cores: float
    peak_mb: float


def main() -> None:
    arguments = _arguments()
    rows = [row for row in ROWS if not arguments.only or row.net in arguments.only]
    if arguments.side:
        print(json.dumps([vars(_measured(arguments, row)) for row in _rows_of(arguments.side, rows)]))
        return
    found: dict = {"cpu": cpu_name(), "threads": arguments.threads, "versions": _versions(), "rows": {}}
    for net in dict.fromkeys(row.net for row in rows):
        found["rows"].update(_medians(arguments, net, [row for row in rows if row.net == net]))
        (RESULTS / "training_engines.json").write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "training_engines.md").write_text(_page(found))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=NETS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def _versions() -> dict[str, str]:
    import onnxruntime
    import torch

    return {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}


def _rows_of(side: str, rows: list[Row]) -> list[Row]:
    """The rows that a side has: PyTorch by hand prunes nothing."""
    return [row for row in rows if side != PLAIN or not row.pruned]


def _medians(arguments: argparse.Namespace, net: str, rows: list[Row]) -> dict[str, dict]:
    """Each side's figures by the row's name, the medians of the rounds."""
    rounds = [{side: _in_its_own_process(arguments, net, side) for side in SIDES} for _ in range(arguments.rounds)]
    found: dict[str, dict] = {row.name: {} for row in rows}
    for side in SIDES:
        for i, row in enumerate(_rows_of(side, rows)):
            each = [once[side][i] for once in rounds]
            found[row.name][side] = {name: float(np.median([figures[name] for figures in each])) for name in each[0]}
            print(row.name, side, found[row.name][side], flush=True)
    return found


def _in_its_own_process(arguments: argparse.Namespace, net: str, side: str) -> list[dict[str, float]]:
    command = [sys.executable, __file__, "--models", str(arguments.models), "--only", net, "--side", side]
    command += ["--threads", str(arguments.threads)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _measured(arguments: argparse.Namespace, row: Row) -> Figures:
    with _steps(arguments, row) as step:
        for _ in range(WARM_UP):
            step()
        began, busy = time.perf_counter(), time.process_time()
        for _ in range(STEPS):
            step()
        seconds, busy_s = time.perf_counter() - began, time.process_time() - busy
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Figures(STEPS * row.batch / seconds, busy_s / seconds, peak_mb)


@contextmanager
def _steps(arguments: argparse.Namespace, row: Row) -> Iterator[Callable[[], None]]:
    """What does one step after the other."""
    if arguments.side == PLAIN:
        yield plain_step(NETS[row.net], row.batch, arguments.threads, row.taught)
        return
    net, settings = NETS[row.net], Settings(batch=row.batch, jobs=arguments.threads, renew=row.taught)
    original = load(arguments.models / net.file)
    data = _Images(original.inputs()[0], net.classes, row.batch)
    student = _student(original, row, data.batch(np.arange(8)))
    teacher = original if row.taught or row.pruned else None
    losses = DistillationSettings(teacher_weight=1.0) if teacher else DistillationSettings(label_weight=1.0)
    graph = attach_teacher(student, teacher, losses)
    compiled = CompiledTeacher(open_backend("tvm"), arguments.threads)
    with compiled(graph.teacher, 10**9, settings) if graph.teacher else nullcontext() as answers:
        source = Source(graph, data, settings, answers=answers)
        session = TrainSession(graph, source.shapes(), row.batch, arguments.threads, arguments.side, halves=True)
        optimizer = NesterovSgd(session.parameters.flat.size, session.parameters.flat * 0 + 1e-4, 0.9, 2.0)
        feeds = source.feeds(0, WARM_UP + STEPS)

        def step() -> None:
            session.step(next(feeds))
            optimizer.step(session.parameters.flat, session.gradients.flat, RATE)

        yield step
        feeds.close()
        source.close()
        session.close()
        assert not source.notes, source.notes


class _Images(Dataset):
    """Random images of one batch, classes in turn."""

    kind, notes = "given", ()

    def __init__(self, taken: TensorSpec, classes: int, count: int) -> None:
        self.inputs, self.labels = (taken.name,), np.arange(count) % classes
        self._images = np.random.default_rng(0).normal(size=(count, *taken.shape[1:])).astype(np.float32)

    def __len__(self) -> int:
        return len(self._images)

    def batch(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        return {self.inputs[0]: self._images[indices]}

    def fingerprint(self) -> str:
        return "random images"


def _student(model: Model, row: Row, feeds: dict[str, np.ndarray]) -> Model:
    """The network with BatchNormalization, after its channels are gone where that is asked for."""
    pruning: tuple[Pass, ...] = (PruneChannels(macs=KEPT_MACS, criterion="l1"),) if row.pruned else ()
    return with_batch_norm(model, feeds, *pruning)


def with_batch_norm(model: Model, feeds: dict[str, np.ndarray], *passes: Pass) -> Model:
    """The model after passes, BatchNormalization put back by its activations on these inputs."""

    def activations(given, names):
        yield Session(given.until(names)).predict(feeds)

    return run((*passes, RestoreBatchNorm()), model, Context(activations=activations))[0]


def _page(found: dict) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        "# Training: images a second",
        "",
        f"`python benchmarks/training/engines.py`, {found['threads']} threads, batch 128 unless said; {versions}.",
        f"On: {found['cpu']}. Medians. `plain` is PyTorch with channels last as one writes it oneself: modules,",
        "autograd, torch.optim.SGD, and the teacher in PyTorch; pfir's teacher runs on kernels that it compiles, in",
        "processes of its own, whose memory (and time, under cores) is not counted.",
        "",
        "| network | ort | torch | plain PyTorch | better / plain | cores of the better | peak MB: ort, torch, plain |",
        "|---|---|---|---|---|---|---|",
    ]
    return "\n".join([*lines, *(_line(name, row) for name, row in found["rows"].items())]) + "\n"


def _line(name: str, row: dict[str, dict[str, float]]) -> str:
    rates = {side: row[side]["images_per_s"] for side in row}
    better = max(("ort", "torch"), key=lambda side: rates[side])
    cells = [f"{rates[side]:.0f}" if side in rates else "-" for side in SIDES]
    ratio = f"{rates[better] / rates[PLAIN]:.2f}" if PLAIN in rates else "-"
    memory = ", ".join(f"{row[side]['peak_mb']:.0f}" for side in row)
    cores = f"{row[better]['cores']:.2f}"
    return f"| {' | '.join([name, *cells, ratio, cores, memory])} |"


if __name__ == "__main__":
    main()
