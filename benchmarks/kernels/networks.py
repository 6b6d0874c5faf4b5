"""Latency of whole networks beside ONNX Runtime's on the same core of this machine.

    python benchmarks/kernels/networks.py [--threads 1 2] [--vs-python PYTHON] [--rounds 7] MODEL.onnx...

MobileNetV1 and MobileNetV2 with random weights are added. Each side runs in processes of its own, one thread set in
turn after the other; a round's ratio is ours / theirs of the medians of its single runs, and the table has the median
of the rounds' ratios. `--vs-python` names an interpreter with another onnxruntime, a third side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.nets import MADE  # noqa: E402
from benchmarks.kernels.pages import write  # noqa: E402
from pfir.backends.tvm import TvmBackend  # noqa: E402
from pfir.compile.prepare import BASELINE, give_biases  # noqa: E402
from pfir.devices.host import HostDevice, cpu_name  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.run.rival import time_onnxruntime  # noqa: E402
from pfir.target import parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--threads", nargs="+", type=int, default=[1])
    parser.add_argument("--vs-python")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels_networks")
    options = parser.parse_args()
    pythons = [None] + ([options.vs_python] if options.vs_python else [])
    nets = {path.stem: load(path) for path in options.models} | {name: make() for name, make in MADE.items()}
    found = {"command": command(options), "cpu": cpu_name(), "rows": []}
    for threads in options.threads:
        for name, model in nets.items():
            found["rows"].append(row(name, model, threads, pythons, options.rounds))
            write(found, page(found), options.out)


def command(options: argparse.Namespace) -> str:
    threads = " ".join(str(n) for n in options.threads)
    other = " --vs-python PYTHON" if options.vs_python else ""
    return f"python benchmarks/kernels/networks.py --threads {threads} --rounds {options.rounds}{other} MODEL.onnx..."


def row(name: str, model: Model, threads: int, pythons: list[str | None], rounds: int) -> dict[str, object]:
    """Both or all three sides, in turn."""
    baseline = run(BASELINE, fix_sizes(model), Context())[0]
    give_biases(baseline)
    artifact = TvmBackend().build(baseline, replace(parse_target("host"), threads=threads))
    ours, theirs, versions = [], [[] for _ in pythons], []
    with HostDevice(threads) as device:
        for _ in range(rounds):
            ours.append(device.measure(artifact).seconds)
            timings = [time_onnxruntime(baseline, threads, python) for python in pythons]
            versions = [timing.version for timing in timings]
            for side, timing in zip(theirs, timings, strict=True):
                side.append(float(np.median(timing.seconds)))
    sides = [
        {"version": v, "latency_s": float(np.median(t)), "ratios": [a / b for a, b in zip(ours, t, strict=True)]}
        for v, t in zip(versions, theirs, strict=True)
    ]
    for side in sides:
        side["ratio"] = float(np.median(side["ratios"]))
    print(name, threads, f"{1e3 * np.median(ours):.3f} ms", *(f"{s['ratio']:.3f}" for s in sides), flush=True)
    return {"network": name, "threads": threads, "latency_s": float(np.median(ours)), "onnxruntime": sides}


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown, a table for each number of threads."""
    yield "# Networks beside ONNX Runtime\n"
    yield f"`{found['command']}` on {found['cpu']}.\n"
    yield "Each side in processes of its own, in turn; medians of the rounds' ratios, ours / theirs: below 1 is faster."
    for threads in sorted({r["threads"] for r in found["rows"]}):
        rows = [r for r in found["rows"] if r["threads"] == threads]
        versions = [side["version"] for side in rows[0]["onnxruntime"]]
        yield f"\n## {threads} thread{'s' if threads > 1 else ''}\n"
        yield "| network | ours, ms |" + "".join(f" onnxruntime {v}, ms | ratio |" for v in versions)
        yield "|---|---|" + "---|---|" * len(versions)
        for r in rows:
            sides = "".join(f" {1e3 * s['latency_s']:.3f} | {s['ratio']:.3f} |" for s in r["onnxruntime"])
            yield f"| {r['network']} | {1e3 * r['latency_s']:.3f} |{sides}"
        means = [np.exp(np.mean([np.log(r["onnxruntime"][i]["ratio"]) for r in rows])) for i in range(len(versions))]
        yield "| geometric mean | |" + "".join(f" | {mean:.3f} |" for mean in means)


if __name__ == "__main__":
    main()
