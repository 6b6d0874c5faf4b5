"""Trained networks with the samples that they are calibrated and judged on."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.cells import Cells
from pfir.artifact import TensorSpec
from pfir.data import open_data, parse_preprocess
from pfir.data.base import Dataset
from pfir.data.generated import Range, generated
from pfir.frontends import load
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.spec import parse
from pfir.run.evaluate import Reference, evaluate, reference

SHARED = Path(os.environ.get("PFIR_SHARED", Path(__file__).resolve().parents[2] / "shared"))
CIFAR = "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
LITE = "mean=127,std=128,resize=256,crop=224"
BASELINE = "simplify,fold-batch-norm"
BATCH = 16
TEST_IMAGES = 10_000


@dataclass(frozen=True)
class Subject:
    """A network with its samples.

    Args:
        file: Of the model.
        data: `cifar10`, the name of a file under shared/data, or None for generated inputs.
        preprocess: Of the data.
        range: Of generated inputs; such that nearly all classes are answered.
        calibration, judging: How many samples; of CIFAR-10 10,000 to judge on are its test images.
    """

    file: str
    data: str | None = None
    preprocess: str | None = None
    range: Range = Range()
    calibration: int = 100
    judging: int = 400

    def told(self) -> str:
        """Its samples in a sentence."""
        data = self.data or "generated inputs"
        return f"{self.calibration} samples of {data} for calibration, {self.judging} others to be judged on."


@dataclass(frozen=True)
class Baseline:
    """A simplified and folded float model with what it is calibrated and judged on."""

    model: Model
    calibration: Dataset
    judging: Dataset

    @cached_property
    def _reference(self) -> Reference:
        return reference(self.model, self.judging)

    def scores(self, made: Model | bytes) -> dict[str, float | None]:
        found = evaluate(made, self.judging, self._reference)
        return {"accuracy": found.accuracy, "fidelity": found.fidelity, "divergence": found.divergence}


def fill(
    cells: Cells,
    subjects: Mapping[str, Subject],
    arguments: argparse.Namespace,
    row: Callable[[Baseline, str], dict],
) -> None:
    """Run the cells that are asked for, each network's from one baseline.

    Args:
        arguments: With those of `add_places`.
        row: Of a cell, whose name comes without the network's.
    """
    for network, wanted in cells.by_network():
        before = baseline(subjects[network], arguments)
        for cell in wanted:
            cells.keep(cell, row(before, cell.partition(" ")[2]))


def add_places(parser: argparse.ArgumentParser) -> None:
    """Give a command line what `baseline` and `opened` read."""
    parser.add_argument("--shared", type=Path, default=SHARED, help="holds models/ and data/")
    folder = "folder of CIFAR-10's train.npz and, where test images are judged on, test.npz"
    parser.add_argument("--cifar", "--data", dest="cifar", type=Path, default=Path("cifar10"), help=folder)


def baseline(subject: Subject, places: argparse.Namespace) -> Baseline:
    """A network with its samples: the same ones each time, those to judge on apart from those of calibration."""
    original = load(places.shared / "models" / subject.file)
    model, _ = run(parse(BASELINE), original, Context())
    inputs = fix_sizes(original).inputs()
    if subject.data is None:
        ranges = {spec.name: subject.range for spec in inputs}
        counts = (subject.calibration, subject.judging)
        return Baseline(model, *(generated(inputs, count, seed, ranges) for seed, count in enumerate(counts)))
    whole = opened(subject.data, subject.preprocess, inputs, places)
    order = np.random.default_rng(0).permutation(len(whole))
    chosen, others = order[: subject.calibration], order[subject.calibration :][: subject.judging]
    calibration = whole.subset(np.sort(chosen))
    if subject.judging == TEST_IMAGES:
        test = open_data(places.cifar / "test.npz", inputs, parse_preprocess(subject.preprocess))
        return Baseline(model, calibration, test)
    return Baseline(model, calibration, whole.subset(np.sort(others)))


def opened(data: str, preprocess: str | None, inputs: Sequence[TensorSpec], places: argparse.Namespace) -> Dataset:
    """The training images of CIFAR-10 (`cifar10`), or a file under shared/data."""
    path = places.cifar / "train.npz" if data == "cifar10" else places.shared / "data" / data
    return open_data(path, inputs, parse_preprocess(preprocess))
