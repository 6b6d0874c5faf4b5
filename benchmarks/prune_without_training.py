"""Pruning without any training: real models at three costs, by every criterion, with and without reconstruction.

    python benchmarks/prune_without_training.py [--only WORDS].. [--data DIR] [--samples 2000] [--calibration 256]

Every cell is one `prune-channels{macs=SHARE criterion=.. reconstruct=..}` on the simplified model, evaluated on samples
that it was not calibrated on. Cells are written one by one into benchmarks/results/prune_without_training.json; those
that are there are not run again (`--again` does), and the table prune_without_training.md is made from it. `--only`
takes the cells whose name, such as `resnet56 0.5 taylor plain`, contains all the words of one of its texts; `graphs`
are the seconds for graphs of 1,000 nodes. Models are those of tests/support/models.py (`$PFIR_SHARED`); CIFAR-10 of
benchmarks/cifar10.py, and only its training images are used, which ResNet-56 has seen; the face net gets generated
inputs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.cells import Cells, add_cell_options  # noqa: E402
from benchmarks.real_networks import BATCH, CIFAR, LITE, Subject, add_places, opened  # noqa: E402
from pfir.compile.prepare import BASELINE, give_biases  # noqa: E402
from pfir.compile.training.gradients import LossGradients  # noqa: E402
from pfir.compile.training.learning import Learning  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.generated import generated  # noqa: E402
from pfir.errors import PfirError  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.costs.model_cost import model_cost  # noqa: E402
from pfir.ir.coupling.channels import channel_groups  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context, Pass  # noqa: E402
from pfir.passes.batch_norm.fold import FoldBatchNorm  # noqa: E402
from pfir.passes.batch_norm.reestimate import ReestimateBatchNorm  # noqa: E402
from pfir.passes.batch_norm.restore import RestoreBatchNorm  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.pruning.criteria import CRITERIA  # noqa: E402
from pfir.passes.pruning.prune_channels import PruneChannels  # noqa: E402
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels  # noqa: E402
from pfir.run.activations import activations  # noqa: E402
from pfir.run.evaluate import Reference, evaluate, reference  # noqa: E402
from tests.support.net import Net  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "prune_without_training.json"
SHARES = (0.7, 0.5, 0.3)
WAYS = {"plain": {}, "reconstructed": {"reconstruct": True}}
SCHEDULES = {
    "steps": {"reconstruct": True, "steps": 4},
    "by-group": {"reconstruct": True, "group_wise": True},
    "batch-norm": {},
}
SCHEDULED = (
    *(("reconstruction", "steps"), ("reconstruction", "by-group"), ("dcp", "by-group")),
    *((criterion, "batch-norm") for criterion in ("bn-scale", "activation", "reconstruction")),
)
NODES = 1000

HEAD = """\
# Pruning without training

By `python benchmarks/prune_without_training.py` with `--only resnet56 --samples 1000`, with `--only efficientnet
--samples 200 --calibration 128` and with `--only face --samples 256 --calibration 128`, cell by cell as time
allowed; all figures are in `prune_without_training.json` beside this page. Seconds are left out where only the clock's
were taken, beside other work. Empty cells were not run; "refused" is dcp of a net without class scores.

Channels of all groups are ranked together and the least important removed until the share of multiply-accumulates above
the column is left; nothing is trained. "+ LS" is with least-squares reconstruction of the consumers. Cells are top-1
accuracy in %, or fidelity to the original in % where there are no labels, and in brackets the CPU seconds of the pass.
"steps" removes in four steps, "by-group" group by group, both with statistics taken anew on what is left, and the
layers that read what went fitted to the outputs of the original; "batch-norm" gives the original BatchNormalization,
removes without reconstruction, and takes the running statistics anew. Accuracy on CIFAR-10 is that on training images,
which the original has seen.

