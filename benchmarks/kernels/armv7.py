"""Kernels of a network compiled for 32-bit ARM, executed by QEMU and compared with the same kernels on this machine.

    python benchmarks/kernels/armv7.py --qemu qemu-arm-static MODEL.onnx...

TVM has no runtime for armv7, so a small C program calls each kernel through its C interface (armv7.c). It also says
what the object code is made of: vector multiply-adds, and calls into a library of floating-point routines (none).
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.kernels.instructions import RESULTS, _modules  # noqa: E402
from pfir.backends.tvm.library.build import pipeline, tvm_target  # noqa: E402
from pfir.backends.tvm.library.stack import tir_pipeline  # noqa: E402
from pfir.backends.tvm.lowering.lower import written  # noqa: E402
from pfir.backends.tvm.lowering.values import Program, result_memory  # noqa: E402
from pfir.compile.prepare import BASELINE  # noqa: E402
from pfir.frontends import load  # noqa: E402
from pfir.ir.model import Model  # noqa: E402
from pfir.ir.shapes import fix_sizes  # noqa: E402
from pfir.passes.base import Context  # noqa: E402
from pfir.passes.pipeline import run  # noqa: E402
from pfir.target import Target, parse_target  # noqa: E402

MOST_ERROR = 1e-5
ZIG_TARGET = "arm-linux-musleabihf"  # hard float, as the kernels; musl, since it links statically
FLOAT_ROUTINE = re.compile(r"\bbl\s+(__aeabi_[fd]\w+|__\w+[sd]f[23]\b|fmaf?\b)")
VECTOR_MULTIPLY = re.compile(r"^\s+v(?:mla|fma|mul)\.f32\s+q", re.M)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--qemu", default="qemu-arm-static")
    options = parser.parse_args()
    rows = []
    for path in options.models:
        model = run(BASELINE, fix_sizes(load(path)), Context())[0]
        rows += [{"network": path.stem, **row} for row in compared(model, options.qemu)]
    (RESULTS / "kernels_armv7.md").write_text("\n".join(page(rows)) + "\n", encoding="utf-8")
    wrong = [f"{row['network']} {row['kernel']}" for row in rows if row["error"] > MOST_ERROR]
    if wrong:
        raise SystemExit(f"wrong results: {', '.join(wrong)}")


def compared(model: Model, qemu: str) -> list[dict[str, Any]]:
    """Each kernel: how far the emulated ARM's result is from this machine's, and what its code is made of."""
    program = written(model, parse_target("armv7"))
    kernels = [(f"{spec.family}_{i}", spec) for i, (spec, _) in enumerate(program.kernels)]
    ours, host = _code(program, program.target), _code(program, parse_target("host"))
    random = np.random.default_rng(0)
    feeds = [[random.standard_normal(form.memory).astype(np.float32) for form in spec.operands] for _, spec in kernels]
    shapes = [result_memory(spec) for _, spec in kernels]
    with tempfile.TemporaryDirectory(prefix="pfir-") as folder:
        ours.write_to_file(f"{folder}/kernels.o", "o")
        names = [name for name, _ in kernels]
        found = list(_emulated(Path(folder), names, feeds, shapes, qemu))
    code = functions(ours.inspect_source("asm"))
    return [
        {
            "kernel": name,
            "out": list(spec.out.shape),
            "error": _error(theirs, _native(host, name, feed, shape)),
            "multiplies": len(VECTOR_MULTIPLY.findall(code.get(name, ""))),
            "calls": sorted(set(FLOAT_ROUTINE.findall(code.get(name, "")))),
        }
        for (name, spec), feed, shape, theirs in zip(kernels, feeds, shapes, found, strict=True)
    ]


def _code(program: Program, target: Target) -> Any:
    """The kernels as one module of machine code."""
    from tvm import relax

    module, where = program.builder.get(), tvm_target(target)
    executable = relax.build(module, where, relax_pipeline=pipeline(), tir_pipeline=tir_pipeline())
    return next(part for part in _modules(executable.mod) if part.kind == "llvm")


def _emulated(folder: Path, names: list[str], feeds: list, shapes: list, qemu: str) -> Iterator[np.ndarray]:
    (folder / "cases.h").write_text("\n".join(_cases(names, feeds, shapes)) + "\n", encoding="utf-8")
    source = Path(__file__).with_name("armv7.c")
    program = str(folder / "program")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            "-target",
            ZIG_TARGET,
            "-mcpu=cortex_a7",
            "-static",
            "-O1",
            f"-I{folder}",
            "-o",
            program,
            str(source),
            str(folder / "kernels.o"),
        ],
        check=True,
    )
    stream = b"".join(array.tobytes() for feed in feeds for array in feed)
    done = subprocess.run([qemu, "-cpu", "cortex-a7", program], input=stream, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"the emulated program left with {done.returncode}: {done.stderr.decode()[-500:]}")
    values, start = np.frombuffer(done.stdout, np.float32), 0
    for shape in shapes:
        size = int(np.prod(shape))
        yield values[start : start + size].reshape(shape)
        start += size


def _cases(names: list[str], feeds: list, shapes: list) -> Iterator[str]:
    """The table that armv7.c walks."""
    yield from (f"DECLARE __tvm_ffi_{name};" for name in names)
    yield "static Case cases[] = {"
    for name, feed, shape in zip(names, feeds, shapes, strict=True):
        sizes = [*(array.shape for array in feed), shape]
        ranks = ", ".join(str(len(size)) for size in sizes)
        extents = ", ".join("{" + ", ".join(map(str, size)) + "}" for size in sizes)
        yield f"  {{__tvm_ffi_{name}, {len(sizes)}, {{{ranks}}}, {{{extents}}}}},"
    yield "};"


def _native(host: Any, name: str, feed: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    import tvm

    out = tvm.runtime.tensor(np.zeros(shape, np.float32))
    host[name](*(tvm.runtime.tensor(array) for array in feed), out)
    return out.numpy()


def _error(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.abs(ours - theirs).max() / max(1e-6, np.abs(theirs).max()))


def functions(assembly: str) -> dict[str, str]:
    """The code of each kernel's body, by the kernel's name."""
    parts = re.split(r"^(\w+)_compute_:", assembly, flags=re.M)
    return {name: body.partition(".Lfunc_end")[0] for name, body in zip(parts[1::2], parts[2::2], strict=True)}


def page(rows: list[dict[str, Any]]) -> Iterator[str]:
    """The figures as Markdown."""
    yield "# Kernels on 32-bit ARM\n"
    yield "`python benchmarks/kernels/armv7.py MODEL.onnx...`, target armv7, executed by QEMU as a Cortex-A7."
    yield "Random operands; the error is against the same kernel compiled for this machine, as a share of the largest"
    yield "value. NEON multiply-adds and calls of floating-point routines are those in the kernel's object code.\n"
    yield "| network | kernel | out | error | NEON multiply-adds | calls of float routines |\n|---|---|---|---|---|---|"
    for r in rows:
        yield (
            f"| {r['network']} | {r['kernel']} | {r['out']} | {r['error']:.1e} | {r['multiplies']} "
            f"| {', '.join(r['calls']) or 'none'} |"
        )


if __name__ == "__main__":
    main()
