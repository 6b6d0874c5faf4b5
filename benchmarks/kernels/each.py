"""Each distinct kernel of networks beside ONNX Runtime's on the same graph of its nodes alone.

    python benchmarks/kernels/each.py [--rounds 5] MODEL.onnx...

One thread, each side in a process of its own, in turn; medians of the rounds. Two pairs of times: the graph as a whole,
where both sides bring the data into their layout and back, and the kernel as it runs within a network, where neither
does: ours alone, and ONNX Runtime's nodes without its reordering ones, by its profiler.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.nets import MADE  # noqa: E402
from benchmarks.kernels.networks import RESULTS  # noqa: E402
from benchmarks.kernels.pages import write  # noqa: E402
from pfir.backends.tvm import TvmBackend  # noqa: E402
from pfir.backends.tvm.families import modelled  # noqa: E402
from pfir.backends.tvm.tuning.database import known  # noqa: E402
from pfir.backends.tvm.tuning.tunable import GroupKernel, group_kernels  # noqa: E402
from pfir.compile.prepare import BASELINE  # noqa: E402
from pfir.devices.host import HostDevice, cpu_name  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes, infer_shapes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.run.rival import time_onnxruntime  # noqa: E402
from pfir.target import parse_target  # noqa: E402

RUNS = 200
REORDERING = ("ReorderInput", "ReorderOutput", "Transpose")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--made", nargs="*", choices=sorted(MADE), default=[])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--note", default="", help="What a reader must know of the machine.")
    parser.add_argument("--out", type=Path, default=RESULTS / "kernels_each")
    options = parser.parse_args()
    nets = {path.stem: load(path) for path in options.models} | {name: MADE[name]() for name in options.made}
    made = f" --made {' '.join(options.made)}" if options.made else ""
    command = f"python benchmarks/kernels/each.py --rounds {options.rounds}{made} MODEL.onnx..."
    found = {"command": command, "cpu": cpu_name(), "note": options.note, "rows": []}
    for name, model in nets.items():
        for row in network(name, model, options.rounds):
            found["rows"].append(row)
            write(found, page(found), options.out)


def network(name: str, model: Model, rounds: int) -> Iterator[dict[str, object]]:
    """Every distinct kernel with a choice of ways, in order of execution."""
    baseline = run(BASELINE, fix_sizes(model), Context())[0]
    for text, kernel in group_kernels(baseline, parse_target("host")).items():
        row = {"network": name, "kernel": text, "calls": kernel.calls, **beside(kernel, rounds)}
        print(name, text, *(f"{key} {row[key]:.2f}" for key in ("graph_ratio", "kernel_ratio")), flush=True)
        yield row


def beside(kernel: GroupKernel, rounds: int) -> dict[str, object]:
    """Both sides of both pairs, in turn."""
    host = parse_target("host")
    model = alone(kernel)
    schedule = known(host).schedule(host, kernel.workload) or modelled(host, kernel.workload)
    graph, inner = TvmBackend().build(model, host), kernel.build(str(schedule))
    times: dict[str, list[float]] = defaultdict(list)
    with HostDevice() as device:
        for _ in range(rounds):
            times["graph_s"].append(device.measure(graph).seconds)
            timing = time_onnxruntime(model, 1)
            times["onnxruntime_graph_s"].append(float(np.median(timing.seconds)))
            times["kernel_s"].append(device.measure(inner).seconds)
            times["onnxruntime_kernel_s"].append(profiled(model))
    ratios = {
        f"{pair}_ratio": float(np.median(np.divide(times[f"{pair}_s"], times[f"onnxruntime_{pair}_s"])))
        for pair in ("graph", "kernel")
    }
    return (
        {"way": str(schedule), "version": timing.version} | {k: float(np.median(v)) for k, v in times.items()} | ratios
    )


def alone(kernel: GroupKernel) -> Model:
    """The kernel's nodes as a model of their own."""
    copies: dict[str, gs.Tensor] = {}

    def copy(tensor: gs.Tensor) -> gs.Tensor:
        if isinstance(tensor, gs.Constant) or tensor.is_empty():
            return tensor
        return copies.setdefault(tensor.name, gs.Variable(tensor.name, tensor.dtype, tensor.shape))

    nodes = [
        gs.Node(n.op, n.name, dict(n.attrs), [copy(t) for t in n.inputs], [copy(t) for t in n.outputs])
        for n in kernel.group.nodes
    ]
    inputs = [copies[name] for name in kernel.forms]
    graph = gs.Graph(nodes, inputs, [copies[kernel.group.output.name]], opset=kernel.opset, ir_version=8)
    model = Model.from_proto(gs.export_onnx(graph, do_type_check=False))
    infer_shapes(model)
    return model


def profiled(model: Model) -> float:
    """Seconds of ONNX Runtime's nodes in one run, those that only reorder left out; the median of many runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_profiling, options.log_severity_level = True, 3
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(model.to_proto().SerializeToString(), options)
        random = np.random.default_rng(0)
        feeds = {s.name: random.standard_normal(s.shape).astype(s.dtype) for s in model.inputs()}
        for _ in range(RUNS):
            session.run(None, feeds)
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes: dict[str, list[float]] = defaultdict(list)
    for event in events:
        if event["name"].endswith("_kernel_time") and event["args"]["op_name"] not in REORDERING:
            nodes[event["name"]].append(event["dur"] * 1e-6)
    return float(sum(np.median(seconds) for seconds in nodes.values()))


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown, a table for each network."""
    yield "# Kernels beside ONNX Runtime\n"
    yield f"`{found['command']}` on {found['cpu']}, one thread, onnxruntime {found['rows'][0]['version']}.\n"
    yield "Times in microseconds, ours / theirs. Graph: the kernel's nodes alone, as a model; both sides bring the data"
    yield "into their layout and back. Kernel: as it runs in a network, without that; theirs by their profiler, which"
    yield "counts whole microseconds, so that ratios of the shortest kernels are rough."
    if found["note"]:
        yield f"\n{found['note']}"
    for network in dict.fromkeys(row["network"] for row in found["rows"]):
        rows = [row for row in found["rows"] if row["network"] == network]
        yield f"\n## {network}\n"
        yield "| kernel | calls | graph | ratio | kernel | ratio | way |\n|---|---|---|---|---|---|---|"
        for r in rows:
            yield f"| {r['kernel']} | {r['calls']} | {pair(r, 'graph')} | {pair(r, 'kernel')} | {r['way']} |"
        sums = [
            sum(r["calls"] * r[f"{side}{pair}_s"] for r in rows)
            for pair in ("graph", "kernel")
            for side in ("", "onnxruntime_")
        ]
        yield f"| all, calls counted | | | {sums[0] / sums[1]:.2f} | | {sums[2] / sums[3]:.2f} | |"


def pair(row: dict[str, object], name: str) -> str:
    """Two cells: ours / theirs, and the ratio."""
    ours, theirs = (1e6 * row[f"{side}{name}_s"] for side in ("", "onnxruntime_"))
    return f"{ours:.1f} / {theirs:.1f} | {row[f'{name}_ratio']:.2f}"


if __name__ == "__main__":
    main()
