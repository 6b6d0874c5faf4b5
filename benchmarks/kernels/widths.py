"""Instructions per multiply-accumulate of single kernels at pruned widths, on aarch64.

    python benchmarks/kernels/widths.py [--target arm] [--size 16] [--widths 4 8 12 16 24 32] [--kinds 3x3 3x3/2 1x1]

A kernel has as many output as input channels and stands within a network, its input and result channels last. Counted
under the emulator's plugin, less what a call of a library takes that computes nearly nothing, so the same on any
machine; results go to benchmarks/results. A width is compared with the next power of two, from which pruning leads.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.instructions import RESULTS  # noqa: E402
from benchmarks.kernels.nets import Scaled  # noqa: E402
from pfir.artifact import Artifact  # noqa: E402
from pfir.backends.tvm.families import modelled  # noqa: E402
from pfir.backends.tvm.tuning.tunable import GroupKernel, group_kernels  # noqa: E402
from pfir.devices.emulation import emulated  # noqa: E402
from pfir.devices.emulation.cached import default_cache  # noqa: E402
from pfir.devices.emulation.counting import counting_emulator  # noqa: E402
from pfir.devices.emulation.emulated import EmulatedDevice  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

KINDS = {"3x3": (3, 1), "3x3/2": (3, 2), "1x1": (1, 1), "depthwise": (3, 1), "dense": (0, 1)}
WIDTHS = [4, 8, 12, 13, 16, 20, 24, 26, 28, 30, 32, 44, 52, 61, 64]
COUNTS = 5
Count = Callable[[Artifact], int]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="arm")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--widths", nargs="+", type=int, default=WIDTHS)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    target, found = parse_target(options.target), {}
    words = f"--target {target.name} --size {options.size} --widths {' '.join(map(str, options.widths))}"
    command = f"python benchmarks/kernels/widths.py {words} --kinds {' '.join(options.kinds)}"
    with EmulatedDevice() as device, counter(device, target) as count:
        call = count(nothing(target))
        for kind in options.kinds:
            for channels in options.widths:
                found[kind, channels] = row(kind, channels, options.size, target, count, call)
                print(kind, channels, *found[kind, channels], flush=True)
                (RESULTS / "kernels_widths.md").write_text("\n".join(page(command, options, found, call)) + "\n")


@contextmanager
def counter(device: EmulatedDevice, target: Target) -> Iterator[Count]:
    """Counts instructions of one inference, of one artifact after the other in one process."""
    with counting_emulator(default_cache(), lambda line: None).counter() as (emulator, count):
        worker = device._start(emulated._model(target), emulator)
        try:
            yield lambda artifact: _middle(
                [int(emulated._instructions(worker, artifact, _inputs(artifact), count)[0]) for _ in range(COUNTS)]
            )
        finally:
            worker.close()


def _middle(counts: list[int]) -> int:
    """The call around a kernel takes a hundred instructions more or fewer, as many as a small dense layer."""
    return sorted(counts)[len(counts) // 2]


def _inputs(artifact: Artifact) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [random.standard_normal(spec.shape).astype(spec.dtype) for spec in artifact.inputs]


def nothing(target: Target) -> Artifact:
    """A library that multiplies one value."""
    made = kernel("dense", 1, 1, target)
    return made.build(str(modelled(target, made.workload)))


def row(kind: str, channels: int, image: int, target: Target, count: Count, call: int) -> tuple[int, float, str]:
    """Instructions, the same per multiply-accumulate, and the way."""
    size, stride = KINDS[kind]
    made = kernel(kind, channels, image, target)
    schedule = str(modelled(target, made.workload))
    instructions = count(made.build(schedule)) - call
    positions, each = ((-(-image // stride)) ** 2, size**2) if size else (1, 1)
    macs = positions * each * channels * (1 if kind == "depthwise" else channels)
    return instructions, instructions / macs, schedule


def kernel(kind: str, channels: int, image: int, target: Target) -> GroupKernel:
    """A layer with bias and ReLU behind a pointwise convolution; a dense one behind a ReLU."""
    (size, stride), net = KINDS[kind], Scaled(1)
    if kind == "dense":
        y = net.relu(net.dense(net.relu(net.input(1, channels)), channels, channels))
    else:
        x = net.relu(net.conv(net.input(1, 3, image, image), 3, channels, 1))
        group = channels if kind == "depthwise" else 1
        y = net.relu(net.conv(x, channels, channels, size, group=group, strides=[stride] * 2))
    *_, last = group_kernels(fix_sizes(net.model((y,))), target).values()
    return last


def page(command: str, options: argparse.Namespace, found: dict, call: int) -> Iterator[str]:
    """The figures as Markdown, a table for each kind."""
    yield "# Instructions per multiply-accumulate at pruned widths, aarch64\n"
    yield f"`{command}`: {options.size} x {options.size} positions (dense: one), less the {call} of a call."
    yield "Beside each width the one that it is pruned from, the next power of two: how much more a multiply-accumulate"
    yield "takes. Padding alone would make it 16/13 = 1.23 at 13 channels."
    for kind in options.kinds:
        rows = {channels: found[kind, channels] for channels in options.widths if (kind, channels) in found}
        if not rows:
            continue
        yield f"\n## {kind}\n"
        yield "| channels | instructions | per MAC | from | of its per MAC | way |\n|---|---|---|---|---|---|"
        for channels, (instructions, per_mac, schedule) in rows.items():
            full = 1 << (channels - 1).bit_length()
            share = f"{per_mac / rows[full][1]:.2f}" if full in rows else ""
            yield f"| {channels} | {instructions} | {per_mac:.3f} | {full} | {share} | {schedule} |"


if __name__ == "__main__":
    main()
