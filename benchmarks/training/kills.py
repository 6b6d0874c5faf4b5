"""Trainings that are ended by kill -9 at random steps, against one that is not: the weights must be the same bits.

    python benchmarks/training/kills.py [--kills 20] [--seed 0] [--engine ort]

A small net with BatchNormalization learns for 300 steps in a process of its own, with a checkpoint after every
step; the parent kills it up to 30 ms after it has told of a step drawn at random, wherever it is by then (in a step, in
the write of a checkpoint, at an epoch's end), and starts it again until it ends by itself. Writes
benchmarks/results/training_kills.md.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfir.data.files.arrays import ArrayDataset  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher  # noqa: E402
from pfir.train.fitting.judges import Judges  # noqa: E402
from pfir.train.fitting.progress import Progress  # noqa: E402
from pfir.train.settings import Settings  # noqa: E402
from pfir.train.trainer import fit  # noqa: E402

PAGE = ROOT / "benchmarks" / "results" / "training_kills.md"
EPOCHS, BATCH, SAMPLES = 25, 16, 192
STEPS = EPOCHS * (SAMPLES // BATCH)
LATEST_S = 0.03


@dataclass(frozen=True)
class Survival:
    """What a training that was killed came to.

    Args:
        killed: The steps told last before each kill.
        resumed: The step that each start went on from.
        same: Whether all its arrays are those of a training that ran through, bit by bit.
    """

    killed: tuple[int, ...]
    resumed: tuple[int, ...]
    same: bool


def main() -> None:
    arguments = _arguments()
    if arguments.out:
        train(arguments.out, arguments.checkpoint, arguments.engine)
        return
    found = survive(arguments.kills, arguments.seed, arguments.engine)
    page = _page(found, arguments.engine)
    PAGE.write_text(page)
    print(page)
    raise SystemExit(0 if found.same else 1)


def survive(kills: int, seed: int, engine: str = "auto") -> Survival:
    """Train once through, and once with so many kills at random steps."""
    random = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        through, killed = Path(folder) / "through.npz", Path(folder) / "killed.npz"
        _started(through, None, engine).communicate()
        # Sorted, since a training that goes on has passed the steps before.
        steps = sorted(int(s) for s in random.choice(np.arange(1, STEPS), kills, replace=False))
        at, resumed = [], []
        for step in [*steps, STEPS + 1]:
            process = _started(killed, Path(folder) / "state.npz", engine)
            first, last = _killed_at(process, step, random.uniform(0, LATEST_S))
            resumed.append(first)
            at += [last] if step <= STEPS else []
        return Survival(tuple(at), tuple(resumed), _equal(through, killed))


def train(out: Path, checkpoint: Path | None, engine: str) -> None:
    """Train the net, tell every step on stdout, and write what was learnt."""

    def tell(progress: Progress) -> None:
        print(progress.step, progress.note or "", flush=True)

    every_step = {"checkpoint": checkpoint, "checkpoint_every_s": 0.0}
    settings = Settings(epochs=EPOCHS, batch=BATCH, learning_rate=0.05, engine=engine, **every_step)
    model = net()
    graph = attach_teacher(model, None, DistillationSettings(label_weight=1.0))
    result = fit(
        graph, _samples(model), settings, tell, judges=Judges(lambda arrays: -float(np.abs(arrays["fw"]).sum()))
    )
    losses = np.array([entry["loss"] for entry in result.curve])
    np.savez(out, losses=losses, **result.arrays)


def net() -> Model:
    """image [N, 3, 12, 12] -> Conv, BatchNormalization, Relu, mean, Gemm -> logits [N, 5]."""
    random = np.random.default_rng(0)
    held = {
        "w": random.normal(0, 0.3, (16, 3, 3, 3)),
        "fw": random.normal(0, 0.3, (5, 16)),
        "fb": np.zeros(5),
        **{name: np.ones(16) for name in ("scale", "var")},
        **{name: np.zeros(16) for name in ("shift", "mean")},
    }
    nodes = [
        helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], ["n"]),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "fw", "fb"], ["logits"], transB=1),
    ]
    given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 12, 12])
    made = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 5])
    constants = [numpy_helper.from_array(x.astype(np.float32), name) for name, x in held.items()]
    graph = helper.make_graph(nodes, "net", [given], [made], constants)
    return Model.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8))


def _samples(model: Model) -> ArrayDataset:
    random = np.random.default_rng(1)
    kinds = random.integers(0, 5, SAMPLES)
    images = random.normal(size=(5, 3, 12, 12))[kinds] + random.normal(size=(SAMPLES, 3, 12, 12))
    return ArrayDataset({"image": images.astype(np.float32), "y": kinds}, model.inputs(), None, "made up")


def _started(out: Path, checkpoint: Path | None, engine: str) -> subprocess.Popen:
    command = [sys.executable, __file__, "--out", str(out), "--engine", engine]
    command += ["--checkpoint", str(checkpoint)] if checkpoint else []
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _killed_at(process: subprocess.Popen, step: int, delay_s: float) -> tuple[int, int]:
    """The first step that a training told of and the last, after which it was killed; it may end before.

    One that had ended by itself tells of none.
    """
    told = [STEPS]
    for line in process.stdout or ():
        told.append(int(line.split()[0]))
        if told[-1] >= step:
            time.sleep(delay_s)
            process.send_signal(signal.SIGKILL)
            break
    process.communicate()
    return told[min(1, len(told) - 1)], told[-1]


def _equal(one: Path, other: Path) -> bool:
    with np.load(one) as a, np.load(other) as b:
        return set(a) == set(b) and all(a[name].tobytes() == b[name].tobytes() for name in a)


def _page(found: Survival, engine: str) -> str:
    outcome = "the same bits" if found.same else "OTHER BITS"
    return f"""# Trainings that are killed

`python benchmarks/training/kills.py --engine {engine}`: {STEPS} steps of a small net, a checkpoint after each, ended by
kill -9 {len(found.killed)} times, each up to {1000 * LATEST_S:.0f} ms after a step drawn at random was told.

Weights, running statistics and the loss of every epoch, against a training that ran through: **{outcome}**.

| | |
|---|---|
| killed after step | {", ".join(map(str, found.killed))} |
| first step of each start | {", ".join(map(str, found.resumed))} |
"""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", default="ort")
    parser.add_argument("--out", type=Path, help="Train here, and write what was learnt.")
    parser.add_argument("--checkpoint", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
