"""The estimator on this machine's own core: nets and pruned widths, measured here and estimated.

    python benchmarks/estimator/host.py [--models DIR] [--rounds 7] [--again] [--recount]

Every model is measured as it is and at widths as a search chooses them, by seeded ratios, all variants of a model in
turn, so that what else runs here strikes all of them alike; medians over the rounds. An estimate has one scale for all.
Two questions: how far estimates lie off after that scale, and how far the ratio between a model and its pruned variant
lies off the measured ratio, which no scale changes. Costs are fitted without the model that is judged by them.
Writes benchmarks/results/estimator_host.json and .md; without `--again` what is there already is not measured anew.
`--recount` keeps the seconds and asks anew for the instructions, since the variants are the same by their seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.nets import MADE  # noqa: E402
from pfir.backends import open_backend  # noqa: E402
from pfir.compile.prepare import BASELINE  # noqa: E402
from pfir.cores import Costs  # noqa: E402
from pfir.devices.estimation.fit import Row, fit  # noqa: E402
from pfir.devices.host import HostDevice  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.instructions import Instructions  # noqa: E402
from pfir.ir.coupling.channels import channel_groups, remove_channels  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.pruning.prune_channels import kept_channels  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SHARES = (0.25, 0.5, 0.7)
"""Of the channels of a group, those that a variant loses on average."""
GOAL, RATIO_GOAL, PAIRS_GOAL = 0.10, 0.07, 0.9


@dataclass(frozen=True)
class Measured:
    """A variant of a model.

    Args:
        model: Its name.
        share: Of the channels that went; 0 of the model itself.
        instructions: That pfir says it executes.
        waiting: Seconds that pfir says it takes beside them, for what the caches do not hold.
        seconds: Median of the rounds.
        spread: Half the range between the quartiles of the rounds, as a share of the median.
    """

    model: str
    share: float
    instructions: Instructions
    waiting: float
    seconds: float
    spread: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--recount", action="store_true")
    options = parser.parse_args()
    path, target = RESULTS / "estimator_host.json", parse_target("host")
    kept = json.loads(path.read_text()) if path.exists() and not options.again else []
    rows = [Measured(**{"waiting": 0.0, **row, "instructions": Instructions(**row["instructions"])}) for row in kept]
    if options.recount:
        rows = recounted(rows, options.models, target)
        path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    for name, model in models(options.models):
        if name not in {row.model for row in rows}:
            rows += measured(name, model, target, options.rounds)
            path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
            print(name, [f"{row.seconds * 1e3:.3f} ms" for row in rows if row.model == name], flush=True)
    (RESULTS / "estimator_host.md").write_text("\n".join(page(rows, target)) + "\n")


def models(folder: Path) -> Iterator[tuple[str, Model]]:
    """Those of a folder, then two that are made, as any compiler would simplify them."""
    for path in sorted(folder.glob("*.onnx")):
        yield path.stem, run(BASELINE, fix_sizes(load(path)), Context())[0]
    for name, make in MADE.items():
        yield name, run(BASELINE, fix_sizes(make(128)), Context())[0]


def measured(name: str, model: Model, target: Target, rounds: int) -> list[Measured]:
    """The model and its variants, measured in turn."""
    backend = open_backend("tvm")
    variants = variants_of(model, target)
    built = [backend.build(variant, target) for variant in variants.values()]
    with HostDevice() as device:
        seconds = np.array([[device.measure(artifact).seconds for artifact in built] for _ in range(rounds)])
    low, middle, high = np.percentile(seconds, (25, 50, 75), axis=0)
    spreads = (high - low) / 2 / middle
    return [
        Measured(name, share, *told(variant, target), float(one), float(spread))
        for (share, variant), one, spread in zip(variants.items(), middle, spreads, strict=True)
    ]


def recounted(rows: Sequence[Measured], folder: Path, target: Target) -> list[Measured]:
    """The same measurements beside what pfir says now."""
    found = {name: variants_of(model, target) for name, model in models(folder)}
    return [
        Measured(row.model, row.share, *told(found[row.model][row.share], target), row.seconds, row.spread)
        for row in rows
    ]


def variants_of(model: Model, target: Target) -> dict[float, Model]:
    """The model and its pruned variants, by the share of channels that went."""
    return {0.0: model, **{share: pruned(model, share, target.lanes) for share in SHARES}}


def told(model: Model, target: Target) -> tuple[Instructions, float]:
    """The instructions of an inference, and the seconds that it takes beside them, as the estimator says."""
    backend, core = open_backend("tvm"), target.core
    estimator, kernels = backend.estimator(target), backend.kernels(model, target)
    instructions = sum((estimator.count(kernel, target) for kernel in kernels), estimator.around)
    seconds = estimator.estimate(kernels).seconds
    return instructions, max(0.0, seconds - core.costs.cycles(instructions) / core.clock_hz)


def pruned(model: Model, share: float, align: int) -> Model:
    """The model with channels gone, of each group a share of its own around `share`, by a seed; what stays is a
    multiple of `align`, as in a search."""
    random, coupling, variant = np.random.default_rng(int(share * 100)), channel_groups(model), model.clone()
    shares = {g.name: float(np.clip(share * random.uniform(0.6, 1.4), 0, 0.9)) for g in coupling.free()}
    gone = {g.name: g.size - kept_channels(g, shares[g.name], align) for g in coupling.free()}
    removed = {name: np.arange(count) for name, count in gone.items() if count}
    remove_channels(variant, coupling, removed)
    return run(BASELINE, variant, Context())[0]


def estimated(rows: Sequence[Measured], target: Target) -> tuple[np.ndarray, Costs]:
    """Seconds of each row by costs fitted without its model, and the costs fitted to all."""
    clock, expected = target.core.clock_hz, replace(target.core, fitted=None).costs
    seconds = np.zeros(len(rows))
    for name in dict.fromkeys(row.model for row in rows):
        others = [_row(row, clock) for row in rows if row.model != name]
        costs = fit(others, expected).costs
        for i, row in enumerate(rows):
            if row.model == name:
                seconds[i] = costs.cycles(row.instructions) / clock + row.waiting
    return seconds, fit([_row(row, clock) for row in rows], expected).costs


def _row(row: Measured, clock_hz: float) -> Row:
    return Row(row.instructions, row.seconds, clock_hz, waiting=row.waiting)


def page(rows: Sequence[Measured], target: Target) -> Iterator[str]:
    """The figures as Markdown."""
    seconds, costs = estimated(rows, target)
    real = np.array([row.seconds for row in rows])
    core = target.core
    shipped = np.array([core.costs.cycles(row.instructions) / core.clock_hz + row.waiting for row in rows])
    yield "# The estimator on this machine\n"
    yield f"`python benchmarks/estimator/host.py`, one thread, {core.name}.\n"
    yield "`shipped`: by the costs of pfir/cores, one scale for all. `left out`: by costs fitted to all other models."
    yield "Errors are of the estimate, relative to what was measured; a pair is a model and its pruned variant.\n"
    yield "| question | shipped | left out | goal |"
    yield "|---|---|---|---|"
    found = {"shipped": shipped, "left out": seconds}
    scaled = {name: each * np.median(real / each) for name, each in found.items()}
    errors = {name: np.abs(each / real - 1) for name, each in scaled.items()}
    yield (
        f"| mean error after one scale, {len(rows)} nets and widths "
        f"| {errors['shipped'].mean():.1%} | {errors['left out'].mean():.1%} | {GOAL:.0%} |"
    )
    offs = {name: ratios(rows, each, real) for name, each in found.items()}
    shares = {name: np.mean(np.abs(each) <= RATIO_GOAL) for name, each in offs.items()}
    yield (
        f"| pairs whose ratio is within {RATIO_GOAL:.0%}, of {len(offs['shipped'])} "
        f"| {shares['shipped']:.0%} | {shares['left out']:.0%} | {PAIRS_GOAL:.0%} |"
    )
    yield "\n| net | channels gone | measured, ms | spread | shipped | left out | measured ratio | shipped | left out |"
    yield "|---|---|---|---|---|---|---|---|---|"
    whole = {row.model: i for i, row in enumerate(rows) if not row.share}
    for i, row in enumerate(rows):
        first = whole[row.model]
        told = [f"{scaled[name][i] / real[i] - 1:+.0%}" for name in found]
        line = f"| {row.model} | {row.share:.0%} | {row.seconds * 1e3:.3f} | {row.spread:.1%} | {' | '.join(told)} |"
        told = [f"{each[first] / each[i]:.2f}" for each in (real, *found.values())]
        yield line + (f" {' | '.join(told)} |" if row.share else " | | |")
    yield f"\nCosts fitted to all: {', '.join(f'{name} {value:.3g}' for name, value in asdict(costs).items())}."


def ratios(rows: Sequence[Measured], seconds: np.ndarray, real: np.ndarray) -> np.ndarray:
    """By how much the ratio of each pair is off."""
    whole = {row.model: i for i, row in enumerate(rows) if not row.share}
    return np.array(
        [
            seconds[whole[row.model]] / seconds[i] / (real[whole[row.model]] / real[i]) - 1
            for i, row in enumerate(rows)
            if row.share
        ]
    )


if __name__ == "__main__":
    main()
