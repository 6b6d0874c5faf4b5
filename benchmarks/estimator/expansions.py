"""What expanding constants executes when a library is loaded: counted under the emulator, beside what pfir says of it.

    python benchmarks/estimator/expansions.py

A line for every form of a constant: instructions of one of its values (of one kernel where Winograd's transforms are),
as they are told and as they are counted, by class. The figures of `library/compact/forms.py` are from here.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pfir.backends.tvm.kernels.integers.winograd.packing import whole_points  # noqa: E402
from pfir.backends.tvm.kernels.winograd.packing import pointed  # noqa: E402
from pfir.backends.tvm.library.compact.choice import coded  # noqa: E402
from pfir.backends.tvm.library.compact.forms import Dense, Kernels, LinkedForm, Sparse  # noqa: E402
from pfir.backends.tvm.library.compact.source import source_of  # noqa: E402
from pfir.backends.tvm.library.link import C_OPTIONS  # noqa: E402
from pfir.devices.emulation.cached import default_cache  # noqa: E402
from pfir.devices.emulation.counting import counting_emulator  # noqa: E402
from pfir.instructions import CLASSES  # noqa: E402
from pfir.system.children import run_module  # noqa: E402
from pfir.system.scratch import scratch_folder  # noqa: E402

COUNT = 1 << 16


def _sparse(kept: float, dtype: type) -> LinkedForm:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(COUNT) < kept, rng.integers(1, 256, COUNT), 0).astype(dtype)
    bitmap = np.packbits(values != 0, bitorder="little")
    return Sparse(bitmap, Dense(values[values != 0]), values.itemsize, COUNT, int(np.count_nonzero(values)))


def _few(bits: int, dtype: type) -> LinkedForm:
    return next(coded(np.random.default_rng(0).integers(0, 1 << bits, COUNT).astype(dtype)))


def _kernels(outputs: int, dtype: str) -> LinkedForm:
    kernels = (
        np.random.default_rng(0).integers(-99, 99, (4, 9, 32, 16)).astype(np.int8 if dtype == "int16" else "float32")
    )
    points = whole_points(kernels, outputs) if dtype == "int16" else pointed(kernels, outputs).astype(dtype)
    shape = len(kernels), int(np.prod(kernels.shape[2:]))
    return Kernels(Dense(kernels), outputs, points.dtype.name, *shape)


FORMS = {
    "dense": Dense(np.zeros(COUNT, np.uint8)),
    **{f"{bits} bits of {t.__name__}": _few(bits, t) for bits, t in ((3, np.uint8), (4, np.uint16), (4, np.uint32))},
    **{f"{kept:.0%} of {t.__name__}": _sparse(kept, t) for kept in (0.1, 0.5) for t in (np.uint8, np.uint32)},
    **{f"{m} x {m} {dtype}": _kernels(m, dtype) for m in (2, 4) for dtype in ("float32", "float16", "int16")},
}


def main() -> None:
    emulator = counting_emulator(default_cache(), print)
    with emulator.counter() as (command, count), scratch_folder() as folder:
        nothing = _counted(Dense(np.zeros(1, np.uint8)), command, count, folder)
        for name, form in FORMS.items():
            found = _counted(form, command, count, folder) - nothing
            units = form.blocks * form.size if isinstance(form, Kernels) else COUNT
            told = f"{form.instructions.total / units:.2f} told, {found[0] / units:.2f} counted"
            by_class = zip(CLASSES, form.instructions.values, found[1:], strict=True)
            print(name, told, *(f"{c} {a / units:.2f}/{b / units:.2f}" for c, a, b in by_class if a or b), sep="; ")


def _counted(form: LinkedForm, command, count, folder: Path) -> np.ndarray:
    """Instructions of a program for aarch64 that expands a constant and ends: all, then by class."""
    source = source_of([form]).written(folder)
    source.write_text(source.read_text() + "\nint main(void) { return 0; }\n")
    compiler = run_module("ziglang", "cc", "-target", "aarch64-linux-musl", "-static", *C_OPTIONS)
    subprocess.run([*compiler, "-o", str(folder / "program"), str(source)], check=True)
    before = count()
    subprocess.run([*command, "-cpu", "cortex-a72", str(folder / "program")], check=True)
    return count() - before


if __name__ == "__main__":
    main()
