"""Few samples: recipes of training beside each other, on real networks with channels or whole branches removed.

    python benchmarks/training/few_samples.py [--only WORDS].. [--data DIR] [--steps 200] [--samples 1000] [--again]

A cell, such as `resnet20 50 channels mir`, removes channels or branches down to a share of the multiply-accumulates,
with 50 or 500 samples alone, trains by one recipe (`pfir/compile/training/recipes.py`; `untrained` by none), and is
judged in float and quantized to eight bits, on samples that it has not seen. What a run drops because it made the model
worse counts here as it is. Cells are written one by one into benchmarks/results/few_samples.json; those that are there
are not run again, and the table few_samples.md is made from it. `--only` takes the cells whose name contains all the
words of one of its texts. Models are those of tests/support/models.py (`$PFIR_SHARED`). CIFAR-10 is that of
benchmarks/cifar10.py, and only its training images are used, which the originals have seen; EfficientNet-Lite0 gets
the 500 images of shared/data, 250 of them at most to learn from; the keyword net gets generated inputs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cells import Cells, add_cell_options  # noqa: E402
from benchmarks.real_networks import CIFAR, LITE, Subject, add_places, opened  # noqa: E402
from pfir.compile.calibration.samples import MOST_CALIBRATION, Samples  # noqa: E402
from pfir.compile.deadline import NEVER  # noqa: E402
from pfir.compile.precision.layers import INTEGERS  # noqa: E402
from pfir.compile.precision.quantizing import Quantizing  # noqa: E402
from pfir.compile.prepare import BASELINE, give_biases  # noqa: E402
from pfir.compile.selection.search_context import calibrated  # noqa: E402
from pfir.compile.training.fine_tuning import FineTuning, settings_for  # noqa: E402
from pfir.compile.training.recipes import RECIPES  # noqa: E402
from pfir.compile.training.teaching import Course, Teaching  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.generated import generated  # noqa: E402
from pfir.errors import PfirError  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.costs.model_cost import model_cost  # noqa: E402
from pfir.ir.coupling.channels import channel_groups  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.pruning.prune_channels import PruneChannels  # noqa: E402
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels  # noqa: E402
from pfir.report.progress import Silent  # noqa: E402
from pfir.run.evaluate import evaluate, reference  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "few_samples.json"
COUNTS = (50, 500)
STRUCTURES = ("channels", "branches")
UNTRAINED = "untrained"

HEAD = """\
# Training on few samples

