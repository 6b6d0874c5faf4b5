"""Libraries with constants as kernels read them, beside the same in compact form: bytes, and what loading takes.

    python benchmarks/sizes/libraries.py [--only WORDS].. [--target arm]

Each row is a network, as it is, in eight bits, with codebooks of 4 bits, or with 80 % of its weights zero: bytes of the
library for the target both ways, instructions of the expansion and its time by estimate; then how long both libraries
for this machine take to load here, medians of several loads. Eight bits are calibrated on generated inputs, since sizes
do not depend on data. The rows are written into benchmarks/results/sizes_libraries.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfir.artifact import Artifact  # noqa: E402
from pfir.backends.tvm.backend import LIBRARY  # noqa: E402
from pfir.backends.tvm.library.build import build_compact  # noqa: E402
from pfir.backends.tvm.library.compact.choice import PLAIN, SMALLEST, Price  # noqa: E402
from pfir.backends.tvm.lowering.lower import written  # noqa: E402
from pfir.compile.calibration.generated_inputs import GeneratedInputs  # noqa: E402
from pfir.devices.host import HostDevice  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.passes.spec import parse  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402
from tests.support.models import shared_folder  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results" / "sizes_libraries.md"
MODELS = {
    "ResNet-20": "resnet20_cifar10_fp32.onnx",
    "ResNet-56": "resnet56_cifar10_fp32.onnx",
    "keyword spotting": "mltk_keyword_spotting_fp32.onnx",
    "EfficientNet-Lite0": "efficientnet_lite0_in1k_fp32_static.onnx",
}
KINDS = {
    "float32": "fold-batch-norm",
    "eight bits": "quantize-uniform{pairs=kernels}",
    "codebooks of 4 bits": "quantize-codebook{bits=4 weighting=none}",
    "80 % zeros": "fold-batch-norm,sparsify-weights{sparsity=0.8 criterion=magnitude}",
}
LOADS = 4
HEAD = """\
# Libraries in compact form

By `python benchmarks/sizes/libraries.py`, for `{target}`. Library and constants in kB, as kernels read them and in the
smallest form; instructions of the expansion in millions and its time by estimate for the target; then how long the
library for this machine takes to load, both ways.

| network | kind | library | compact | constants | compact | instructions | estimate | load here | compact |
|---|---|---|---|---|---|---|---|---|---|
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--target", default="arm")
    asked = parser.parse_args()
    rows = [(name, kind) for name in MODELS for kind in KINDS]
    chosen = [row for row in rows if all(word in " ".join(row) for word in asked.only)]
    lines = ""
    with HostDevice() as device:
        for name, kind in chosen:
            lines += _line(name, kind, parse_target(asked.target), device) + "\n"
            if not asked.only:
                RESULTS.write_text(HEAD.format(target=asked.target) + lines)


def _line(name: str, kind: str, target: Target, device: HostDevice) -> str:
    model = _compressed(load(shared_folder() / "models" / MODELS[name]), KINDS[kind])
    plain, compact = (_built(model, target, price) for price in (PLAIN, SMALLEST))
    loads = [_load_s(_built(model, parse_target("host"), price), device) for price in (PLAIN, SMALLEST)]
    sizes = [len(each.files[LIBRARY]) for each in (plain, compact)]
    sizes += [compact.constants.read_bytes, compact.constants.linked_bytes]
    cells = [name, kind, *(f"{size / 1e3:.0f}" for size in sizes)]
    cells += [f"{compact.constants.load_instructions / 1e6:.2f}", f"{compact.constants.load_s * 1e3:.2f} ms"]
    line = "| " + " | ".join([*cells, *(f"{seconds * 1e3:.2f} ms" for seconds in loads)]) + " |"
    print(line, flush=True)
    return line


def _compressed(model: Model, passes: str) -> Model:
    sized = fix_sizes(model, 1)
    context = Context(generated=GeneratedInputs(sized, {}, 0).activations)
    return run(parse(passes), sized, context)[0]


def _built(model: Model, target: Target, byte_s: float) -> Artifact:
    program = written(model, target)
    library, constants = build_compact(program.builder.get(), program.transformed, Price(target, byte_s))
    ends = model.inputs(), model.outputs()
    return Artifact("tvm", target, {LIBRARY: library}, LIBRARY, *ends, constants=constants)


def _load_s(artifact: Artifact, device: HostDevice) -> float:
    return float(np.median([device.load_seconds(artifact) for _ in range(LOADS)]))


if __name__ == "__main__":
    main()
