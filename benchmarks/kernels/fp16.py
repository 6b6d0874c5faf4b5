"""What float16 arithmetic saves and costs: instructions, error and answers of networks beside float32, emulated.

    python benchmarks/kernels/fp16.py ROW... [--samples 200] [--data cifar10]

ROW is resnet20, resnet56 or efficientnet, with the data of benchmarks/main_job.py. Instructions are counted under the
emulator's plugin, so the same on any machine. Errors and answers are those of the emulated library against ONNX
Runtime in float32, sample by sample; rows of other networks that stand in the results stay there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.pages import write  # noqa: E402
from benchmarks.main_job import ROWS, Row  # noqa: E402
from pfir.artifact import Artifact  # noqa: E402
from pfir.backends.tvm import TvmBackend  # noqa: E402
from pfir.compile.measuring.verification import HALF_TOLERANCE  # noqa: E402
from pfir.compile.prepare import BASELINE  # noqa: E402
from pfir.data import open_data, parse_preprocess  # noqa: E402
from pfir.data.base import Dataset  # noqa: E402
from pfir.devices.emulation.emulated import EmulatedDevice  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.run.session import Session  # noqa: E402
from pfir.target import FLOAT16, FLOAT32, parse_target, with_arithmetic  # noqa: E402

PLACE = ROOT / "benchmarks" / "results" / "kernels_fp16"
TARGETS = ("arm:cortex-a76", "arm:neoverse-n1")
CLASSIFIERS = tuple(name for name, row in ROWS.items() if row.data)


def main() -> None:
    shared = Path(os.environ.get("PFIR_SHARED", ROOT.parent / "shared"))
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="+", choices=CLASSIFIERS)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--shared", type=Path, default=shared, help="holds models/ and data/")
    parser.add_argument("--data", type=Path, default=Path("cifar10"), help="test.npz")
    options = parser.parse_args()
    found = {"tvm": version("apache-tvm"), "rows": _others(options.rows)}
    for name in options.rows:
        for target in TARGETS:
            found["rows"].append(row(ROWS[name], target, options.samples, options))
            write(found, page(found), PLACE)


def _others(names: list[str]) -> list[dict[str, object]]:
    """The rows of other networks that an earlier run left."""
    path, networks = PLACE.with_suffix(".json"), {Path(ROWS[name].model).stem for name in names}
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else []
    return [row for row in rows if row["network"] not in networks]


def row(job: Row, target: str, count: int, options: argparse.Namespace) -> dict[str, object]:
    """Both arithmetics on one core; answers are compared on the first core only, as the code for all rounds alike."""
    model = run(BASELINE, fix_sizes(load(options.shared / "models" / job.model)), Context())[0]
    data = _data(job, model, options)
    found: dict[str, object] = {"network": Path(job.model).stem, "target": target}
    for arithmetic in (FLOAT32, FLOAT16):
        artifact = TvmBackend().build(model, with_arithmetic(parse_target(target), arithmetic))
        with EmulatedDevice() as device:
            instructions = device.instructions(artifact, data.batch(np.array([0])))
            found[arithmetic.name] = {
                "instructions": instructions,
                "library_bytes": len(artifact.files[artifact.library]),
            }
            if target == TARGETS[0]:
                found[arithmetic.name] |= answers(artifact, device, model, data, count)
        print(found["network"], target, arithmetic, found[arithmetic.name], flush=True)
    return found


def answers(artifact: Artifact, device: EmulatedDevice, model: Model, data: Dataset, count: int) -> dict[str, object]:
    """Against ONNX Runtime, over samples spread evenly: the largest error as a share of the largest value of an output,
    its median, and how often the best class is the same."""
    session, errors, same, right, right_before = Session(model), [], 0, 0, 0
    (output,) = (spec.name for spec in artifact.outputs)
    places = np.linspace(0, len(data) - 1, count).astype(int)
    labels = data.labels[places]
    for place, label in zip(places, labels, strict=True):
        feeds = data.batch(np.array([place]))
        ours, theirs = device.run(artifact, feeds)[output], session.predict(feeds)[output]
        errors.append(float(np.abs(ours - theirs).max() / np.abs(theirs).max()))
        same += int(ours.argmax() == theirs.argmax())
        right += int(ours.argmax() == label)
        right_before += int(theirs.argmax() == label)
    return {
        "samples": count,
        "max_error": max(errors),
        "median_error": float(np.median(errors)),
        "same": same,
        "right": right,
        "right_before": right_before,
    }


def _data(job: Row, model: Model, options: argparse.Namespace) -> Dataset:
    path = options.data / "test.npz" if job.data == "cifar10" else options.shared / "data" / job.data
    return open_data(str(path), model.inputs(), parse_preprocess(job.preprocess))


def page(found: dict[str, object]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# float16 arithmetic\n"
    yield f"`python benchmarks/kernels/fp16.py ROW...`, TVM {found['tvm']}. One thread, emulated; float32 and float16"
    yield "of the same kernels for the same core, tiles of 4x4 in Winograd's convolutions for float32 only.\n"
    yield "| network | core | instructions float32, M | float16, M | ratio | library float32, MB | float16, MB |"
    yield "|---|---|---|---|---|---|---|"
    for r in found["rows"]:
        full, half = r[FLOAT32.name], r[FLOAT16.name]
        counts = [side["instructions"] / 1e6 for side in (full, half)]
        sizes = [side["library_bytes"] / 1e6 for side in (full, half)]
        yield (
            f"| {r['network']} | {r['target'].partition(':')[2]} | {counts[0]:.2f} | {counts[1]:.2f} "
            f"| {counts[0] / counts[1]:.2f} | {sizes[0]:.2f} | {sizes[1]:.2f} |"
        )
    yield "\n## Errors and answers\n"
    yield "Errors are the largest of a sample, as a share of the largest value of its output, against ONNX Runtime in"
    yield f"float32; `pfir compile --precision float16` allows {HALF_TOLERANCE:g}. Samples are spread evenly over "
    yield "labelled images.\n"
    yield "| network | arithmetic | samples | largest error | median | same class | right | right in float32 |"
    yield "|---|---|---|---|---|---|---|---|"
    for r in [r for r in found["rows"] if "samples" in r[FLOAT16.name]]:
        for arithmetic in (FLOAT32, FLOAT16):
            side = r[arithmetic.name]
            errors = f"{side['max_error']:.1e} | {side['median_error']:.1e}"
            counts = f"{side['same']} | {side['right']} | {side['right_before']}"
            yield f"| {r['network']} | {arithmetic} | {side['samples']} | {errors} | {counts} |"


if __name__ == "__main__":
    main()
