"""Instructions per multiply-accumulate on aarch64, per network and per kernel, and spills in the hot loops.

    python benchmarks/kernels/instructions.py [--target arm] MODEL.onnx...

Counted under the emulator's plugin, so the same on any machine; results go to benchmarks/results. Widths that fill no
vector stand beside the next that do, in a network of one 3x3 and one 1x1 convolution.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.assembly import Loop, hot_loops  # noqa: E402
from benchmarks.kernels.pages import write  # noqa: E402
from pfir.backends.tvm import TvmBackend  # noqa: E402
from pfir.backends.tvm.library.build import pipeline, tvm_target  # noqa: E402
from pfir.backends.tvm.library.stack import tir_pipeline  # noqa: E402
from pfir.backends.tvm.lowering.form import KernelSpec  # noqa: E402
from pfir.backends.tvm.lowering.lower import written  # noqa: E402
from pfir.backends.tvm.lowering.values import Program  # noqa: E402
from pfir.backends.tvm.schedule.tile_kinds import Tile  # noqa: E402
from pfir.compile.prepare import BASELINE  # noqa: E402
from pfir.devices.emulation.emulated import EmulatedDevice  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.costs.model_cost import model_cost  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
WIDTHS = ((13, 16), (26, 28), (52, 52), (30, 32), (61, 64))
SIZE = 28


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--target", default="arm")
    options = parser.parse_args()
    target = parse_target(options.target)
    found = {"tvm": version("apache-tvm"), "target": target.name, "networks": [], "widths": []}
    for path in options.models:
        found["networks"].append(network(path, target))
        write(found, page(found), RESULTS / "kernels_instructions")
    for pair in WIDTHS:
        found["widths"].append(width(pair, target))
        write(found, page(found), RESULTS / "kernels_instructions")


def network(path: Path, target: Target) -> dict[str, object]:
    """Instructions of one inference, as a whole and by kernel."""
    model = run(BASELINE, fix_sizes(load(path)), Context())[0]
    row = {"network": path.stem, "instructions": count(model, target), "macs": model_cost(model).macs}
    row["per_mac"] = row["instructions"] / row["macs"]
    row["kernels"] = list(kernel_rows(written(model, target)))
    print(row["network"], f"{row['instructions'] / 1e6:.2f} M, {row['per_mac']:.3f} per MAC", flush=True)
    return row


def width(pair: tuple[int, int], target: Target) -> dict[str, object]:
    """Instructions at a width and at the next one that fills its vectors."""
    narrow, wide = (count(two_convolutions(channels), target) for channels in pair)
    print(pair, narrow, wide, flush=True)
    return {"channels": pair[0], "aligned": pair[1], "instructions": narrow, "instructions_aligned": wide}


def count(model: Model, target: Target) -> int:
    artifact = TvmBackend().build(model, target)
    random = np.random.default_rng(0)
    feeds = {s.name: random.standard_normal(s.shape).astype(s.dtype) for s in artifact.inputs}
    with EmulatedDevice() as device:
        return device.instructions(artifact, feeds)


def two_convolutions(channels: int) -> Model:
    """A 3x3 and a 1x1 convolution with biases and ReLU, of so many channels in and out, behind a transposing ReLU."""
    random, nodes, constants = np.random.default_rng(0), [helper.make_node("Relu", ["x"], ["t0"])], []
    for i, kernel in enumerate((3, 1)):
        shape = (channels, channels, kernel, kernel)
        constants += [
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), f"w{i}"),
            numpy_helper.from_array(random.standard_normal(channels).astype(np.float32), f"b{i}"),
        ]
        pads = [kernel // 2] * 4
        nodes.append(helper.make_node("Conv", [f"t{i}", f"w{i}", f"b{i}"], [f"c{i}"], f"conv{i}", pads=pads))
        nodes.append(helper.make_node("Relu", [f"c{i}"], [f"t{i + 1}"]))
    sizes = (1, channels, SIZE, SIZE)
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name in ("x", "t2")]
    graph = helper.make_graph(nodes, "two", ends[:1], ends[1:], constants)
    proto = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    return fix_sizes(Model.from_proto(proto))


def kernel_rows(program: Program) -> Iterator[dict[str, object]]:
    """Each kernel: the hot loop, and instructions for each multiply-accumulate in it (lanes counted)."""
    loops = hot_loops(assembly(program))
    for index, ((spec, tile), calls) in enumerate(program.calls.items()):
        loop = loops.get(f"{spec.family}_{index}")
        if loop is not None and loop.multiplies >= 4:
            yield kernel_row(spec, tile, calls, loop)


def kernel_row(spec: KernelSpec, tile: Tile, calls: int, loop: Loop) -> dict[str, object]:
    return {
        "kernel": loop.kernel,
        "data": list(spec.operands[0].shape),
        "weights": list(spec.operands[1].shape) if spec.own > 1 else [],
        "out": list(spec.out.shape),
        "calls": calls,
        "tile": str(tile),
        "loop": loop.instructions,
        "multiplies": loop.multiplies,
        "per_mac": loop.instructions / (loop.multiplies * tile.lanes),
        "spills": loop.spills,
    }


def assembly(program: Program) -> str:
    """What TVM compiles the kernels to, as text."""
    from tvm import relax

    where = tvm_target(program.target)
    executable = relax.build(program.builder.get(), where, relax_pipeline=pipeline(), tir_pipeline=tir_pipeline())
    return "\n".join(m.inspect_source("asm") for m in _modules(executable.mod) if m.kind == "llvm")


def _modules(module) -> Iterator:
    yield module
    for part in module.imports:
        yield from _modules(part)


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Instructions per multiply-accumulate on aarch64\n"
    yield f"`python benchmarks/kernels/instructions.py MODEL.onnx...`, target {found['target']}, TVM {found['tvm']}."
    yield "One thread, counted in the emulator. Four lanes of one `fmla` make 0.25 the floor of a network without"
    yield "anything but multiplications; what lies above is loads, loop counters, borders and results. Winograd's"
    yield "kernels multiply less than is counted as MACs: 2.25 times less in tiles of 2x2, 4 times in tiles of 4x4."
    yield "ONNX Runtime's counts are in kernels_wheel.md.\n"
    yield "| network | instructions, M | MACs, M | per MAC | spills in hot loops |"
    yield "|---|---|---|---|---|"
    for row in found["networks"]:
        spills = sum(kernel["spills"] > 0 for kernel in row["kernels"])
        yield (
            f"| {row['network']} | {row['instructions'] / 1e6:.2f} | {row['macs'] / 1e6:.2f} | {row['per_mac']:.3f} "
            f"| {spills} of {len(row['kernels'])} kernels |"
        )
    if found["widths"]:
        yield "\n## Widths that fill no vector\n"
        yield f"A 3x3 and a 1x1 convolution over {SIZE} x {SIZE} positions.\n"
        yield "| channels | instructions | next aligned width | its instructions |\n|---|---|---|---|"
    for row in found["widths"]:
        yield f"| {row['channels']} | {row['instructions']} | {row['aligned']} | {row['instructions_aligned']} |"
    for row in found["networks"]:
        yield f"\n## The hot loops of {row['network']}\n"
        yield "| kernel | data | out | calls | tile | instructions | multiply-adds | per MAC | spills |"
        yield "|---|---|---|---|---|---|---|---|---|"
        for k in row["kernels"]:
            yield (
                f"| {k['kernel']} | {k['data']} | {k['out']} | {k['calls']} | {k['tile']} | {k['loop']} "
                f"| {k['multiplies']} | {k['per_mac']:.3f} | {k['spills']} |"
            )


if __name__ == "__main__":
    main()