Of EfficientNet-Lite0 nothing is left at 30 %, and little of the face net below 70 %, by any criterion. That is no fault
of the statistics: where layers are fitted to the outputs of the original step by step, which helps ResNet-56 most, it
is the same. What remains has no room for the function without training.
"""

SUBJECTS = {
    "resnet56": Subject("resnet56_cifar10_fp32.onnx", "cifar10", CIFAR),
    "efficientnet": Subject("efficientnet_lite0_in1k_fp32_static.onnx", "imagenet_sample_500.zip", LITE),
    "face": Subject("mediapipe_face_landmark.onnx"),
}


@dataclass(frozen=True)
class SearchContext:
    """A model ready to be pruned, with its samples and its own answers on them."""

    start: Model
    macs: int
    calibration: Dataset
    evaluation: Dataset
    answers: Reference

    def context(self) -> Context:
        filled = Context(
            lambda m, names: activations(m, names, self.calibration, BATCH),
            LossGradients(self.start, self.calibration, len(self.calibration)),
        )
        return Learning(self.start, self.calibration).given_to(filled, train=False)

    def scores(self, model: Model) -> dict[str, float | None]:
        found = evaluate(model, self.evaluation, self.answers)
        return {"accuracy": found.accuracy, "fidelity": found.fidelity, "divergence": found.divergence}


def main() -> None:
    arguments = _arguments()
    cells = Cells.asked_for(arguments, arguments.results, _cells())
    for network, wanted in cells.by_network():
        context = _search_context(SUBJECTS[network], arguments) if network in SUBJECTS else None
        for cell in wanted:
            words = cell.split()[1:]
            cells.keep(cell, _pruned(context, *words) if context else _timed(*words))
    cells.write_page(_table(cells.rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cell_options(parser)
    add_places(parser)
    parser.add_argument("--samples", type=int, default=2000, help="to evaluate on, where there are as many")
    parser.add_argument("--calibration", type=int, default=256)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the JSON file; the table goes beside it")
    return parser.parse_args()


def _cells() -> Iterator[str]:
    for subject in SUBJECTS:
        yield f"{subject} original"
        yield from (f"{subject} {s} {c} {way}" for s in SHARES for c in CRITERIA for way in WAYS)
        yield from (f"{subject} {s} {criterion} {way}" for s in SHARES for criterion, way in SCHEDULED)
    yield from (f"graphs {kind}" for kind in GRAPHS)


def _search_context(subject: Subject, arguments: argparse.Namespace) -> SearchContext:
    model = load(arguments.shared / "models" / subject.file)
    start, _ = run(BASELINE, model, Context())
    give_biases(start)
    start, _ = run((RemoveDeadChannels(),), start, Context())
    calibration, evaluation = _samples(subject, fix_sizes(model), arguments)
    macs = model_cost(fix_sizes(start)).macs
    return SearchContext(start, macs, calibration, evaluation, reference(start, evaluation))


def _samples(subject: Subject, model: Model, arguments: argparse.Namespace) -> tuple[Dataset, Dataset]:
    inputs, count = model.inputs(), arguments.calibration
    if subject.data is None:
        return generated(inputs, count, 0), generated(inputs, min(256, arguments.samples), 1)
    whole = opened(subject.data, subject.preprocess, inputs, arguments)
    count = min(count, len(whole) // 2)
    return _drawn(whole, 0, count), _drawn(whole, count, arguments.samples)


def _drawn(data: Dataset, first: int, count: int) -> Dataset:
    """Samples first, ... of the data in a random order, the same each time."""
    order = np.random.default_rng(0).permutation(len(data))
    return data.subset(np.sort(order[first : first + count]))


def _pruned(search_context: SearchContext, *words: str) -> dict:
    settings = {"calibration": len(search_context.calibration), "samples": len(search_context.evaluation)}
    if words == ("original",):
        return search_context.scores(search_context.start) | settings
    share, criterion, way = words
    before, after = _around(criterion, way)
    model, _ = run(before, search_context.start, search_context.context())
    each = PruneChannels(macs=float(share), criterion=criterion, **(WAYS | SCHEDULES)[way])
    start = time.process_time()
    try:
        model, _ = run((each,), model, search_context.context())
    except PfirError as error:
        return {"refused": str(error)} | settings
    seconds = time.process_time() - start
    model, _ = run(after, model, search_context.context())
    macs = model_cost(fix_sizes(model)).macs / search_context.macs
    return search_context.scores(model) | {"seconds": round(seconds, 2), "macs": macs} | settings


def _around(criterion: str, way: str) -> tuple[tuple[Pass, ...], tuple[Pass, ...]]:
    """What comes before and after: the scales that normalisation gives are there only where it is not folded away."""
    if way == "batch-norm":
        return (RestoreBatchNorm(),), (ReestimateBatchNorm(), FoldBatchNorm())
    return ((RestoreBatchNorm(),), (FoldBatchNorm(),)) if criterion == "bn-scale" else ((), ())


def _chain() -> Model:
    """Convolutions, one after the other."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 32))
    for _ in range((NODES - 6) // 2):
        x = net.relu(net.conv(x, 32, 32))
    return net.model((net.head(x, 32),))


def _residual() -> Model:
    """Blocks of two convolutions beside a skip connection: one group runs through all of them."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 32))
    for _ in range((NODES - 6) // 5):
        y = net.conv(net.relu(net.conv(x, 32, 32)), 32, 32)
        x = net.relu(net.op("Add", x, y))
    return net.model((net.head(x, 32),))


def _dense() -> Model:
    """Every layer of a block of 20 reads all that the block made before."""
    net = Net(0)
    x, width = net.relu(net.conv(net.input("N", 3, 8, 8), 3, 16)), 16
    for _ in range(NODES // 62):
        for _ in range(20):
            y = net.relu(net.conv(x, width, 8))
            x, width = net.op("Concat", x, y, axis=1), width + 8
        x, width = net.relu(net.conv(x, width, 16, k=1)), 16
    return net.model((net.head(x, width),))


GRAPHS = {"chain": _chain, "residual": _residual, "dense": _dense}


def _timed(kind: str) -> dict:
    model = GRAPHS[kind]()
    start = time.perf_counter()
    groups = len(channel_groups(model).free())
    analysed = time.perf_counter()
    PruneChannels(ratio=0.5).apply(model, Context())
    done = time.perf_counter()
    nodes = len(model.graph.nodes)
    seconds = {"analysis_s": round(analysed - start, 3), "pruning_s": round(done - analysed, 3)}
    return {"nodes": nodes, "groups": groups, **seconds}


def _table(rows: dict) -> str:
    lines = [HEAD]
    for subject in SUBJECTS:
        if any(c.startswith(f"{subject} ") for c in rows):
            lines += [*_of_subject(subject, rows), ""]
    timed = [(c.split()[1], r) for c, r in rows.items() if c.startswith("graphs")]
    if timed:
        lines += ["## Seconds for large graphs", ""]
        lines += ["| graph | nodes | free groups | analysis | analysis, ranking and removal |", "|---|---|---|---|---|"]
    for kind, r in timed:
        lines.append(f"| {kind} | {r['nodes']} | {r['groups']} | {r['analysis_s']:.2f} | {r['pruning_s']:.2f} |")
    return "\n".join(lines).rstrip() + "\n"


def _of_subject(subject: str, rows: dict) -> list[str]:
    own = {c: r for c, r in rows.items() if c.startswith(f"{subject} ")}
    columns = [(s, way) for s in SHARES for way in WAYS]
    sizes = sorted({(r["calibration"], r["samples"]) for r in own.values()})
    told = " or ".join(f"{a} calibration and {b} evaluation samples" for a, b in sizes)
    original = own.get(f"{subject} original")
    title = [f"## {subject}", "", f"{told}; the original: {_figure(original) if original else 'not run'}.", ""]
    title += [line for share in SHARES for line in _reading(subject, share, own)]
    head = " | ".join(f"{100 * s:.0f} %{' + LS' if WAYS[way] else ''}" for s, way in columns)
    lines = [*title, "", f"| criterion | {head} |", "|---" * (len(columns) + 1) + "|"]
    for criterion in CRITERIA:
        cells = [own.get(f"{subject} {s} {criterion} {way}") for s, way in columns]
        if any(cells):
            lines.append(f"| {criterion} | {' | '.join(map(_figure, cells))} |")
    for criterion, way in SCHEDULED:
        cells = [own.get(f"{subject} {s} {criterion} {way}") for s in SHARES]
        if any(cells):
            lines.append(f"| {criterion}, {way} | | {' | | '.join(map(_figure, cells))} |")
    return lines


def _reading(subject: str, share: float, own: dict) -> list[str]:
    """The best criterion with reconstruction of this share, beside magnitude without and with it, and the schedules."""
    fitted = {c: own.get(f"{subject} {share} {c} reconstructed", {}) for c in CRITERIA}
    kept = {c: _kept(row) for c, row in fitted.items() if "macs" in row}
    plain = own.get(f"{subject} {share} magnitude plain", {})
    if "magnitude" not in kept or "macs" not in plain:
        return []
    best = max(kept, key=kept.get)
    found = f"{best} + LS {kept[best]:.1f}, magnitude + LS {kept['magnitude']:.1f}, magnitude alone {_kept(plain):.1f}"
    cells = {f"{c} {way}": own.get(f"{subject} {share} {c} {way}", {}) for c, way in SCHEDULED}
    found += "".join(f", {cell} {_kept(row):.1f}" for cell, row in cells.items() if "macs" in row)
    return [f"- {100 * share:.0f} % of the MACs, the best with reconstruction: {found}."]


def _kept(row: dict) -> float:
    return 100 * (row["fidelity"] if row["accuracy"] is None else row["accuracy"])


def _figure(row: dict | None) -> str:
    if row is None or "refused" in row:
        return "" if row is None else "refused"
    return f"{_kept(row):.1f}" + (f" ({row['seconds']:.1f})" if "seconds" in row else "")


if __name__ == "__main__":
    main()
