"""Layers whose weights have blocks of zeros, by kernels that skip those, beside the same layers dense.

    python benchmarks/sizes/block.py [--only WORDS].. [--again]

Each cell is a layer alone: its time on this machine (the median of rounds), and the instructions of one call on 64-bit
Arm, counted by the emulator. Beside what the backend chooses stands the dense kernel, whose cost no zero changes. Cells
are written one by one into benchmarks/results/sizes_block.json; those that are there are not run again (`--again`
does), and the table sizes_block.md is made from it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.estimator.counting import Count, SingleKernel, counting, single_kernels  # noqa: E402
from benchmarks.estimator.grids.sparse import blocks  # noqa: E402
from benchmarks.estimator.grids.winograd import channels_last  # noqa: E402
from pfir.backends.tvm.families import modelled  # noqa: E402
from pfir.backends.tvm.schedule.product_choice import dense_tile  # noqa: E402
from pfir.devices.host import HostDevice  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402
from tests.support.net import Net  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "sizes_block.json"
SPARSITIES = (0.3, 0.7, 0.8, 0.9)
SHAPES = {
    "1x1, 14x14, 128 to 256": (14, 128, 256),
    "1x1, 28x28, 64 to 64": (28, 64, 64),
    "dense, 512 to 256": (0, 512, 256),
}
"""Rows and columns of the image, 0 of a dense layer of one row; input and output channels."""
WIDTHS = (4, 8)

HEAD = """\
# Layers that skip blocks of zeros

By `python benchmarks/sizes/block.py`; all figures are in `sizes_block.json` beside this page. A block is so many
outputs of one input; the share is that of blocks that are zero. Time is of one thread of this machine, beside other
work: the median of rounds, in microseconds. Instructions are those of one call on 64-bit Arm, counted by the emulator,
in thousands. `dense` is the same layer by the kernel that multiplies all weights; where the backend chooses that, too,
the figures are the same.
"""


@dataclass(frozen=True)
class Cell:
    """A layer with zeros: its shape by name, the outputs of a block, and the share of blocks that are zero."""

    shape: str
    width: int
    share: float

    @property
    def name(self) -> str:
        return f"{self.shape}, {self.width}x1, {self.share:.0%}"

    def model(self) -> Model:
        """The layer with bias and Relu."""
        net, (size, inputs, outputs) = Net(0), SHAPES[self.shape]
        weight = blocks(net, outputs, inputs, self.width, self.share)
        if not size:
            return net.model(
                (net.relu(net.op("Gemm", net.input(1, inputs), net.const(weight.T, np.float32), net.w(outputs))),)
            )
        x = channels_last(net, 1, inputs, size)
        return net.model(
            (net.relu(net.op("Conv", x, net.const(weight[:, :, None, None], np.float32), net.w(outputs))),)
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="cells whose name has all of these words")
    parser.add_argument("--again", action="store_true", help="run what is there already")
    options = parser.parse_args()
    cells = [Cell(shape, width, share) for shape in SHAPES for width in WIDTHS for share in SPARSITIES]
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    with counting() as count, HostDevice() as host:
        for cell in cells:
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

    return {"x86": both(cell, "host", seconds), "arm": both(cell, "arm", instructions)}


def both(cell: Cell, target: str, measure: Callable[[SingleKernel, str], float]) -> dict[str, object]:
    """What the chosen kernel and the dense one take, with their schedules; the same twice where they are the same."""
    kernel = layer(cell.model(), parse_target(target))
    schedules = [str(choose(kernel.target, kernel.workload)) for choose in (modelled, dense_tile)]
    taken = {schedule: measure(kernel, schedule) for schedule in dict.fromkeys(schedules)}
    chosen, dense = schedules
    return {"chosen": taken[chosen], "dense": taken[dense], "by": chosen, "dense_by": dense}


def layer(model: Model, target: Target) -> SingleKernel:
    """The last layer of a model, as one kernel."""
    return [kernel for kernel in single_kernels(model, target) if kernel.workload is not None][-1]


def page(found: dict[str, dict]) -> str:
    """The table as Markdown."""
    lines = [HEAD, f"{os.uname().machine}, {parse_target('host').core.name}.\n"]
    lines += [
        "| layer, block, zeros | x86 dense, us | x86 | gain | Arm dense, k | Arm | gain |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        parts = [_compared(row["x86"], 1), _compared(row["arm"], 1e3)]
        lines.append(f"| {name} | {' | '.join(parts)} |")
    return "\n".join(lines) + "\n"


def _compared(figures: dict, unit: float) -> str:
    dense, chosen = figures["dense"] / unit, figures["chosen"] / unit
    return (
        f"{dense:.1f} | {chosen:.1f}{' (dense)' if figures['by'] == figures['dense_by'] else ''} | {dense / chosen:.2f}"
    )


if __name__ == "__main__":
    main()
