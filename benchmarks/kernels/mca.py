"""Cycles of the hot loops on a Neoverse N1, by LLVM's static analyser, beside what its pipes allow.

    python benchmarks/kernels/mca.py [--mca llvm-mca-19] [--int8] MODEL.onnx...

Needs `llvm-mca` (Debian: llvm-19), which knows this core; nothing runs. Writes benchmarks/results/kernels_mca.md, or by
`--int8`, which gives networks eight bits, kernels_mca_int8.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.assembly import MULTIPLIES, hot_bodies  # noqa: E402
from benchmarks.kernels.instructions import RESULTS, assembly  # noqa: E402
from benchmarks.quantization.nets import quantized, simplified  # noqa: E402
from pfir.backends.tvm.lowering.form import KernelSpec  # noqa: E402
from pfir.backends.tvm.lowering.lower import written  # noqa: E402
from pfir.target import parse_target  # noqa: E402

CORE = "neoverse-n1"
ROUNDS = 100
# Two vector pipes and two load/store pipes, as LLVM's model of the core has them.
PIPES = 2
ALLOWED = 1.25
PRODUCTS = ("conv", "direct", "dots", "matmul", "product", "winograd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--mca", default="llvm-mca-19")
    parser.add_argument("--int8", action="store_true", help="in eight bits, ranges by random inputs")
    options = parser.parse_args()
    rows = [row for path in options.models for row in network(path, options.mca, options.int8)]
    about = subprocess.run([options.mca, "--version"], capture_output=True, text=True, check=True).stdout
    llvm = next(line.strip() for line in about.splitlines() if "LLVM version" in line)
    out = RESULTS / f"kernels_mca{'_int8' if options.int8 else ''}.md"
    out.write_text("\n".join(page(rows, llvm)) + "\n", encoding="utf-8")


def network(path: Path, mca: str, int8: bool) -> Iterator[dict[str, object]]:
    """The hot loop of each kernel that multiplies."""
    model = quantized(simplified(path)) if int8 else simplified(path)
    program = written(model, parse_target(f"arm:{CORE}"))
    bodies = hot_bodies(assembly(program))
    for index, ((spec, tile), calls) in enumerate(program.calls.items()):
        name = f"{spec.family}_{index}"
        if name in bodies:
            bounds = analysed(bodies[name], mca)
            yield {
                "network": path.stem,
                "kernel": name,
                "kind": kind(spec),
                "product": spec.family.removesuffix("_int8") in PRODUCTS,
                "out": list(spec.out.shape),
                "calls": calls,
                "tile": str(tile),
                **bounds,
            }


def kind(spec: KernelSpec) -> str:
    if spec.family in ("dots", "product"):
        return "1x1" if prod(spec.out.shape[2:]) > 1 else "dense"
    if spec.family == "winograd":
        return f"tiles of {spec['outputs']}x{spec['outputs']}"
    if spec.family == "direct":
        return "{}x{}".format(*spec["kernel"])
    if spec.family == "across":
        return "depthwise {}x{}".format(*spec["kernel"])
    if spec.family not in ("conv", "depthwise"):
        return spec.family
    kh, kw = spec.operands[1].shape[2:4] if spec.family == "conv" else spec.operands[1].shape[1:3]
    return f"{'depthwise ' if spec.family == 'depthwise' else ''}{kh}x{kw}"


def analysed(body: list[str], mca: str) -> dict[str, float]:
    """Cycles of one round, of its multiply-adds alone, and of all that each kind of pipe does in it."""
    command = [mca, "-mtriple=aarch64", f"-mcpu={CORE}", f"-iterations={ROUNDS}", "-json"]
    text = "\n".join(line for line in body if not line.lstrip().startswith("."))
    done = json.loads(subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout)
    region = done["CodeRegions"][0]
    multiplies = sum(line.split()[0] in MULTIPLIES for line in region["Instructions"])
    return {
        "cycles": region["SummaryView"]["TotalCycles"] / ROUNDS,
        "multiplies": multiplies / PIPES,
        "vectors": pressure(done, "N1UnitV"),
        "moves": pressure(done, "N1UnitL"),
    }


def pressure(done: dict[str, Any], unit: str) -> float:
    """Cycles that one round keeps the pipes of this kind busy, shared evenly."""
    region, names = done["CodeRegions"][0], done["TargetInfo"]["Resources"]
    total = len(region["Instructions"])
    used = (
        entry
        for entry in region["ResourcePressureView"]["ResourcePressureInfo"]
        if entry["InstructionIndex"] == total and names[entry["ResourceIndex"]].startswith(unit)
    )
    return sum(entry["ResourceUsage"] for entry in used) / PIPES


def met(row: dict[str, object]) -> bool:
    """Products against the multiply-adds alone; depthwise and what is no product against the busiest of their pipes;
    dense layers of one row, which use each weight once, against its loads too."""
    peak = row["multiplies"]
    if not row["product"]:
        peak = max(row["vectors"], row["moves"])
    if row["kind"] == "dense" and row["out"][0] == 1:
        peak = max(peak, row["moves"])
    return row["cycles"] <= ALLOWED * peak


def page(rows: list[dict[str, object]], llvm: str) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Hot loops on a Neoverse N1, by llvm-mca\n"
    yield f"`python benchmarks/kernels/mca.py MODEL.onnx...`, target arm:{CORE}, {llvm}.\n"
    yield "Static: every load hits the first-level cache, every branch is foreseen. Cycles of a round; beside"
    yield "them how long its multiply-adds take two pipes, and how long all of it keeps the vector pipes and the pipes"
    yield "of loads and stores busy in LLVM's model, where a vector that is stored takes both. A loop is within reach"
    yield "where it takes at most 1.25 of the multiply-adds (products, Winograd's too) or of its busiest pipes"
    yield "(depthwise, whose loop holds bias, clip and stores too, and all that is no product). A dense layer of one"
    yield "row uses each weight once, so that its loads bound it: there the larger of its multiply-adds and loads"
    yield "counts.\n"
    within = sum(met(row) for row in rows)
    yield f"{within} of {len(rows)} are.\n"
    yield (
        "| network | kernel | kind | out | tile | cycles | multiply-adds | vector pipes "
        "| load and store pipes | cycles / multiply-adds | cycles / busiest pipes | within |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for r in rows:
        yield (
            f"| {r['network']} | {r['kernel']} | {r['kind']} | {r['out']} | {r['tile']} | {r['cycles']:.1f} "
            f"| {r['multiplies']:.1f} | {r['vectors']:.1f} | {r['moves']:.1f} "
            f"| {r['cycles'] / r['multiplies']:.2f} | {r['cycles'] / max(r['vectors'], r['moves']):.2f} "
            f"| {'yes' if met(r) else 'no'} |"
        )


if __name__ == "__main__":
    main()
