"""Latency of eight-bit networks on one core of this machine, beside our float32 and ONNX Runtime's eight bits.

    python benchmarks/quantization/x86.py [--models DIR] [--rounds 5] [--only NAME ...] [--estimate]

Each runtime gets the quantized file that suits it: ours rounds in front of kernels (`pairs=kernels`, as `pfir compile`
does), that of ONNX Runtime behind all operators, which it needs to compute in integers. A round's ratios are of medians
of single runs, the sides in turn; the table has the medians of the rounds. Estimates have one scale for all networks,
the median of what float32 takes of them. `--estimate` keeps what was measured and estimates anew.
Writes benchmarks/results/quantization_x86.json and .md.
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
from pfir.passes.quantization.placement import OPERATORS  # noqa: E402
from pfir.run.rival import time_onnxruntime  # noqa: E402
from pfir.target import parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    arguments = _arguments()
    path = RESULTS / "quantization_x86.json"
    found = json.loads(path.read_text()) if arguments.estimate else {"cpu": cpu_name(), "rows": {}}
    for name in arguments.only or NETS:
        model = simplified(arguments.models / NETS[name])
        eight = quantized(model)
        measured = found["rows"][name] if arguments.estimate else _measured(model, eight, arguments.rounds)
        found["rows"][name] = measured | _estimated(model, eight)
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
    parser.add_argument("--estimate", action="store_true")
    return parser.parse_args()


def _measured(model: Model, eight: Model, rounds: int) -> dict[str, float]:
    """Milliseconds of each side, and medians of the rounds' ratios."""
    theirs = quantized(model, pairs=OPERATORS)
    host = parse_target("host")
    built = [TvmBackend().build(m, host) for m in (model, eight)]
    with HostDevice() as device:
        times = [[*(device.measure(a).seconds for a in built), _onnxruntime(theirs)] for _ in range(rounds)]
    single, our_ms, their_ms = 1e3 * np.median(times, axis=0)
    to_float, to_theirs = np.median([(b / a, b / c) for a, b, c in times], axis=0)
    return {
        "float32_ms": single,
        "int8_ms": our_ms,
        "onnxruntime_int8_ms": their_ms,
        "of float32": to_float,
        "of onnxruntime": to_theirs,
    }


def _estimated(model: Model, eight: Model) -> dict[str, float]:
    """Milliseconds of both precisions, as the estimator says."""
    backend, host = TvmBackend(), parse_target("host")
    sides = {"float32_estimated_ms": model, "int8_estimated_ms": eight}
    estimator = backend.estimator(host)
    return {name: 1e3 * estimator.estimate(backend.kernels(side, host)).seconds for name, side in sides.items()}


def _onnxruntime(model: Model) -> float:
    """Seconds of one inference, in a process of its own."""
    return float(np.median(time_onnxruntime(model, 1).seconds))


def _page(found: dict) -> str:
    rows = found["rows"]
    scale = np.median([row["float32_ms"] / row["float32_estimated_ms"] for row in rows.values()])
    lines = [
        "# Latency of eight-bit networks on x86",
        "",
        f"`python benchmarks/quantization/x86.py` on one core of: {found['cpu']}. Medians, milliseconds. Our file",
        "rounds in front of layers only (`pairs=kernels`, as `pfir compile` does), that of ONNX Runtime behind all",
        "operators (`pairs=operators`), without which it computes in float.",
        "Estimates are by instructions, one scale for all: the median of what float32 takes of its estimates.",
        "",
        "| network | float32 | estimated | int8 | estimated | of float32 | ONNX Runtime int8 | of ONNX Runtime |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        cells = [name]
        for side in ("float32", "int8"):
            cells += [f"{row[f'{side}_ms']:.3f}", f"{scale * row[f'{side}_estimated_ms']:.3f}"]
        cells.append(f"{row['of float32']:.2f}")
        cells += [f"{row['onnxruntime_int8_ms']:.3f}", f"{row['of onnxruntime']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    means = [np.exp(np.mean([np.log(row[key]) for row in rows.values()])) for key in ("of float32", "of onnxruntime")]
    said = f"In the geometric mean {means[0]:.2f} of float32 and {means[1]:.2f} of ONNX Runtime's."
    return "\n".join([*lines, "", said, ""])


if __name__ == "__main__":
    main()
