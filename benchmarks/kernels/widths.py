"""Instructions per multiply-accumulate of single kernels at pruned widths, on aarch64.

    python benchmarks/kernels/widths.py [--target arm] [--size 16] [--widths 4 8 12 16 24 32] [--kinds 3x3 3x3/2 1x1]

A kernel has as many output as input channels and stands within a network, its input and result channels last. Counted
under the emulator's plugin, the call of the library included, so the same on any machine; results go to
benchmarks/results. The last width is the full one, which the others are compared with.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.instructions import RESULTS  # noqa: E402
from benchmarks.kernels.nets import Scaled  # noqa: E402
from pfir.artifact import Artifact  # noqa: E402
from pfir.backends.tvm.tunable import GroupKernel, group_kernels  # noqa: E402
from pfir.backends.tvm.ways import modelled  # noqa: E402
from pfir.devices.emulated import EmulatedDevice  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

KINDS = {"3x3": (3, 1), "3x3/2": (3, 2), "1x1": (1, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="arm")
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--widths", nargs="+", type=int, default=[4, 8, 12, 16, 20, 24, 28, 32])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    target, found = parse_target(options.target), {}
    words = f"--target {target.name} --size {options.size} --widths {' '.join(map(str, options.widths))}"
    command = f"python benchmarks/kernels/widths.py {words} --kinds {' '.join(options.kinds)}"
    with EmulatedDevice() as device:
        for kind in options.kinds:
            for channels in options.widths:
                found[kind, channels] = row(*KINDS[kind], channels, options.size, target, device)
                print(kind, channels, *found[kind, channels], flush=True)
                (RESULTS / "kernels_widths.md").write_text("\n".join(page(command, options, found)) + "\n")


def row(
    size: int, stride: int, channels: int, image: int, target: Target, device: EmulatedDevice
) -> tuple[int, float, str]:
    """Instructions, the same per multiply-accumulate, and the way."""
    made = kernel(size, stride, channels, image, target)
    way = str(modelled(target, made.work))
    instructions = count(made.build(way), device)
    positions = (-(-image // stride)) ** 2
    return instructions, instructions / (positions * (channels * size) ** 2), way


def kernel(size: int, stride: int, channels: int, image: int, target: Target) -> GroupKernel:
    """A convolution with bias and ReLU behind a pointwise one of the same width."""
    net = Scaled(1)
    x = net.relu(net.conv(net.input(1, channels, image, image), channels, channels, 1))
    y = net.relu(net.conv(x, channels, channels, size, strides=[stride] * 2))
    *_, last = group_kernels(fix_sizes(net.model((y,))), target).values()
    return last


def count(artifact: Artifact, device: EmulatedDevice) -> int:
    random = np.random.default_rng(0)
    return device.instructions(artifact, {s.name: random.standard_normal(s.shape).astype(s.dtype)
                                          for s in artifact.inputs})  # fmt: skip


def page(command: str, options: argparse.Namespace, found: dict) -> Iterator[str]:
    """The figures as Markdown, a table for each kind."""
    yield "# Instructions per multiply-accumulate at pruned widths, aarch64\n"
    yield f"`{command}`: {options.size} x {options.size} positions, the call of the library included."
    for kind in options.kinds:
        rows = {channels: found[kind, channels] for channels in options.widths if (kind, channels) in found}
        if not rows:
            continue
        full = list(rows.values())[-1][1]
        yield f"\n## {kind}\n"
        yield f"| channels | instructions | per MAC | of {list(rows)[-1]} channels' | way |\n|---|---|---|---|---|"
        for channels, (instructions, per_mac, way) in rows.items():
            yield f"| {channels} | {instructions} | {per_mac:.3f} | {per_mac / full:.2f} | {way} |"


if __name__ == "__main__":
    main()
