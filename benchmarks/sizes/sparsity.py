"""Zeros without training, of real models: `sparsify-weights` by each criterion, at 50, 75 and 90 %.

    python benchmarks/sizes/sparsity.py [--only WORDS].. [--cifar DIR] [--again]

Every cell starts from the same simplified and folded model and the same calibration samples, and is judged on other
ones. Cells are written one by one into benchmarks/results/sizes_sparsity.json; those that are there are not run again
(`--again` does), and the table sizes_sparsity.md is made from it. `--only` takes the cells whose name, such as
`resnet56 obc 0.75`, contains all the words of one of its texts. Models and images are those of `$PFIR_SHARED`; of
CIFAR-10 (benchmarks/cifar10.py) training images alone are used.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfir.compile.training.gradients import LossGradients  # noqa: E402
from pfir.data import open_data, parse_preprocess  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.generated import Range, generated  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.costs.model_cost import model_cost  # noqa: E402
from pfir.ir.costs.sparse_size import sparse_size_bytes  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.spec import parse  # noqa: E402
from pfir.run.activations import activations  # noqa: E402
from pfir.run.evaluate import Reference, evaluate, reference  # noqa: E402
from pfir.system.blas import one_blas_thread  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "sizes_sparsity.json"
BASELINE = "simplify,fold-batch-norm"
BATCH = 16
SPARSITIES = (0.5, 0.75, 0.9)
CIFAR = "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"

HEAD = """\
# Zeros without training

