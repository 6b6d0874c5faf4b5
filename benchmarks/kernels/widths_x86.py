"""Time per multiply-accumulate of single kernels at pruned widths, beside the full width, on this machine's core.

    python benchmarks/kernels/widths_x86.py [--size 28] [--rounds 7]

A kernel stands within a network, its input and result channels last. Both widths of a pair are measured in turn; the
least time of each counts.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.nets import Scaled  # noqa: E402
from benchmarks.kernels.networks import RESULTS  # noqa: E402
from benchmarks.kernels.widths import kernel  # noqa: E402
from pfir.backends.tvm.families import modelled  # noqa: E402
from pfir.backends.tvm.tuning.tunable import GroupKernel, group_kernels  # noqa: E402
from pfir.devices.host import HostDevice, cpu_name  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

PAIRS = ((12, 16), (13, 16), (26, 32), (30, 32), (52, 64), (61, 64))
KINDS = ("1x1", "3x3", "3x3/2", "depthwise", "depthwise/2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    command = f"python benchmarks/kernels/widths_x86.py --size {options.size} --rounds {options.rounds}"
    found: dict[str, list[str]] = {kind: [] for kind in KINDS}
    with HostDevice() as device:
        for kind in KINDS:
            for pair in PAIRS:
                found[kind].append(row(kind, pair, options, device))
                print(kind, found[kind][-1], flush=True)
                (RESULTS / "kernels_widths_x86.md").write_text("\n".join(page(command, found)) + "\n")


def row(kind: str, pair: tuple[int, int], options: argparse.Namespace, device: HostDevice) -> str:
    """A pruned width and the full one, in turn."""
    target = parse_target("host")
    made = [of_kind(kind, channels, options.size, target) for channels in pair]
    candidates = [str(modelled(target, one.workload)) for one in made]
    built = [one.build(schedule) for one, schedule in zip(made, candidates, strict=True)]
    least = [
        min(times)
        for times in zip(*([device.measure(a).seconds for a in built] for _ in range(options.rounds)), strict=True)
    ]
    power = 1 if kind.startswith("depthwise") else 2
    share = (least[0] / pair[0] ** power) / (least[1] / pair[1] ** power)
    times = " | ".join(f"{1e6 * seconds:.2f}" for seconds in least)
    return f"| {pair[0]} of {pair[1]} | {times} | {least[0] / least[1]:.2f} | {share:.2f} | {candidates[0]} |"


def of_kind(kind: str, channels: int, size: int, target: Target) -> GroupKernel:
    name, _, stride = kind.partition("/")
    if name != "depthwise":
        return kernel(kind, channels, size, target)
    net = Scaled(1)
    x = net.relu(net.conv(net.input(1, channels, size, size), channels, channels, 1))
    y = net.relu(net.conv(x, channels, channels, 3, channels, strides=[int(stride or 1)] * 2))
    *_, last = group_kernels(fix_sizes(net.model((y,))), target).values()
    return last


def page(command: str, found: dict[str, list[str]]) -> Iterator[str]:
    """The figures as Markdown, a table for each kind."""
    yield "# Time per multiply-accumulate at pruned widths, x86\n"
    yield f"`{command}` on {cpu_name()}, one thread. Least times, in microseconds; per MAC beside the full width's:"
    yield "1 is all that pruning can give."
    for kind, rows in found.items():
        if rows:
            yield f"\n## {kind}\n"
            yield "| channels | pruned | full | ratio | per MAC | way |\n|---|---|---|---|---|---|"
            yield from rows


if __name__ == "__main__":
    main()
