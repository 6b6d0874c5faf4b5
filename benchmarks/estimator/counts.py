"""How near the instructions that pfir tells without building come to those that the emulator counts, and how fast.

    python benchmarks/estimator/counts.py [--models DIR] [--again]

Kernels are those of the grids (grid.py), nets those of a folder. Nets take the emulator some minutes each target and
are kept in benchmarks/results/estimator_counts.json: without `--again` one that is there is not counted anew, so that
it is needed after a change of kernels or schedules. Writes benchmarks/results/estimator_counts.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.estimator import speed  # noqa: E402
from benchmarks.estimator.counted_nets import CountedNet, count, prepared, read, told  # noqa: E402
from benchmarks.estimator.grid import target_of  # noqa: E402
from tests.test_backends.test_tvm_counts.kept import SMALL, Row, errors, exact, moved, rows, whole  # noqa: E402
from tests.test_backends.test_tvm_counts.ours import ours  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
INTEGERS = "conv_integers", "sparse_integers"
GRIDS = "direct", "winograd", "conv", "product", "depthwise", "pools", "elements", "moves", *INTEGERS
KERNEL_GOAL, MOVED_GOAL, NET_GOAL, SPEED_GOAL_S = 0.03, 0.05, 0.02, 2.0
SEARCHED = "resnet56_cifar10_fp32"
SPEED_TARGETS = "arm", "cortex-a76+fp16", "x86-64:x86-64-v3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--again", action="store_true", help="count the nets anew")
    options = parser.parse_args()
    path = RESULTS / "estimator_counts.json"
    nets = count(options.models, path, [] if options.again else read(path))
    lines = [*_head(), *_grids(), *_nets(options.models, nets), *_speed(options.models)]
    (RESULTS / "estimator_counts.md").write_text("\n".join(lines) + "\n")


def _head() -> Iterator[str]:
    yield "# Counts of instructions, told without building\n"
    yield "`python benchmarks/estimator/counts.py` (counts of nets are kept; `--again` after a change of kernels)\n"
    yield "What pfir/backends/tvm/counts says of a kernel, beside what the emulated device executes."


def _grids() -> Iterator[str]:
    yield "\n## Single kernels\n"
    yield "Each with its inputs and its result in memory as in a net, less a call. `within`: the share of kernels whose"
    yield f"total is within {KERNEL_GOAL:.0%}, of those below {SMALL:,} instructions within {KERNEL_GOAL * SMALL:.0f}."
    yield "`sum`: all kernels of the row together, ours over the emulator's. `exact`: the share whose multiply-adds of"
    yield f"vectors are. `moved`: the share whose loads and stores are within {MOVED_GOAL:.0%}.\n"
    yield "| grid | target | kernels | within | median error | largest | sum | exact | moved |"
    yield "|---|---|---|---|---|---|---|---|---|"
    every: list[Row] = []
    for grid in GRIDS:
        kernels = rows(grid)
        every += kernels
        for on in dict.fromkeys(row.on for row in kernels):
            yield f"| {grid} | {on} | {_kernels([row for row in kernels if row.on == on])} |"
    yield f"| all | | {_kernels(every)} |"


def _kernels(kernels: list[Row]) -> str:
    off, near = errors(kernels, ours), np.abs(moved(kernels, ours)) <= MOVED_GOAL
    shares = np.mean(off <= KERNEL_GOAL), np.mean(exact(kernels, ours)), np.mean(near)
    within, same, near = (f"{share:.0%}" for share in shares)
    figures = f"{np.median(off):.1%} | {off.max():.0%} | {whole(kernels, ours):.3f}"
    return f"{len(kernels)} | {within} | {figures} | {same} | {near}"


def _nets(folder: Path, nets: list[CountedNet]) -> Iterator[str]:
    models = {path.stem: prepared(path) for path in sorted(folder.glob("*.onnx"))}
    nets = [net for net in nets if net.model in models]
    ratios = {net: told(models[net.model], target_of(net.target)).total / net.counted.total for net in nets}
    near = sum(abs(ratio - 1) <= NET_GOAL for ratio in ratios.values())
    mean = np.mean([abs(ratio - 1) for ratio in ratios.values()])
    targets = list(dict.fromkeys(net.target for net in nets))
    yield "\n## Whole nets\n"
    yield "One inference: the kernels, their calls, and what is around them. Millions of instructions that the emulator"
    yield f"executes, and ours over them. Within {NET_GOAL:.0%}: {near} of {len(ratios)}. Mean error {mean:.1%}.\n"
    yield f"| net | {' | '.join(targets)} |"
    yield f"|---{'|---' * len(targets)}|"
    for model in models:
        cells = {n.target: f"{n.counted.total / 1e6:.2f}, {r:.3f}" for n, r in ratios.items() if n.model == model}
        yield f"| {model} | {' | '.join(cells.get(target, '') for target in targets)} |"


def _speed(folder: Path) -> Iterator[str]:
    yield "\n## Speed\n"
    yield f"Estimates of {speed.CANDIDATES:,} pruned variants of {SEARCHED}, each group of channels by a random share"
    yield "of its own (a search, whose candidates resemble each other, asks for fewer new widths). Process time, the"
    yield f"least of {speed.REPEATS} fresh processes. Goal: {SPEED_GOAL_S:.0f} s.\n"
    yield "| target | widths that are multiples of its lanes, s | any widths, s |\n|---|---|---|"
    for target in SPEED_TARGETS:
        cells = (_timed(folder, target, align) for align in (target_of(target).lanes, 1))
        yield f"| {target} | {' | '.join(cells)} |"


def _timed(folder: Path, target: str, align: int) -> str:
    return f"{speed.seconds(folder / f'{SEARCHED}.onnx', target, align):.2f}"


if __name__ == "__main__":
    main()
