"""Layers whose weights have blocks of zeros, by kernels that skip those, beside the same layers dense.

    python benchmarks/sizes/block.py [--only WORDS].. [--again]

Each cell is a layer alone, over floats or over integers of eight bits: its time on this machine (the median of rounds),
and the instructions of one call on 64-bit Arm, counted by the emulator; of integers on a core without dot products and
on one that has them. Beside what the backend chooses stands the dense kernel, whose cost no zero changes. Cells are
written one by one into benchmarks/results/sizes_block.json; those that are there are not run again (`--again` does),
and the table sizes_block.md is made from it. `--only int8` runs the cells over integers.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.estimator.counting import Count, SingleKernel, counting, single_kernels  # noqa: E402
from benchmarks.estimator.grids.sparse import blocks  # noqa: E402
from benchmarks.estimator.grids.sparse_integers import line  # noqa: E402
from benchmarks.estimator.grids.winograd import channels_last  # noqa: E402
from pfir.backends.tvm.families import candidates, modelled  # noqa: E402
from pfir.backends.tvm.schedule.candidate_schedules import Schedule  # noqa: E402
from pfir.backends.tvm.schedule.integers.sparse_blocks import SparseBlocks  # noqa: E402
from pfir.backends.tvm.schedule.product_choice import dense_tile  # noqa: E402
from pfir.devices.host import HostDevice  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.target import INT8, Target, parse_target  # noqa: E402
from pfir.workload import Workload  # noqa: E402
from tests.support.net import Net  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "sizes_block.json"
FLOAT_TARGETS = {"x86": "host", "arm": "arm"}
SPARSITIES = (0.3, 0.7, 0.8, 0.9)
SHAPES = {
    "1x1, 14x14, 128 to 256": (14, 128, 256),
    "1x1, 28x28, 64 to 64": (28, 64, 64),
    "dense, 512 to 256": (0, 512, 256),
}
"""Rows and columns of the image, 0 of a dense layer of one row; input and output channels."""
UNITS = ((4, 1), (8, 1))
UNITS_OF_INTEGERS = ((4, 4), (8, 4), (16, 4), (4, 16))
"""Outputs and inputs of a block."""

HEAD = """\
# Layers that skip blocks of zeros

