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
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfir.data import open_data, parse_preprocess  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.data.generated import Range, generated  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.spec import parse  # noqa: E402
from pfir.run.activations import activations  # noqa: E402
from pfir.run.evaluate import Reference, evaluate, reference  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "quantization.json"
BASELINE = "simplify,fold-batch-norm"
BATCH = 16
TEST_IMAGES = 10_000
CIFAR = "scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225"
PLAIN = "equalize=false bias_correction=false"

HEAD = """\
# Quantization without training

By `python benchmarks/quantization/post_training.py`, cell by cell; all figures are in `quantization.json` beside this
page. Fidelity is top-1 agreement with the float model, of the face net 1 less the relative error of its outputs, in %;
squares is the squared error of the outputs over their variance (of classifiers the divergence in nats); size is that of
the file, against float; seconds are CPU seconds of calibration and writing, beside other work. Samples for calibration
and judging differ; those of CIFAR-10 are training images, but under `-test`.
"""


@dataclass(frozen=True)
class Subject:
    """A model with its samples.

    Args:
        file: Of the model.
        data: `cifar10`, the name of a file under shared/data, or None for generated inputs.
        preprocess: Of the data.
        range: Of generated inputs.
        calibration, judging: How many samples; of CIFAR-10 10,000 to judge on are its test images.
        ways: What is tried beside the float model; all where there are none.
    """

    file: str
    data: str | None = None
    preprocess: str | None = None
    range: Range = Range()
    calibration: int = 100
    judging: int = 400
    ways: tuple[str, ...] = ()


TESTED = ("static-min-max", "default", "W4A8-compensated")
SUBJECTS = {
    "efficientnet": Subject(
        "efficientnet_lite0_in1k_fp32_static.onnx", "imagenet_sample_500.zip", "mean=127,std=128,resize=256,crop=224"
    ),
    "face": Subject("mediapipe_face_landmark.onnx", range=Range((0.5,), (0.25,), 0.0, 1.0), judging=100),
    "resnet20": Subject("resnet20_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=2000),
    "resnet56": Subject("resnet56_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=2000),
    "resnet8": Subject(
        "mltk_image_classification_fp32.onnx", "cifar10", "scale=0.00784313725,mean=1", calibration=256, judging=2000
    ),
    "keywords": Subject("mltk_keyword_spotting_fp32.onnx"),
    "wakewords": Subject("mltk_visual_wake_words_fp32.onnx"),
    "resnet20-test": Subject(
        "resnet20_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=TEST_IMAGES, ways=TESTED
    ),
    "resnet56-test": Subject(
        "resnet56_cifar10_fp32.onnx", "cifar10", CIFAR, calibration=256, judging=TEST_IMAGES, ways=TESTED
    ),
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
THEIRS = {"static-min-max": "MinMax", "static-percentile": "Percentile", "static-entropy": "Entropy"}


@dataclass(frozen=True)
class Ground:
    """A float model with what it is calibrated and judged on."""

    model: Model
    calibration: Dataset
    judging: Dataset

    @cached_property
    def _reference(self) -> Reference:
        return reference(self.model, self.judging)

    def scores(self, made: Model | bytes) -> dict[str, float | None]:
        found = evaluate(made, self.judging, self._reference)
        return {"accuracy": found.accuracy, "fidelity": found.fidelity, "divergence": found.divergence}


def main() -> None:
    arguments = _arguments()
    rows = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    wanted = [c for c in _cells() if _chosen(c, arguments.only) and (arguments.again or c not in rows)]
    for name, subject in SUBJECTS.items():
        cells = [c for c in wanted if c.split()[0] == name]
        ground = _ground(subject, arguments) if cells else None
        for cell in cells:
            _store(rows, cell, _row(ground, cell.split()[1]))
    RESULTS.with_suffix(".md").write_text(_table(rows))


def _arguments() -> argparse.Namespace:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], help="cells with all these words")
    parser.add_argument("--shared", type=Path, default=shared, help="holds models/ and data/")
    parser.add_argument("--cifar", type=Path, default=Path("cifar10"), help="folder of CIFAR-10's train.npz")
    parser.add_argument("--again", action="store_true", help="run cells that are there already")
    return parser.parse_args()


def _cells() -> Iterator[str]:
    for name, subject in SUBJECTS.items():
        yield f"{name} float"
        yield from (f"{name} {way}" for way in subject.ways or (*THEIRS, *OURS))


def _chosen(cell: str, texts: list[str]) -> bool:
    return not texts or any(set(text.split()) <= set(cell.split()) for text in texts)


def _store(rows: dict, cell: str, row: dict) -> None:
    """Written whole or not at all, after every cell."""
    print(cell, json.dumps(row), file=sys.stderr, flush=True)
    rows[cell] = row
    fresh = RESULTS.with_suffix(".tmp")
    fresh.write_text(json.dumps({c: rows[c] for c in _cells() if c in rows}, indent=1) + "\n")
    os.replace(fresh, RESULTS)


def _ground(subject: Subject, arguments: argparse.Namespace) -> Ground:
    original = load(arguments.shared / "models" / subject.file)
    model, _ = run(parse(BASELINE), original, Context())
    inputs = fix_sizes(original).inputs()
    if subject.data is None:
        ranges = {spec.name: subject.range for spec in inputs}
        counts = (subject.calibration, subject.judging)
        return Ground(model, *(generated(inputs, count, seed, ranges) for seed, count in enumerate(counts)))
    folder = arguments.cifar / "train.npz" if subject.data == "cifar10" else arguments.shared / "data" / subject.data
    preprocess = parse_preprocess(subject.preprocess)
    whole = open_data(folder, inputs, preprocess)
    order = np.random.default_rng(0).permutation(len(whole))
    chosen, others = order[: subject.calibration], order[subject.calibration :][: subject.judging]
    calibration = whole.subset(np.sort(chosen))
    if subject.judging == TEST_IMAGES:
        return Ground(model, calibration, open_data(folder.with_name("test.npz"), inputs, preprocess))
    return Ground(model, calibration, whole.subset(np.sort(others)))


def _row(ground: Ground, way: str) -> dict:
    if way == "float":
        return ground.scores(ground.model) | {"bytes": len(ground.model.to_bytes())}
    start = time.process_time()
    try:
        made = _theirs(ground, THEIRS[way]) if way in THEIRS else _ours(ground, OURS[way]).to_bytes()
    except ValueError as error:  # As quantize_static's histograms do of a tensor that is empty.
        return {"refused": str(error)}
    seconds = time.process_time() - start
    return ground.scores(made) | {"bytes": len(made), "seconds": round(seconds, 1)}


def _ours(ground: Ground, fields: str) -> Model:
    context = Context(activations=lambda m, names: activations(m, names, ground.calibration, BATCH))
    return run(parse(f"quantize-uniform{{{fields}}}"), ground.model, context)[0]


def _theirs(ground: Ground, method: str) -> bytes:
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_static

    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "float.onnx", Path(folder) / "made.onnx"
        ground.model.save(given)
        quantize_static(
            given,
            made,
            _reader(ground.calibration),
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
            data = subject.data or "generated inputs"
            told = f"{subject.calibration} samples of {data} for calibration, {subject.judging} others to be judged on."
            lines += [f"## {name}", "", told, "", *_of_subject(own), ""]
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
