"""Without data: 1/f images, images matched to BatchNormalization's statistics, and real ones, beside each other.

    python benchmarks/training/matched_inputs.py [--data DIR] [--budget 600] [--samples 1000]

ResNet-20 came with BatchNormalization folded away. It is put back with the statistics of 1,000 training images, as an
exporter would have left it; inputs are matched to these within what a run of so many seconds would take for it. On each
kind of images the net is quantized to eight bits, and pruned to 75 % of its multiply-accumulates with consumers fitted
by least squares; the result is judged by its agreement with the original on real training images that nothing else has
seen. Writes benchmarks/results/matched_inputs.md, a row at a time. CIFAR-10 is that of benchmarks/cifar10.py.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.real_networks import CIFAR, add_places, opened  # noqa: E402
from benchmarks.training.few_samples import started  # noqa: E402
from pfir.compile.calibration.matched_inputs import Matching, Moved  # noqa: E402
from pfir.compile.calibration.ranges import learn_ranges  # noqa: E402
from pfir.compile.precision.quantizing import ready_for_integers  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.generated import Range, generated  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context, Pass  # noqa: E402
from pfir.passes.batch_norm.restore import RestoreBatchNorm  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.pruning.prune_channels import PruneChannels  # noqa: E402
from pfir.passes.quantization.quantize_uniform import QuantizeUniform  # noqa: E402
from pfir.run.activations import activations  # noqa: E402
from pfir.run.evaluate import evaluate, reference  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "matched_inputs.md"
MODEL = "resnet20_cifar10_fp32.onnx"
STATISTICS = 1000
PASSES: dict[str, Pass] = {
    "eight bits": QuantizeUniform(),
    "pruned": PruneChannels(macs=0.75, criterion="magnitude", reconstruct=True),
}


def main() -> None:
    arguments = _arguments()
    start = fix_sizes(started(load(arguments.shared / "models" / MODEL)))
    real = opened("cifar10", CIFAR, start.inputs(), arguments)
    order = np.random.default_rng(0).permutation(len(real))
    normalized, _ = run((RestoreBatchNorm(),), start, _context(real.subset(order[:STATISTICS])))
    sets, seconds = _sets(normalized, real.subset(order[STATISTICS : 2 * STATISTICS]), arguments.budget)
    held = real.subset(order[2 * STATISTICS : 2 * STATISTICS + arguments.samples])
    lines = [f"# Generated inputs, {len(sets['matched'])} of each kind, matched in {seconds:.0f} s", ""]
    lines += ["| | images | fidelity in % | divergence |", "|---|---|---|---|"]
    answers = reference(start, held)
    for what, each in PASSES.items():
        for kind, data in sets.items():
            model, _ = run((each,), ready_for_integers(start), _context(data))
            found = evaluate(model, held, answers)
            lines.append(f"| {what} | {kind} | {100 * found.fidelity:.1f} | {found.divergence:.4f} |")
            print(lines[-1], flush=True)
            RESULTS.write_text("\n".join(lines) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_places(parser)
    parser.add_argument("--budget", type=float, default=600.0, help="seconds of the run that matching is a part of")
    parser.add_argument("--samples", type=int, default=1000, help="to judge on")
    return parser.parse_args()


def _context(data: Dataset) -> Context:
    return Context(lambda model, names: activations(model, names, data, 16))


def _sets(model: Model, real: Dataset, budget_s: float) -> tuple[dict[str, Dataset], float]:
    """As many images of each kind, and the seconds that matching took."""
    (spec,) = model.inputs()
    ranges, _ = learn_ranges(model, model.inputs())
    made, began = generated(model.inputs(), STATISTICS, 0, ranges), time.perf_counter()
    found = Matching(model, budget_s, jobs=2).of(made, ranges.get(spec.name, Range()))
    if found is None:
        raise SystemExit("the budget is too small for inputs to be matched; give a larger --budget")
    seconds, indices = time.perf_counter() - began, np.arange(len(found))
    matched = Moved(spec.name, found, len(found), 0)
    return {"1/f": made.subset(indices), "matched": matched, "real": real.subset(indices)}, seconds


if __name__ == "__main__":
    main()
