"""How long the TVM backend takes to compile a model, with an empty cache and with a filled one.

    python benchmarks/kernels/compile_time.py MODEL.onnx [--target arm]

Each build is a process of its own; the cache is an empty folder at first.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--target", default="arm")
    parser.add_argument("--once", action="store_true", help="build in this process and print the seconds")
    arguments = parser.parse_args()
    if arguments.once:
        print(f"{_build(arguments.model, arguments.target):.1f}")
        return
    command = [sys.executable, __file__, str(arguments.model), "--target", arguments.target, "--once"]
    with tempfile.TemporaryDirectory() as cache:
        around = os.environ | {"XDG_CACHE_HOME": cache}
        cold, warm = (subprocess.run(command, env=around, check=True, capture_output=True, text=True) for _ in range(2))
    print(f"{arguments.model.name}, {arguments.target}: {cold.stdout.strip()} s cold, {warm.stdout.strip()} s warm")


def _build(path: Path, target: str) -> float:
    from pfir.backends.tvm import TvmBackend
    from pfir.compile.prepare import BASELINE, give_biases
    from pfir.frontends import load
    from pfir.ir.shapes import fix_sizes
    from pfir.passes.base import Context
    from pfir.passes.pipeline import run
    from pfir.target import parse_target

    model, _ = run(BASELINE, load(path), Context())
    give_biases(model)
    begun = time.monotonic()
    TvmBackend().build(fix_sizes(model), parse_target(target))
    return time.monotonic() - begun


if __name__ == "__main__":
    main()
