"""The main job on real models: each row is one `pfir compile`, its result evaluated on data that it never saw.

    python benchmarks/main_job.py ROW [--shared DIR] [--data DIR] [--work DIR] [--time-budget 75m] [--engine torch]
                                      [--finished]

ROW is one of ROWS below: four by channels alone, the others in what layers gain by. Models are those of
tests/support/models.py (`$PFIR_SHARED/models`); CIFAR-10 comes from benchmarks/cifar10.py. Its ten thousand test images
are read here, by `pfir evaluate`, and nowhere else.
Writes benchmarks/results/main_job_ROW.json and the table benchmarks/results/main_job.md. `--finished` records a run
whose output folder is there already.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.real_networks import CIFAR, LITE, add_places  # noqa: E402
from pfir.backends import open_backend  # noqa: E402
from pfir.compile.measuring.latency import emulation, host_latency, instructions  # noqa: E402
from pfir.compile.prepare import BASELINE  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.report.progress import Silent  # noqa: E402
from pfir.target import parse_target  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
EFFICIENTNET, FACE = "efficientnet_lite0_in1k_fp32_static.onnx", "mediapipe_face_landmark.onnx"
IMAGES = "imagenet_sample_500.zip"


HEAD = """\
# The main job on real models

By `python benchmarks/main_job.py ROW`; every figure is in `main_job_ROW.json` beside this page. Speed-ups are ratios of
the original and the result, both built by the same backend: by the estimate for the target's core, measured on this
machine (one thread, in turn), and in instructions counted on the emulated aarch64 device. Test accuracy is on all
10,000 test images, which nothing else reads. Fidelity is agreement with the original on held-out samples.

| row | goal | estimate | this machine | instructions | MACs | size | test accuracy | fidelity | wall time |
|---|---|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """One model with its goal.

    Args:
        model: File name of the model.
        speedup: The goal.
        data: `cifar10`, the name of a file under shared/data, or None for no data.
        preprocess: Of the data.
        time_budget: By default.
        extra: Further options.
        target: What it is compiled for.
    """

    model: str
    speedup: float
    data: str | None
    preprocess: str | None
    time_budget: str
    extra: tuple[str, ...] = ()
    target: str = "arm"


CHANNELS = ("--precision", "float32")
"""Rows that say what channels alone give."""
ROWS = {
    "resnet20": Row("resnet20_cifar10_fp32.onnx", 2.0, "cifar10", CIFAR, "20m", ("--trials", "60", *CHANNELS)),
    "resnet56": Row("resnet56_cifar10_fp32.onnx", 2.5, "cifar10", CIFAR, "75m", ("--trials", "100", *CHANNELS)),
    "efficientnet": Row(EFFICIENTNET, 1.5, IMAGES, LITE, "20m", ("--trials", "24", *CHANNELS)),
    "face": Row(FACE, 1.5, None, None, "10m", CHANNELS),
    "resnet56_auto": Row("resnet56_cifar10_fp32.onnx", 2.5, "cifar10", CIFAR, "45m", ("--trials", "100")),
    "efficientnet_auto": Row(EFFICIENTNET, 1.5, IMAGES, LITE, "8m"),
    "efficientnet_2x_rpi5": Row(EFFICIENTNET, 2.0, IMAGES, LITE, "8m", target="rpi5"),
    "efficientnet_2.5x_rpi5": Row(EFFICIENTNET, 2.5, IMAGES, LITE, "8m", target="rpi5"),
    "face_rpi5": Row(FACE, 1.5, None, None, "8m", target="rpi5"),
}


def main() -> None:
    arguments = _arguments()
    row, folder = ROWS[arguments.row], arguments.work / arguments.row
    command = _command(row, arguments, folder)
    if not arguments.finished:
        subprocess.run(command, check=True, stdout=sys.stderr)
    report = json.loads((folder / "report.json").read_text())
    if report["result"]["instructions"] is None and row.target == "arm":
        _measure(report, arguments.shared / "models" / row.model, folder / "model.onnx")
    record = {
        "command": _shown(command),
        "machine": {"processor": platform.processor() or platform.machine(), "cores": len(os.sched_getaffinity(0))},
        "report": _without_folders(report, arguments),
        "remark": arguments.remark,
        "training": report["training"],
        "test": _tested(row, arguments, folder) if row.data == "cifar10" else None,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"main_job_{arguments.row}.json").write_text(json.dumps(record, indent=1) + "\n")
    (RESULTS / "main_job.md").write_text(_table())
    print(_table())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS)
    add_places(parser)
    parser.add_argument("--work", type=Path, default=Path("main_job"), help="receives the output folders")
    parser.add_argument("--time-budget", help="instead of the row's own")
    parser.add_argument("--engine", help="what trains, instead of what pfir chooses")
    parser.add_argument("--remark", default="", help="what a reader should know of this run")
    parser.add_argument("--finished", action="store_true", help="record a run that is there already")
    return parser.parse_args()


