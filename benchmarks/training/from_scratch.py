"""ResNet-20 with weights drawn anew, and images of CIFAR-10: what the benchmarks of several processes train.

Each side of such a benchmark is a script of its own that torchrun starts; the first process prints what was found.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cifar10 import load_cifar10
from benchmarks.training.engines import with_batch_norm
from pfir.data import open_data, parse_preprocess
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.training import TrainingGraph
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.distributed.collective import Collective
from pfir.train.distributed.compression.base import Collectives, Hook
from pfir.train.distributed.group import Group
from pfir.train.fitting.progress import Progress
from pfir.train.flat import FlatBuffer
from pfir.train.settings import Settings
from pfir.train.trainer import fit

FILE = "resnet20_cifar10_fp32.onnx"


def write_images(path: Path, count: int) -> None:
    """The first images of CIFAR-10's training set, as an .npz file."""
    cifar = load_cifar10()
    np.savez(path, x=cifar["train_x"][:count], y=cifar["train_y"][:count])


def in_processes(count: int, script: str, *arguments: str) -> dict[str, Any]:
    """What the script prints last in the first of so many processes, each with one thread."""
    torchrun = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--local-addr",
        "127.0.0.1",
        "--nproc-per-node",
        str(count),
    ]
    command = [sys.executable, *torchrun, script, *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def train(models: Path, images: Path, settings: Settings, hook: Hook) -> None:
    """Train in this process, one of those that torchrun started, and print what was found if it is the first."""
    graph, (taken,) = _graph(models)
    data = open_data(images, [taken], parse_preprocess("imagenet"))
    collective, timed = Collective(), _Timed(hook)
    losses: list[float] = []
    clock: list[tuple[float, float]] = []

    def tell(progress: Progress) -> None:
        """The epoch's mean so far becomes the step's own loss."""
        place = (progress.step - 1) % (len(data) // settings.batch)
        losses.append(progress.loss * (place + 1) - sum(losses[len(losses) - place :]))
        clock.append((time.perf_counter(), time.process_time()))

    fit(graph, data, settings, tell, workers=Group(collective, timed))
    collective.close()
    if collective.rank:
        return
    # The first steps build what later ones use.
    step_s, step_cpu_s = np.median(np.diff(clock[2:], axis=0), axis=0).tolist()
    exchange_s, exchange_cpu_s = np.median(timed.seconds[2:], axis=0).tolist()
    print(
        json.dumps(
            {
                "processes": collective.count,
                "step_s": step_s,
                "step_cpu_s": step_cpu_s,
                "images_per_s": settings.batch / step_s,
                "exchange_s": exchange_s,
                "exchange_cpu_s": exchange_cpu_s,
                "exchange_bytes": float(np.median(timed.sent[2:])),
                "gradient_bytes": timed.size,
                "losses": losses,
            }
        )
    )


@dataclass
class _Timed:
    """A hook, and what each call of it took, by the clock and of the processor, and sent."""

    hook: Hook
    seconds: list[tuple[float, float]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    size: int = 0

    def reduce(self, gradients: FlatBuffer, group: Collectives) -> None:
        began, used, before = time.perf_counter(), time.process_time(), group.sent_bytes
        self.hook.reduce(gradients, group)
        self.seconds.append((time.perf_counter() - began, time.process_time() - used))
        self.sent.append(group.sent_bytes - before)
        self.size = gradients.flat.nbytes

    def forget(self) -> None:
        self.hook.forget()

    def state(self) -> dict[str, np.ndarray]:
        return self.hook.state()

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        self.hook.restore(state)

    @property
    def compensates(self) -> bool:
        return self.hook.compensates


def _graph(models: Path) -> tuple[TrainingGraph, Any]:
    """The network with a loss of labels, its weights as He et al. draw them; and its inputs."""
    model, random = load(models / FILE), np.random.default_rng(0)
    drawn = {}
    for name, constant in model.initializers().items():
        if constant.values.ndim >= 2 and constant.values.dtype == np.float32:
            spread = np.sqrt(2 / constant.values[0].size)
            drawn[name] = (random.normal(size=constant.values.shape) * spread).astype(np.float32)
    model.set_arrays(drawn)
    inputs = model.inputs()
    probe = random.normal(size=(64, *inputs[0].shape[1:])).astype(np.float32)
    restored = with_batch_norm(model, {inputs[0].name: probe})
    restored.set_arrays(_neutral(restored))
    return attach_teacher(restored, None, DistillationSettings(label_weight=1.0)), inputs


def _neutral(model: Model) -> dict[str, np.ndarray]:
    """Scales of one and shifts of zero, as BatchNormalization begins."""
    norms = [node for node in model.nodes() if node.op == "BatchNormalization"]
    scales = {n.inputs[1].name: np.ones_like(n.inputs[1].values) for n in norms}
    return scales | {n.inputs[2].name: np.zeros_like(n.inputs[2].values) for n in norms}


def smoothed(losses: list[float], parts: int = 10) -> list[float]:
    """The means of so many parts of a curve."""
    return [float(np.mean(part)) for part in np.array_split(np.array(losses), parts)]


Page = Callable[[dict[str, Any]], str]


def write_results(name: str, found: dict[str, Any], page: Page) -> None:
    """The JSON file and the page of a benchmark."""
    results = Path(__file__).resolve().parents[1] / "results"
    (results / f"{name}.json").write_text(json.dumps(found, indent=1) + "\n")
    (results / f"{name}.md").write_text(page(found))
