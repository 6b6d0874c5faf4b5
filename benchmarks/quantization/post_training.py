"""Quantization without training, of real models: `quantize-uniform` beside onnxruntime's own quantize_static.

    python benchmarks/quantization/post_training.py [--only WORDS].. [--cifar DIR] [--again]

Both sides get the same simplified and folded model, the same calibration samples and the same others to be judged on.
quantize_static makes 8 bits, per channel, as Q/DQ, with unsigned activations (which agree better than signed ones on
x86), by each of its calibrations. Cells are written one by one into benchmarks/results/quantization.json; those that
are there are not run again (`--again` does), and the table quantization.md is made from it. `--only` takes the cells
whose name, such as `face default`, contains all the words of one of its texts. Models and images are those of
`$PFIR_SHARED`; of CIFAR-10 (benchmarks/cifar10.py) training images are used, but for the cells named `-test`, which
judge what was settled before on all 10,000 test images.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.cells import Cells, add_cell_options  # noqa: E402
from benchmarks.real_networks import (  # noqa: E402
    BATCH,
    CIFAR,
    LITE,
    TEST_IMAGES,
    Baseline,
    Subject,
    add_places,
    fill,
)
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.generated import Range  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.spec import parse  # noqa: E402
from pfir.run.activations import activations  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "quantization.json"
PLAIN = "equalize=false bias_correction=false"

HEAD = """\
# Quantization without training

By `python benchmarks/quantization/post_training.py`, cell by cell; all figures are in `quantization.json` beside this
page. Fidelity is top-1 agreement with the float model, of the face net 1 less the relative error of its outputs, in %;
squares is the squared error of the outputs over their variance (of classifiers the divergence in nats); size is that of
the file, against float; seconds are CPU seconds of calibration and writing, beside other work. Samples for calibration
and judging differ; those of CIFAR-10 are training images, but under `-test`.
"""


SUBJECTS = {
    "efficientnet": Subject("efficientnet_lite0_in1k_fp32_static.onnx", "imagenet_sample_500.zip", LITE),
    "face": Subject("mediapipe_face_landmark.onnx", range=Range((0.5,), (0.25,), 0.0, 1.0), judging=100),
    "resnet20": Subject("resnet20_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=2000),
    "resnet56": Subject("resnet56_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=2000),
    "resnet8": Subject(
        "mltk_image_classification_fp32.onnx", "cifar10", "scale=0.00784313725,mean=1", calibration=256, judging=2000
    ),
    "keywords": Subject("mltk_keyword_spotting_fp32.onnx"),
    "wakewords": Subject("mltk_visual_wake_words_fp32.onnx"),
    "resnet20-test": Subject("resnet20_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=TEST_IMAGES),
    "resnet56-test": Subject("resnet56_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=TEST_IMAGES),
}
OURS = {
    "default": "pairs=kernels",
    "min-max": f"calibration=min-max {PLAIN} pairs=kernels",
    "percentile": f"calibration=percentile {PLAIN} pairs=kernels",
    "entropy": f"calibration=entropy {PLAIN} pairs=kernels",
    "mse": f"{PLAIN} pairs=kernels",
    "per-tensor": "per_channel=false pairs=kernels",
    "operators": "",
    "compensated": "rounding=compensated pairs=kernels",
    "float-2": "float_layers=2 pairs=kernels",
    "float-5": "float_layers=5 pairs=kernels",
    "float-share-0.02": "float_share=0.02 pairs=kernels",
    "float-share-0.06": "float_share=0.06 pairs=kernels",
    "float-share-0.15": "float_share=0.15 pairs=kernels",
    "float-share-0.3": "float_share=0.3 pairs=kernels",
    "W6A8": "weight_bits=6 pairs=kernels",
    "W4A8": "weight_bits=4 pairs=kernels",
    "W4A8-compensated": "weight_bits=4 rounding=compensated pairs=kernels",
    "W4A8-mixed": "weight_bits=4 rounding=compensated eight_bit_share=0.05 pairs=kernels",
    "W4A8-mixed-0.1": "weight_bits=4 rounding=compensated eight_bit_share=0.1 pairs=kernels",
    "average-4.5": "average_bits=4.5 rounding=compensated pairs=kernels",
}
TESTED = ("static-min-max", "default", "W4A8-compensated")
"""What is judged on test images, beside the float model."""
THEIRS = {"static-min-max": "MinMax", "static-percentile": "Percentile", "static-entropy": "Entropy"}


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
    for name, subject in SUBJECTS.items():
        yield f"{name} float"
        ways = TESTED if subject.judging == TEST_IMAGES else (*THEIRS, *OURS)
        yield from (f"{name} {way}" for way in ways)


def _row(before: Baseline, way: str) -> dict:
    if way == "float":
        return before.scores(before.model) | {"bytes": len(before.model.to_bytes())}
    start = time.process_time()
    try:
        made = _theirs(before, THEIRS[way]) if way in THEIRS else _ours(before, OURS[way]).to_bytes()
    except ValueError as error:  # As quantize_static's histograms do of a tensor that is empty.
        return {"refused": str(error)}
    seconds = time.process_time() - start
    return before.scores(made) | {"bytes": len(made), "seconds": round(seconds, 1)}


def _ours(before: Baseline, fields: str) -> Model:
    context = Context(activations=lambda m, names: activations(m, names, before.calibration, BATCH))
    return run(parse(f"quantize-uniform{{{fields}}}"), before.model, context)[0]


def _theirs(before: Baseline, method: str) -> bytes:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "float.onnx", Path(folder) / "made.onnx"
        before.model.save(given)
        quantize_static(
            given,
            made,
            _reader(before.calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod[method],
        )
        return made.read_bytes()


def _reader(data: Dataset) -> object:
    """The samples one by one, as quantize_static takes them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self._left = iter(range(len(data)))

        def get_next(self) -> dict[str, np.ndarray] | None:
            index = next(self._left, None)
            return None if index is None else data.batch(np.array([index]))

    return Reader()


def _table(rows: dict) -> str:
    lines = [HEAD]
    for name, subject in SUBJECTS.items():
        own = {c.split()[1]: r for c, r in rows.items() if c.split()[0] == name}
        if "float" in own and len(own) > 1:
            lines += [f"## {name}", "", subject.told(), "", *_of_subject(own), ""]
    return "\n".join(lines).rstrip() + "\n"


def _of_subject(own: dict[str, dict]) -> list[str]:
    before = own["float"]
    labelled = before["accuracy"] is not None
    head = ("way", *(("accuracy",) if labelled else ()), "fidelity", "squares", "size", "seconds")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for way, row in own.items():
        if "refused" in row:
            lines.append(f"| {_named(way)} | {row['refused']} {'| ' * (len(head) - 1)}|")
            continue
        accuracy = [_percent(row["accuracy"])] if labelled else []
        size = f"{before['bytes'] / row['bytes']:.2f}x smaller" if way != "float" else f"{row['bytes']:,} bytes"
        cells = [_named(way), *accuracy, _percent(row["fidelity"]), f"{row['divergence']:.5f}", size]
        lines.append(f"| {' | '.join((*cells, str(row.get('seconds', ''))))} |")
    return lines


def _named(way: str) -> str:
    if way in THEIRS:
        return f"quantize_static, {way.removeprefix('static-')}"
    return f"`quantize-uniform{{{OURS[way]}}}`" if way in OURS else way


def _percent(share: float) -> str:
    return f"{100 * share:.2f}"


if __name__ == "__main__":
    main()