By `python benchmarks/training/few_samples.py`, cell by cell as time allowed; all figures are in `few_samples.json`
beside this page. Channels (the smallest weights, the rest made up for by least squares) or whole residual branches are
removed until the share of multiply-accumulates in the first column is left. Then each recipe trains for as many steps
of 32 samples. Cells are accuracy in %, or fidelity to the original in % where there are no labels: in float / in eight
bits, which are calibrated on the same few samples and not trained. Accuracy on CIFAR-10 is that on training images
outside the few, which the original has seen.
"""


SUBJECTS = {
    "resnet20": Subject("resnet20_cifar10_fp32.onnx", "cifar10", CIFAR),
    "efficientnet": Subject("efficientnet_lite0_in1k_fp32_static.onnx", "imagenet_sample_500.zip", LITE),
    "keyword": Subject("mltk_keyword_spotting_fp32.onnx"),
}
SHARES = {"resnet20": 0.6, "efficientnet": 0.8, "keyword": 0.6}
"""Of the multiply-accumulates, to be left."""


def main() -> None:
    arguments = _arguments()
    cells = Cells.asked_for(arguments, RESULTS, _cells())
    for cell in cells.wanted():
        cells.keep(cell, _row(arguments, *cell.split()))
    cells.write_page(_table(cells.rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cell_options(parser)
    add_places(parser)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--samples", type=int, default=1000, help="to judge on, where there are as many")
    return parser.parse_args()


def _cells() -> Iterator[str]:
    for subject in SUBJECTS:
        for count in COUNTS:
            for structure in STRUCTURES:
                yield from (f"{subject} {count} {structure} {way}" for way in (UNTRAINED, *RECIPES))


def _row(arguments: argparse.Namespace, name: str, count: str, structure: str, way: str) -> dict:
    subject, began = SUBJECTS[name], time.perf_counter()
    original = load(arguments.shared / "models" / subject.file)
    start = started(original)
    samples = _samples(subject, fix_sizes(original), int(count), arguments)
    student = _pruned(start, samples, SHARES[name], structure)
    if student is None:
        return {"refused": f"it has no {structure} to remove"}
    whole, left = (model_cost(fix_sizes(m)).macs for m in (start, student))
    found = {"macs": left / whole, "judged": len(samples.validation), "learnt": len(samples.train)}
    if way != UNTRAINED:
        try:
            student = _trained(student, start, samples, way, arguments.steps)
        except PfirError as error:
            return {"refused": str(error)}
        found["steps"] = arguments.steps
    answers = reference(start, samples.validation, 2)
    quantized = Quantizing(samples, reference(start, samples.scoring, 2), threads=2).first(student, INTEGERS)
    for precision, model in (("float", student), ("int8", quantized.model)):
        scores = evaluate(model, samples.validation, answers, 2)
        found[precision] = {"accuracy": scores.accuracy, "fidelity": scores.fidelity, "divergence": scores.divergence}
    return found | {"seconds": round(time.perf_counter() - began, 1)}


def started(original: Model) -> Model:
    """The model as a search would begin with it."""
    start, _ = run(BASELINE, original, Context())
    give_biases(start)
    return run((RemoveDeadChannels(),), start, Context())[0]


def _samples(subject: Subject, model: Model, count: int, arguments: argparse.Namespace) -> Samples:
    """The few, of which a tenth judges and the rest is learnt from, and others that only tell the figures."""
    data = _data(subject, model, count + arguments.samples, arguments)
    count = min(count, len(data) // 2)
    order = np.random.default_rng(0).permutation(len(data))
    few, rest = order[:count], np.sort(order[count : count + arguments.samples])
    judging = few[: max(1, count // 10)]
    parts = (few[len(judging) :], few[:MOST_CALIBRATION], few, judging, rest)
    return Samples(*(data.subset(part) for part in parts))


def _data(subject: Subject, model: Model, count: int, arguments: argparse.Namespace) -> Dataset:
    inputs = model.inputs()
    if subject.data is None:
        return generated(inputs, count, 0)
    return opened(subject.data, subject.preprocess, inputs, arguments)


def _pruned(start: Model, samples: Samples, share: float, structure: str) -> Model | None:
    """The model without channels, or without the branches that move its outputs least; None where it has none."""
    context = Context(calibrated(samples))
    if structure == "channels":
        each = PruneChannels(macs=share, criterion="magnitude", reconstruct=True)
        return run((each,), start, context)[0]
    whole, left, gone = model_cost(fix_sizes(start)).macs, start, ()
    branches, answers = channel_groups(start).branches, reference(start, samples.scoring, 2)
    while model_cost(fix_sizes(left)).macs > share * whole:
        further = [b for b in branches if b not in gone]
        if not further:
            return None
        tried = [(_without((*gone, b), start, context), b) for b in further]
        left, best = min(tried, key=lambda pair: evaluate(pair[0], samples.scoring, answers, 2).divergence)
        gone = (*gone, best)
    return left


def _without(branches: tuple, start: Model, context: Context) -> Model:
    ratios = tuple((name, 1.0) for name in dict.fromkeys(n for b in branches for n in b.groups))
    return run((PruneChannels(ratios=ratios, reconstruct=True),), start, context)[0]


def _trained(student: Model, teacher: Model, samples: Samples, recipe: str, steps: int) -> Model:
    settings = settings_for(teacher, samples, FineTuning(1, jobs=2))
    settings = replace(settings, epochs=-(-steps * settings.batch // len(samples.train)))
    return Teaching(Course(teacher, samples, settings, NEVER, Silent()), calibrated(samples), recipe).of(student)[0]


def _table(rows: dict) -> str:
    lines = [HEAD]
    columns = (UNTRAINED, *RECIPES)
    lines += [f"| network, samples, removed (MACs left, steps) | {' | '.join(columns)} |"]
    lines += ["|---" * (len(columns) + 1) + "|"]
    for name in dict.fromkeys(cell.rsplit(" ", 1)[0] for cell in _cells()):
        cells = {way: rows.get(f"{name} {way}", {}) for way in columns}
        known = [c for c in cells.values() if "macs" in c]
        if known:
            steps = max(c.get("steps", 0) for c in known)
            told = f"{name.replace(' ', ', ')} ({known[0]['macs']:.0%}, {steps})"
            lines.append(f"| {told} | {' | '.join(_figures(cells[way]) for way in columns)} |")
    return "\n".join(lines) + "\n"


def _figures(row: dict) -> str:
    if "refused" in row:
        return "refused"
    return " / ".join(_figure(row[precision]) for precision in ("float", "int8")) if row else ""


def _figure(scores: dict) -> str:
    value = scores["accuracy"] if scores["accuracy"] is not None else scores["fidelity"]
    return f"{100 * value:.1f}"


if __name__ == "__main__":
    main()
