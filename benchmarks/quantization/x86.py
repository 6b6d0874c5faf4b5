"""Latency of eight-bit networks on one core of this machine, beside our float32 and ONNX Runtime's eight bits.

    python benchmarks/quantization/x86.py [--models DIR] [--rounds 5] [--only NAME ...]

Both runtimes run the same quantized file. A round's ratios are of medians of single runs, the sides in turn; the table
has the medians of the rounds. Writes benchmarks/results/quantization_x86.json and .md.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.quantization.nets import NETS, quantized, simplified  # noqa: E402
from pfir.backends.tvm.backend import TvmBackend  # noqa: E402
from pfir.devices.host import HostDevice, cpu_name  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.run.rival import time_onnxruntime  # noqa: E402
from pfir.target import parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    arguments = _arguments()
    path = RESULTS / "quantization_x86.json"
    found = {"cpu": cpu_name(), "rows": {}}
    for name in arguments.only or NETS:
        found["rows"][name] = _row(simplified(arguments.models / NETS[name]), arguments.rounds)
        print(name, found["rows"][name], flush=True)
        path.write_text(json.dumps(found, indent=1) + "\n")
    (RESULTS / "quantization_x86.md").write_text(_page(found))
    print(_page(found))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=shared / "models")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=NETS)
    return parser.parse_args()


def _row(model: Model, rounds: int) -> dict[str, float]:
    """Milliseconds of each side, and medians of the rounds' ratios."""
    eight, host = quantized(model), parse_target("host")
    built = [TvmBackend().build(m, host) for m in (model, eight)]
    with HostDevice() as device:
        times = [[*(device.measure(a).seconds for a in built), _onnxruntime(eight)] for _ in range(rounds)]
    single, ours, theirs = 1e3 * np.median(times, axis=0)
    to_float, to_theirs = np.median([(b / a, b / c) for a, b, c in times], axis=0)
    return {
        "float32_ms": single,
        "int8_ms": ours,
        "onnxruntime_int8_ms": theirs,
        "of float32": to_float,
        "of onnxruntime": to_theirs,
    }


def _onnxruntime(model: Model) -> float:
    """Seconds of one inference, in a process of its own."""
    return float(np.median(time_onnxruntime(model, 1).seconds))


def _page(found: dict) -> str:
    rows = found["rows"]
    lines = [
        "# Latency of eight-bit networks on x86",
        "",
        f"`python benchmarks/quantization/x86.py` on one core of: {found['cpu']}. Medians, milliseconds; the same",
        "quantized file in both runtimes.",
        "",
        "| network | float32 | int8 | of float32 | ONNX Runtime int8 | of ONNX Runtime |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [name, *(f"{row[key]:.3f}" for key in ("float32_ms", "int8_ms")), f"{row['of float32']:.2f}"]
        cells += [f"{row['onnxruntime_int8_ms']:.3f}", f"{row['of onnxruntime']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    means = [np.exp(np.mean([np.log(row[key]) for row in rows.values()])) for key in ("of float32", "of onnxruntime")]
    said = f"In the geometric mean {means[0]:.2f} of float32 and {means[1]:.2f} of ONNX Runtime's."
    return "\n".join([*lines, "", said, ""])


if __name__ == "__main__":
    main()
