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
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cells import Cells, add_cell_options  # noqa: E402
from benchmarks.real_networks import BATCH, CIFAR, LITE, Baseline, Subject, add_places, baseline  # noqa: E402
from pfir.compile.training.gradients import LossGradients  # noqa: E402
from pfir.data.generated import Range  # noqa: E402
from pfir.ir.costs.model_cost import model_cost  # noqa: E402
from pfir.ir.costs.sparse_size import sparse_size_bytes  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.spec import parse  # noqa: E402
from pfir.run.activations import activations  # noqa: E402
from pfir.system.blas import one_blas_thread  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "sizes_sparsity.json"
SPARSITIES = (0.5, 0.75, 0.9)

HEAD = """\
# Zeros without training

By `python benchmarks/sizes/sparsity.py`, cell by cell; all figures are in `sizes_sparsity.json` beside this page.
Fidelity is top-1 agreement with the dense model, in %; divergence is in nats; size is an estimate of what a container
holds, float32, dense or as a bitmap beside what is not zero, without any entropy coding, against the dense model;
seconds are CPU seconds of the pass, beside other work. The share of zeros is that of the weights that may have any:
depthwise layers and the first of an image stay dense. Samples for calibration and judging differ; those of CIFAR-10 are
training images.
"""


SUBJECTS = {
    "keywords": Subject("mltk_keyword_spotting_fp32.onnx", range=Range((100.0,), (50.0,))),
    "resnet56": Subject("resnet56_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=1000),
    "efficientnet": Subject("efficientnet_lite0_in1k_fp32_static.onnx", "imagenet_sample_500.zip", LITE),
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
class Dense:
    """A dense model with what criteria read."""

    before: Baseline

    @cached_property
    def context(self) -> Context:
        model, samples = self.before.model, self.before.calibration
        gradients = LossGradients(model, samples, len(samples))
        return Context(lambda m, names: activations(m, names, samples, BATCH), gradients)

    def scores(self, made: Model) -> dict[str, float | None]:
        size = model_cost(self.before.model).size_bytes / sparse_size_bytes(made)
        return self.before.scores(made) | {"smaller": round(size, 3)}


def main() -> None:
    arguments = _arguments()
    cells = Cells.asked_for(arguments, RESULTS, _cells())
    for network, wanted in cells.by_network():
        dense = Dense(baseline(SUBJECTS[network], arguments))
        for cell in wanted:
            cells.keep(cell, _row(dense, cell))
    cells.write_page(_table(cells.rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cell_options(parser)
    add_places(parser)
    return parser.parse_args()


def _cells() -> Iterator[str]:
    for name in SUBJECTS:
        yield f"{name} dense"
        yield from (f"{name} {way} {sparsity}" for way in WAYS for sparsity in SPARSITIES)
        yield from (f"{name} {way} 0.5" for way in PATTERNS)


def _row(dense: Dense, cell: str) -> dict:
    model = dense.before.model
    if cell.split()[1] == "dense":
        return dense.scores(model)
    start = time.process_time()
    with one_blas_thread():
        made, notes = run(parse(f"sparsify-weights{{{_fields(cell)}}}"), model, dense.context)
    seconds = time.process_time() - start
    return dense.scores(made) | {"seconds": round(seconds, 1), "note": notes[0]}


def _fields(cell: str) -> str:
    _, way, sparsity = cell.split()
    fields = {**WAYS, **PATTERNS}[way]
    return fields if "pattern=2:4" in fields else f"sparsity={sparsity} {fields}".strip()


def _table(rows: dict) -> str:
    lines = [HEAD]
    for name, subject in SUBJECTS.items():
        own = {c: r for c, r in rows.items() if c.split()[0] == name}
        if f"{name} dense" in own and len(own) > 1:
            lines += [f"## {name}", "", subject.told(), "", *_of_subject(own, own[f"{name} dense"]), ""]
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