By `python benchmarks/sizes/sparsity.py`, cell by cell; all figures are in `sizes_sparsity.json` beside this page.
Fidelity is top-1 agreement with the dense model, in %; divergence is in nats; size is an estimate of what a container
holds, float32, dense or as a bitmap beside what is not zero, without any entropy coding, against the dense model;
seconds are CPU seconds of the pass, beside other work. The share of zeros is that of the weights that may have any:
depthwise layers and the first of an image stay dense. Samples for calibration and judging differ; those of CIFAR-10 are
training images.
"""


@dataclass(frozen=True)
class Subject:
    """A model with its samples.

    Args:
        file: Of the model.
        data: `cifar10`, the name of a file under shared/data, or None for generated inputs.
        preprocess: Of the data.
        range: Of generated inputs; such that nearly all classes are answered.
        calibration, judging: How many samples.
    """

    file: str
    data: str | None = None
    preprocess: str | None = None
    range: Range = Range()
    calibration: int = 100
    judging: int = 400


SUBJECTS = {
    "keywords": Subject("mltk_keyword_spotting_fp32.onnx", range=Range((100.0,), (50.0,))),
    "resnet56": Subject("resnet56_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=1000),
    "efficientnet": Subject(
        "efficientnet_lite0_in1k_fp32_static.onnx", "imagenet_sample_500.zip", "mean=127,std=128,resize=256,crop=224"
    ),
}
WAYS = {
    "magnitude": "",
    "magnitude-global": "distribution=global",
    "magnitude-lamp": "distribution=lamp",
    "wanda": "criterion=wanda",
    "movement": "criterion=movement",
    "sparsegpt": "criterion=sparsegpt",
    "obc": "criterion=obc",
    "obc-dp": "criterion=obc distribution=dp",
}
PATTERNS = {
    "2:4": "pattern=2:4",
    "2:4-obc": "pattern=2:4 criterion=obc",
    "1x4-obc": "pattern=1x4 criterion=obc",
    "4x1-obc": "pattern=4x1 criterion=obc",
    "channel-vectors-obc": "pattern=channel-vectors criterion=obc",
}
"""At half of the weights alone."""


@dataclass(frozen=True)
class Ground:
    """A float model with what it is calibrated and judged on."""

    model: Model
    calibration: Dataset
    judging: Dataset

    @cached_property
    def _reference(self) -> Reference:
        return reference(self.model, self.judging)

    @cached_property
    def context(self) -> Context:
        gradients = LossGradients(self.model, self.calibration, len(self.calibration))
        return Context(lambda m, names: activations(m, names, self.calibration, BATCH), gradients)

    def scores(self, made: Model) -> dict[str, float | None]:
        found = evaluate(made, self.judging, self._reference)
        size = model_cost(self.model).size_bytes / sparse_size_bytes(made)
        scores = {"accuracy": found.accuracy, "fidelity": found.fidelity, "divergence": found.divergence}
        return scores | {"smaller": round(size, 3)}


def main() -> None:
    arguments = _arguments()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    wanted = [c for c in _cells() if _chosen(c, arguments.only) and (arguments.again or c not in rows)]
    for name, subject in SUBJECTS.items():
        cells = [c for c in wanted if c.split()[0] == name]
        ground = _ground(subject, arguments) if cells else None
        for cell in cells:
            _store(rows, cell, _row(ground, cell))
    RESULTS.with_suffix(".md").write_text(_table(rows))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="cells with all these words")
    parser.add_argument("--shared", type=Path, default=shared, help="holds models/ and data/")
    parser.add_argument("--cifar", type=Path, default=Path("cifar10"), help="folder of CIFAR-10's train.npz")
    parser.add_argument("--again", action="store_true", help="run cells that are there already")
    return parser.parse_args()


def _cells() -> Iterator[str]:
    for name in SUBJECTS:
        yield f"{name} dense"
        yield from (f"{name} {way} {sparsity}" for way in WAYS for sparsity in SPARSITIES)
        yield from (f"{name} {way} 0.5" for way in PATTERNS)


def _chosen(cell: str, texts: list[str]) -> bool:
    return not texts or any(set(text.split()) <= set(cell.split()) for text in texts)


def _store(rows: dict, cell: str, row: dict) -> None:
    """Written whole or not at all, after every cell."""
    print(cell, json.dumps(row), file=sys.stderr, flush=True)
    rows[cell] = row
    fresh = RESULTS.with_suffix(".tmp")
    fresh.write_text(json.dumps({c: rows[c] for c in _cells() if c in rows}, indent=1) + "\n")
    os.replace(fresh, RESULTS)


def _ground(subject: Subject, arguments: argparse.Namespace) -> Ground:
    original = load(arguments.shared / "models" / subject.file)
    model, _ = run(parse(BASELINE), original, Context())
    inputs = fix_sizes(original).inputs()
    if subject.data is None:
        ranges = {spec.name: subject.range for spec in inputs}
        counts = (subject.calibration, subject.judging)
        return Ground(model, *(generated(inputs, count, seed, ranges) for seed, count in enumerate(counts)))
    folder = arguments.cifar / "train.npz" if subject.data == "cifar10" else arguments.shared / "data" / subject.data
    whole = open_data(folder, inputs, parse_preprocess(subject.preprocess))
    order = np.random.default_rng(0).permutation(len(whole))
    chosen, others = order[: subject.calibration], order[subject.calibration :][: subject.judging]
    return Ground(model, whole.subset(np.sort(chosen)), whole.subset(np.sort(others)))


def _row(ground: Ground, cell: str) -> dict:
    if cell.split()[1] == "dense":
        return ground.scores(ground.model)
    start = time.process_time()
    with one_blas_thread():
        made, notes = run(parse(f"sparsify-weights{{{_fields(cell)}}}"), ground.model, ground.context)
    seconds = time.process_time() - start
    return ground.scores(made) | {"seconds": round(seconds, 1), "note": notes[0]}


def _fields(cell: str) -> str:
    _, way, sparsity = cell.split()
    fields = {**WAYS, **PATTERNS}[way]
    return fields if "pattern=2:4" in fields else f"sparsity={sparsity} {fields}".strip()


def _table(rows: dict) -> str:
    lines = [HEAD]
    for name, subject in SUBJECTS.items():
        own = {c: r for c, r in rows.items() if c.split()[0] == name}
        if f"{name} dense" in own and len(own) > 1:
            data = subject.data or "generated inputs"
            told = f"{subject.calibration} samples of {data} for calibration, {subject.judging} others to be judged on."
            lines += [f"## {name}", "", told, "", *_of_subject(own, own[f"{name} dense"]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _of_subject(own: dict[str, dict], dense: dict) -> list[str]:
    labelled = dense["accuracy"] is not None
    head = ("sparsify-weights", *(("accuracy",) if labelled else ()), "fidelity", "divergence", "smaller", "seconds")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for cell, row in own.items():
        told = "dense" if cell.endswith("dense") else f"`{_fields(cell)}`"
        accuracy = [_percent(row["accuracy"])] if labelled else []
        figures = (_percent(row["fidelity"]), f"{row['divergence']:.4f}", f"{row['smaller']:.2f}x")
        lines.append(f"| {' | '.join((told, *accuracy, *figures, str(row.get('seconds', ''))))} |")
    return lines


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


if __name__ == "__main__":
    main()
