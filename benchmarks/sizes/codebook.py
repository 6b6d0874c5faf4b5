"""Codebooks and bits layer by layer without training, of real models: what they lose, and how large files are.

    python benchmarks/sizes/codebook.py [--only WORDS].. [--cifar DIR] [--again]

Models, samples and figures are those of benchmarks/quantization/post_training.py: ResNet-56 is judged on images of
CIFAR-10's training part that calibration does not see, EfficientNet-Lite0 on 400 images, the keyword net on generated
inputs. Weights alone have few bits, but in the cells of `quantize-uniform`, whose activations have eight. Cells are
written one by one into benchmarks/results/codebook.json; those that are there are not run again (`--again` does), and
the table codebook.md is made from it.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cells import Cells, add_cell_options  # noqa: E402
from benchmarks.quantization.post_training import SUBJECTS  # noqa: E402
from benchmarks.real_networks import BATCH, Baseline, add_places, fill  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.spec import parse  # noqa: E402
from pfir.run.activations import activations  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "codebook.json"
NETS = ("resnet56", "efficientnet", "keywords")
UNIFORM = "quantize-uniform{%s equalize=false bias_correction=false pairs=kernels}"
WAYS = {
    "uniform-4": UNIFORM % "weight_bits=4",
    "uniform-average-4": UNIFORM % "average_bits=4",
    "codebook-4": "quantize-codebook{bits=4}",
    "codebook-3": "quantize-codebook{bits=3}",
    "codebook-average-4": "quantize-codebook{average_bits=4}",
    "codebook-average-3": "quantize-codebook{average_bits=3}",
    "codebook-3-compensated": "quantize-codebook{bits=3 rounding=compensated}",
    "codebook-average-3-compensated": "quantize-codebook{average_bits=3 rounding=compensated}",
    "uniform-3": UNIFORM % "weight_bits=3",
    "uniform-average-3": UNIFORM % "average_bits=3",
    "codebook-2": "quantize-codebook{bits=2}",
    "codebook-2-compensated": "quantize-codebook{bits=2 rounding=compensated}",
    "codebook-average-2-compensated": "quantize-codebook{average_bits=2 rounding=compensated}",
}
HEAD = """\
# Codebooks and bits layer by layer, without training

By `python benchmarks/sizes/codebook.py`, cell by cell; all figures are in `codebook.json` beside this page. Fidelity is
top-1 agreement with the float model in %; accuracy is that on images of the training part of CIFAR-10 which calibration
does not see; squares is the squared error of the outputs over their variance (of classifiers the divergence in nats).
Sizes are those of the ONNX files, and of the same by gzip, against the float file; seconds are CPU seconds. Cells that
are missing were not run yet.
"""


def main() -> None:
    arguments = _arguments()
    cells = Cells.asked_for(arguments, RESULTS, _cells())
    fill(cells, SUBJECTS, arguments, _row)
    cells.write_page(_table(cells.rows))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cell_options(parser)
    add_places(parser)
    return parser.parse_args()


def _cells() -> Iterator[str]:
    for net in NETS:
        yield from (f"{net} {way}" for way in ("float", *WAYS))


def _row(before: Baseline, way: str) -> dict:
    start = time.process_time()
    made = before.model if way == "float" else _made(before, WAYS[way])
    seconds, content = time.process_time() - start, made.to_bytes()
    sizes = {"bytes": len(content), "gzip_bytes": len(gzip.compress(content, 9))}
    return before.scores(content) | sizes | {"seconds": round(seconds, 1)}


def _made(before: Baseline, text: str) -> Model:
    context = Context(activations=lambda m, names: activations(m, names, before.calibration, BATCH))
    return run(parse(text), before.model, context)[0]


def _table(rows: dict) -> str:
    lines = [HEAD]
    for net in NETS:
        own = {cell.split()[1]: row for cell, row in rows.items() if cell.split()[0] == net}
        if "float" in own and len(own) > 1:
            lines += [
                f"## {net}",
                "",
                "| way | accuracy | fidelity | squares | file | gzip | seconds |",
                "|---" * 7 + "|",
            ]
            lines += [_line(way, row, own["float"]["bytes"]) for way, row in own.items()] + [""]
    return "\n".join(lines).rstrip() + "\n"


def _line(way: str, row: dict, whole: int) -> str:
    accuracy = "" if row["accuracy"] is None else f"{100 * row['accuracy']:.2f}"
    sizes = [f"{row[kind]:,} ({whole / row[kind]:.2f}x)" for kind in ("bytes", "gzip_bytes")]
    text = f"`{WAYS[way]}`" if way in WAYS else way
    cells = [text, accuracy, f"{100 * row['fidelity']:.2f}", f"{row['divergence']:.5f}", *sizes, f"{row['seconds']}"]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
