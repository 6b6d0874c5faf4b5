"""Small files of real models, fine-tuned: zeros, codebooks and what `--size` chooses, each by one `pfir compile`.

    python benchmarks/sizes/trained.py ROW [--cifar DIR] [--work DIR] [OPTIONS OF pfir compile ..]

ROW is one of ROWS below. Models and images are those of `$PFIR_SHARED`, CIFAR-10 is that of benchmarks/cifar10.py. Its
test images are read at the end of a row, by `pfir evaluate`, and nowhere else. Writes
benchmarks/results/sizes_trained.json, row by row, and its table sizes_trained.md.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "sizes_trained.json"
CIFAR = "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
HEAD = """\
# Small files, fine-tuned

By `python benchmarks/sizes/trained.py ROW`; the figures are in `sizes_trained.json` beside this page. Size is that of
model.pfir, how many times smaller than the float32 file as it was given. Test accuracy is on CIFAR-10's 10,000 test
images, which nothing else reads; fidelity is agreement with the original on samples held back.

| row | smaller | test accuracy | fidelity | epochs | minutes |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Row:
    """A model and what is done to it.

    Args:
        model: File name of the model.
        options: Of `pfir compile`.
        data: `cifar10`, or the name of a file under shared/data.
        preprocess: Of the data.
    """

    model: str
    options: tuple[str, ...]
    data: str = "cifar10"
    preprocess: str = CIFAR


def _resnet(size: str, passes: str = "", epochs: int = 1) -> Row:
    chosen = ("--passes", passes) if passes else ()
    return Row("resnet56_cifar10_fp32.onnx", ("--size", size, *chosen, "--epochs", str(epochs)))


def _efficientnet(size: str, passes: str = "", epochs: int = 0) -> Row:
    options = _resnet(size, passes, epochs).options
    images = ("imagenet_sample_500.zip", "mean=127,std=128,resize=256,crop=224")
    return Row("efficientnet_lite0_in1k_fp32_static.onnx", options, *images)


ROWS = {
    "resnet56-zeros-50": _resnet("1.5x", "sparsify-weights{sparsity=0.5 criterion=obc}"),
    "resnet56-zeros-80": _resnet("3x", "sparsify-weights{sparsity=0.8 criterion=obc distribution=dp}", 2),
    "resnet56-uniform-4-bits": _resnet("6x", "quantize-codebook{bits=4 rounding=compensated}"),
    "resnet56-average-4-bits": _resnet("6x", "quantize-codebook{average_bits=4 rounding=compensated}"),
    "resnet56-10x": _resnet("10x"),
    "efficientnet-zeros-50": _efficientnet("1.5x", "sparsify-weights{sparsity=0.5 criterion=obc}", 10),
    "efficientnet-6x": _efficientnet("6x"),
}


def main() -> None:
    arguments = _arguments()
    row, folder = ROWS[arguments.row], arguments.work / arguments.row
    command = _command(row, arguments, folder)
    subprocess.run(command, check=True, stdout=sys.stderr)
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    rows[arguments.row] = _record(row, arguments, folder, command)
    RESULTS.write_text(json.dumps({name: rows[name] for name in ROWS if name in rows}, indent=1) + "\n")
    RESULTS.with_suffix(".md").write_text(HEAD + "".join(_line(name, rows[name]) for name in ROWS if name in rows))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", choices=ROWS)
    parser.add_argument("--shared", type=Path, default=shared, help="holds models/ and data/")
    parser.add_argument("--cifar", type=Path, default=Path("cifar10"), help="train.npz, test.npz")
    parser.add_argument("--work", type=Path, default=Path("sizes_trained"), help="receives the output folders")
    arguments, more = parser.parse_known_args()
    arguments.more = more
    return arguments


def _command(row: Row, arguments: argparse.Namespace, folder: Path) -> list[str]:
    """The command; on this machine, since the file is what is looked at."""
    data = arguments.cifar / "train.npz" if row.data == "cifar10" else arguments.shared / "data" / row.data
    command = ["pfir", "compile", str(arguments.shared / "models" / row.model), "--target", "host", *row.options]
    command += ["--data", str(data), "--preprocess", row.preprocess, "--time-budget", "3h", *arguments.more]
    return [*command, "-o", str(folder)]


def _record(row: Row, arguments: argparse.Namespace, folder: Path, command: list[str]) -> dict:
    told = (folder / "report.json").read_text()
    report = json.loads(told.replace(f"{arguments.shared / 'data'}/", ""))
    models = {"original": arguments.shared / "models" / row.model, "result": folder / "model.onnx"}
    return {
        "command": shlex.join([Path(word).name if word.startswith("/") else word for word in command]),
        "given_bytes": models["original"].stat().st_size,
        "packed_bytes": (folder / "model.pfir").stat().st_size,
        "report": {k: v for k, v in report.items() if k not in ("trials", "kept", "command")},
        "test": {n: _tested(m, arguments) for n, m in models.items()} if row.data == "cifar10" else None,
    }


def _tested(model: Path, arguments: argparse.Namespace) -> dict:
    command = ["pfir", "evaluate", str(model), "--data", str(arguments.cifar / "test.npz")]
    command += ["--preprocess", CIFAR, "--json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return {k: found[k] for k in ("samples", "accuracy", "cross_entropy")}


def _line(name: str, record: dict) -> str:
    report, test, accuracy = record["report"], record["test"], "-"
    if test:
        a, b = (100 * test[k]["accuracy"] for k in ("original", "result"))
        accuracy = f"{a:.2f} -> {b:.2f} % ({b - a:+.2f})"
    cells = [name, f"{record['given_bytes'] / record['packed_bytes']:.2f}x", accuracy]
    cells += [f"{report['result']['fidelity']:.4f}", str(len(report["training"]))]
    minutes = sum(stage["seconds"] for stage in report["stages"]) / 60
    return f"| {' | '.join(cells)} | {minutes:.1f} |\n"


if __name__ == "__main__":
    main()
