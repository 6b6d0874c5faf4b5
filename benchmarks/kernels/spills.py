"""Vector registers that loops put on the stack, for every core: all loops of every kernel of networks, by disassembly.

    python benchmarks/kernels/spills.py [--cores arm cortex-a53 ..] [--int8] [--out FILE] MODEL.onnx...

The hot loop of a kernel is the one that multiplies most and most densely; the others run once a tile or less.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.assembly import hot_loops, tile_loops  # noqa: E402
from benchmarks.kernels.instructions import RESULTS, assembly  # noqa: E402
from benchmarks.kernels.pages import write  # noqa: E402
from benchmarks.quantization.nets import quantized, simplified  # noqa: E402
from pfir.backends.tvm.lowering.lower import written  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.target import parse_target  # noqa: E402

CORES = (
    "arm",
    "cortex-a53",
    "cortex-a55",
    "cortex-a72",
    "cortex-a76",
    "cortex-x1",
    "neoverse-n1",
    "neoverse-v1",
    "apple-m1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--cores", nargs="+", default=CORES)
    parser.add_argument("--int8", action="store_true", help="in eight bits, ranges by random inputs")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels_spills")
    options = parser.parse_args()
    found: dict[str, object] = {"options": "--int8 " if options.int8 else "", "rows": []}
    for path in options.models:
        model = quantized(simplified(path)) if options.int8 else simplified(path)
        for core in options.cores:
            found["rows"].append({"network": path.stem, "core": core, **counted(model, core)})
            print(found["rows"][-1], flush=True)
            write(found, page(found), options.out)


def counted(model: Model, core: str) -> dict[str, object]:
    """Loops that multiply, and those that spill, of the network's kernels for this core."""
    text = assembly(written(model, parse_target(core)))
    hot = [loop for loop in hot_loops(text).values() if loop.multiplies]
    others = [loop for loop in tile_loops(text) if loop.instructions]
    return {
        "hot": len(hot),
        "hot_spills": [f"{loop.kernel}: {loop.spills} of {loop.instructions}" for loop in hot if loop.spills],
        "loops": len(others),
        "spills": [f"{loop.kernel}: {loop.spills} of {loop.instructions}" for loop in others if loop.spills],
    }


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Spills\n"
    yield f"`python benchmarks/kernels/spills.py {found['options']}MODEL.onnx...`: loops whose"
    yield "object code puts a vector register on the stack or takes one back, with how many of the instructions of a"
    yield "round do so.\n"
    yield "| network | core | hot loops | that spill | all loops | that spill |\n|---|---|---|---|---|---|"
    for r in found["rows"]:
        hot, all_loops = ("; ".join(r[which]) or "none" for which in ("hot_spills", "spills"))
        yield f"| {r['network']} | {r['core']} | {r['hot']} | {hot} | {r['loops']} | {all_loops} |"


if __name__ == "__main__":
    main()