By `python benchmarks/sizes/block.py`; all figures are in `sizes_block.json` beside this page. A block is so many
outputs of so many inputs; the share is that of blocks that are zero. Time is of one thread of this machine, beside
other work: the median of rounds, in microseconds. Instructions are those of one call on 64-bit Arm, counted by the
emulator, in thousands. `dense` is the same layer by the kernel that multiplies all weights; where the backend chooses
that, too, the figures are the same.
"""


@dataclass(frozen=True)
class Cell:
    """A layer with zeros: its shape by name, outputs and inputs of a block, the share of blocks that are zero, and
    whether it computes over integers of eight bits."""

    shape: str
    unit: tuple[int, int]
    share: float
    integers: bool = False

    @property
    def name(self) -> str:
        width, length = self.unit
        return f"{self.shape}, {'int8 ' * self.integers}{width}x{length}, {self.share:.0%}"

    @property
    def targets(self) -> dict[str, str]:
        """Those that it is measured or counted on, by what the results call them."""
        return {"x86": "host", "arm": "cortex-a72", "dot": "cortex-a76"} if self.integers else FLOAT_TARGETS

    def model(self) -> Model:
        """The layer with bias, over floats with a Relu."""
        size, inputs, outputs = SHAPES[self.shape]
        if self.integers:
            return line(size * size or 1, self.unit, self.share, (inputs, outputs))
        net = Net(0)
        weight = blocks(net, outputs, inputs, self.unit[0], self.share)
        if not size:
            return net.model(
                (net.relu(net.op("Gemm", net.input(1, inputs), net.const(weight.T, np.float32), net.w(outputs))),)
            )
        x = channels_last(net, 1, inputs, size)
        return net.model(
            (net.relu(net.op("Conv", x, net.const(weight[:, :, None, None], np.float32), net.w(outputs))),)
        )


def cells() -> list[Cell]:
    """All of them, those over integers last."""
    kinds = ((False, UNITS), (True, UNITS_OF_INTEGERS))
    return [Cell(*how, kind) for kind, units in kinds for how in product(SHAPES, units, SPARSITIES)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="cells whose name has all of these words")
    parser.add_argument("--again", action="store_true", help="run what is there already")
    options = parser.parse_args()
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with counting() as count, HostDevice() as host:
        for cell in cells():
            wanted = not options.only or any(all(w in cell.name for w in t.split()) for t in options.only)
            if wanted and (options.again or cell.name not in found):
                found[cell.name] = figures(cell, host, count)
                print(cell.name, found[cell.name], flush=True)
                RESULTS.write_text(json.dumps(found, indent=1) + "\n")
                RESULTS.with_suffix(".md").write_text(page(found))


def figures(cell: Cell, host: HostDevice, count: Count) -> dict[str, object]:
    """Microseconds on this machine and instructions on Arm, of the chosen kernel and of the dense one."""

    def seconds(kernel: SingleKernel, schedule: str) -> float:
        return host.measure(kernel.build(schedule)).seconds * 1e6

    def instructions(kernel: SingleKernel, schedule: str) -> float:
        return count(kernel.build(schedule)).total

    return {
        name: both(cell, target, seconds if target == "host" else instructions) for name, target in cell.targets.items()
    }


def both(cell: Cell, target: str, measure: Callable[[SingleKernel, str], float]) -> dict[str, object]:
    """What the chosen kernel and the dense one take, with their schedules; the same twice where they are the same."""
    kernel = layer(cell.model(), parse_target(target))
    schedules = [str(choose(kernel.target, kernel.workload)) for choose in (modelled, dense)]
    taken = {schedule: measure(kernel, schedule) for schedule in dict.fromkeys(schedules)}
    chosen, whole = schedules
    return {"chosen": taken[chosen], "dense": taken[whole], "by": chosen, "dense_by": whole}


def dense(target: Target, workload: Workload) -> Schedule:
    """The schedule that the backend would choose if it skipped no zeros."""
    if workload.dtype != INT8:
        return dense_tile(target, workload)
    return next(plan for plan in candidates(target, workload) if not isinstance(plan, SparseBlocks))


def layer(model: Model, target: Target) -> SingleKernel:
    """The last layer of a model, as one kernel."""
    return [kernel for kernel in single_kernels(model, target) if kernel.workload is not None][-1]


def page(found: dict[str, dict]) -> str:
    """The tables as Markdown."""
    lines = [HEAD, f"{os.uname().machine}, {parse_target('host').core.name}.\n"]
    floats = {name: row for name, row in found.items() if "dot" not in row}
    integers = {name: row for name, row in found.items() if "dot" in row}
    lines += table(floats, {"x86": "x86", "arm": "Arm"})
    lines += ["", "Over integers, without dot products (Cortex-A72) and with (Cortex-A76):", ""]
    lines += table(integers, {"x86": "x86", "arm": "A72", "dot": "A76"})
    return "\n".join(lines) + "\n"


def table(found: dict[str, dict], columns: dict[str, str]) -> list[str]:
    """The lines of a table of these rows, with a group of columns for each target."""
    heads = [f"{said} dense, {'us' if name == 'x86' else 'k'} | {said} | gain" for name, said in columns.items()]
    lines = [f"| layer, block, zeros | {' | '.join(heads)} |", "|---" * (1 + 3 * len(columns)) + "|"]
    for name, row in found.items():
        parts = [_compared(row[column], 1 if column == "x86" else 1e3) for column in columns]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    return lines


def _compared(figures: dict, unit: float) -> str:
    dense, chosen = figures["dense"] / unit, figures["chosen"] / unit
    return (
        f"{dense:.1f} | {chosen:.1f}{' (dense)' if figures['by'] == figures['dense_by'] else ''} | {dense / chosen:.2f}"
    )


if __name__ == "__main__":
    main()
