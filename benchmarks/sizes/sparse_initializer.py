"""Whether runtimes read ONNX's sparse initializers, and what files take with them.

    PFIR_SHARED=.. python -m benchmarks.sizes.sparse_initializer [--python OTHER_PYTHON].. [MODEL]..

For each model at 75 and 90 % zeros by magnitude: bytes of model.onnx as it is and by `store-sparse`, of both packed,
and for the ONNX Runtime of each interpreter whether it gives the same answers to the bit.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pfir.frontends import load
from pfir.packing.packing import pack_model
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.passes.sparsity.sparsify_weights import SparsifyWeights
from pfir.passes.sparsity.store_sparse import StoreSparse

MODELS = ("resnet20_cifar10_fp32.onnx", "resnet56_cifar10_fp32.onnx", "mltk_keyword_spotting_fp32.onnx")
SPARSITIES = (0.75, 0.9)
CHECK = """
import sys, numpy as np, onnxruntime as ort
options = {"providers": ["CPUExecutionProvider"]}
dense, sparse = (ort.InferenceSession(path, **options) for path in sys.argv[1:])
rng = np.random.default_rng(0)
sizes = [n if isinstance(n, int) else 1 for n in dense.get_inputs()[0].shape]
feeds = {dense.get_inputs()[0].name: rng.standard_normal(sizes).astype(np.float32)}
same = all(np.array_equal(a, b) for a, b in zip(dense.run(None, feeds), sparse.run(None, feeds)))
print(ort.__version__, "same" if same else "different")
"""


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], help="another interpreter with onnxruntime")
    parser.add_argument("models", nargs="*", type=Path)
    given = parser.parse_args()
    models = given.models or [Path(os.environ["PFIR_SHARED"]) / "models" / name for name in MODELS]
    print("| model | zeros | onnx | store-sparse | packed | packed, store-sparse | ONNX Runtime |")
    print("|---|---|---|---|---|---|---|")
    for path in models:
        for sparsity in SPARSITIES:
            print(_row(path, sparsity, [sys.executable, *given.python]))


def _row(path: Path, sparsity: float, pythons: list[str]) -> str:
    dense, _ = run((SparsifyWeights(sparsity),), load(path), Context())
    sparse, _ = run((StoreSparse(),), dense, Context())
    contents = [model.to_bytes() for model in (dense, sparse)]
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("dense.onnx", "sparse.onnx")]
        for file, content in zip(files, contents, strict=True):
            file.write_bytes(content)
        said = [_said([python, "-c", CHECK, *map(str, files)]) for python in pythons]
    sizes = [len(content) for content in contents] + [len(pack_model(content)) for content in contents]
    cells = [path.stem, f"{sparsity:.0%}", *(f"{size:,}" for size in sizes), ", ".join(said)]
    return f"| {' | '.join(cells)} |"


def _said(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() or done.stderr.strip().splitlines()[-1]


if __name__ == "__main__":
    main()