def _command(row: Row, arguments: argparse.Namespace, folder: Path) -> list[str]:
    budget = arguments.time_budget or row.time_budget
    command = ["pfir", "compile", str(arguments.shared / "models" / row.model), "--target", row.target]
    command += ["--speedup", f"{row.speedup:g}", "--time-budget", budget, *row.extra, "-o", str(folder)]
    command += ["--engine", arguments.engine] if arguments.engine else []
    if row.data == "cifar10":
        _fetch(arguments.cifar)
        command += ["--data", str(arguments.cifar / "train.npz")]
    elif row.data:
        command += ["--data", str(arguments.shared / "data" / row.data)]
    return command + (["--preprocess", row.preprocess] if row.preprocess else [])


def _fetch(folder: Path) -> None:
    if not (folder / "test.npz").exists():
        subprocess.run([sys.executable, ROOT / "benchmarks" / "cifar10.py", "--out", folder], check=True)


def _tested(row: Row, arguments: argparse.Namespace, folder: Path) -> dict[str, dict]:
    """Accuracy of the original and the result on the test images."""
    original = arguments.shared / "models" / row.model
    return {
        name: _evaluated(m, row, arguments) for name, m in (("original", original), ("result", folder / "model.onnx"))
    }


def _measure(report: dict, *paths: Path) -> None:
    """Fill in what a run had no time left for: both models on this machine, and counted on the emulated device."""
    backend, target = open_backend("tvm"), parse_target("arm")
    models = [run(BASELINE, fix_sizes(load(path), 1), Context())[0] for path in paths]
    feeds = {i.name: np.random.default_rng(0).random(i.shape, np.float32) for i in models[0].inputs()}
    host = host_latency(backend, *models)
    with emulation(backend, target, Silent()) as device:
        counted = instructions(backend, models, target, feeds, Silent(), device)
    for side, seconds, count in zip(("baseline", "result"), (host.baseline_s, host.result_s), counted, strict=True):
        report[side] |= {"host_latency_s": seconds, "instructions": count}


def _evaluated(model: Path, row: Row, arguments: argparse.Namespace) -> dict:
    command = ["pfir", "evaluate", str(model), "--data", str(arguments.cifar / "test.npz")]
    command += ["--preprocess", row.preprocess, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {k: found[k] for k in ("samples", "accuracy", "cross_entropy")}


def _without_folders(report: dict, arguments: argparse.Namespace) -> dict:
    """The report without its longest parts, and without this machine's folders in its notes."""
    kept = {k: v for k, v in report.items() if k not in ("trials", "training", "kept", "command")}
    return kept | {"notes": [note.replace(f"{arguments.shared / 'data'}/", "") for note in report["notes"]]}


def _shown(command: list[str]) -> str:
    """The command without this machine's folders."""
    return shlex.join([Path(word).name if word.startswith("/") else word for word in command])


def _table() -> str:
    lines = HEAD.splitlines()
    records = [(name, RESULTS / f"main_job_{name}.json") for name in ROWS]
    lines += [_line(name, json.loads(path.read_text())) for name, path in records if path.exists()]
    lines += ["", "Wall time by stage, in seconds:", ""]
    lines += [_stages(name, json.loads(path.read_text())) for name, path in records if path.exists()]
    return "\n".join(lines) + "\n"


def _line(name: str, record: dict) -> str:
    report, test = record["report"], record["test"]
    before, after = report["baseline"], report["result"]
    ratios = [_ratio(before[k], after[k]) for k in ("host_latency_s", "instructions", "macs", "size_bytes")]
    accuracy = "-"
    if test:
        a, b = (100 * test[k]["accuracy"] for k in ("original", "result"))
        accuracy = f"{a:.2f} -> {b:.2f} % ({b - a:+.2f})"
    seconds = sum(s["seconds"] for s in report["stages"])
    cells = [name, report["goal"], f"{report['speedup']:.2f}x", *ratios, accuracy, f"{after['fidelity']:.3f}"]
    return f"| {' | '.join(cells)} | {seconds / 60:.1f} min |"


def _ratio(before: float | None, after: float | None) -> str:
    return f"{before / after:.2f}x" if before and after else "-"


def _stages(name: str, record: dict) -> str:
    parts = ", ".join(f"{s['name']} {s['seconds']:.0f}" for s in record["report"]["stages"])
    remark = f" {record['remark']}" if record.get("remark") else ""
    return f"- {name}: {parts}. `{record['command']}`{remark}"


if __name__ == "__main__":
    main()
