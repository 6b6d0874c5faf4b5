"""`pfir tune`: which way of computing each kernel of a model is the fastest on a device, kept for later builds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from pfir.backends.base import Tunable
from pfir.backends.tvm.database import Entry, add, core_name, read, user_file
from pfir.compile.building import HOST, run_device
from pfir.compile.fastest import Fastest, fastest
from pfir.compile.prepare import BASELINE, give_biases, open_backend
from pfir.devices.base import Device
from pfir.devices.host import cpu_name
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.shapes import fix_sizes
from pfir.ir.verify import check_finite
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.report.progress import Progress
from pfir.target import Target, parse_target


@dataclass(frozen=True)
class Tune:
    """What to measure, and how; the fields are the command's options.

    Args:
        paths: ONNX models.
        target: What kernels are built for.
        device: `host` or `rpc://HOST:PORT`.
        out: The database to add to; None is the user's own.
        batch, input_shapes: Sizes of what is built.

    Raises:
        UsageError: They contradict each other, or one is not known.
    """

    paths: tuple[Path, ...]
    target: str
    device: str = HOST
    out: Path | None = None
    batch: int = 1
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.paths:
            raise UsageError("nothing to tune for; name an ONNX file")
        if self.device != HOST and not self.device.startswith("rpc://"):
            raise UsageError(f"--device {self.device} yields no latency; it is host or rpc://HOST:PORT")
        if self.batch < 1:
            raise UsageError(f"--batch is {self.batch}; it must be at least 1")


def tune(asked: Tune, progress: Progress) -> dict[str, object]:
    """`{"core": .., "file": .., "kernels": [..]}`: each distinct kernel with the modelled way, the fastest, and by how
    much; those that gained are in the file afterwards, after each kernel, and entries that no longer hold are not.

    Raises:
        FrontendError: A model cannot be used.
        UsageError: The device does not run the target's libraries, or the file is no database.
        CompileError: A kernel cannot be built.
        DeviceError: The device does not answer.
        VerifyError: A kernel's ways disagree.
    """
    target, path = parse_target(asked.target), asked.out or user_file()
    if path.exists():
        read(path)
    kernels = _kernels(asked, target)
    rows = []
    progress.stage(f"tune {len(kernels)} kernels")
    with run_device(asked.device, open_backend("tvm"), target) as device:
        for i, kernel in enumerate(kernels):
            progress.step(i / len(kernels), kernel.name)
            rows.append(_row(kernel, fastest([kernel.build(way) for way in kernel.ways], device)))
            add(path, target, _entries(rows[-1], _where(device)), (kernel.name,))
    return {"core": core_name(target), "file": str(path), "kernels": rows}


def lines(found: Mapping[str, object]) -> list[str]:
    """The figures for a reader: a line for each kernel that gained, and one for all."""
    rows = found["kernels"]
    gained = [row for row in rows if row["gain"] > 1]
    said = [f"{row['kernel']}: {1e6 * row['modelled_s']:.1f} -> {1e6 * row['fastest_s']:.1f} us, {row['fastest']}"
            for row in gained]  # fmt: skip
    before, after = (sum(row["calls"] * row[name] for row in rows) for name in ("modelled_s", "fastest_s"))
    about = f"{len(gained)} of {len(rows)} kernels are faster than the model of the core has them"
    total = f"{1e3 * before:.3f} -> {1e3 * after:.3f} ms for all of them, calls counted"
    return [*said, f"{about}; {total}; kept in {found['file']}"]


def _kernels(asked: Tune, target: Target) -> list[Tunable]:
    """Each distinct kernel of all models once."""
    found: dict[str, Tunable] = {}
    for path in asked.paths:
        model = load(path)
        check_finite(model)
        baseline, _ = run(BASELINE, model, Context())
        give_biases(baseline)
        fixed = fix_sizes(baseline, asked.batch, dict(asked.input_shapes))
        for kernel in open_backend("tvm").tunables(fixed, target):
            found.setdefault(kernel.name, kernel)
    return list(found.values())


def _row(kernel: Tunable, found: Fastest) -> dict[str, object]:
    return {
        "kernel": kernel.name,
        "calls": kernel.calls,
        "ways": len(kernel.ways),
        "modelled": kernel.ways[0],
        "fastest": kernel.ways[found.index],
        "modelled_s": found.seconds[0],
        "fastest_s": found.seconds[1],
        "gain": found.gain,
        "rival_gain": found.rival_gain,
    }


def _entries(row: Mapping[str, object], device: str) -> dict[str, Entry]:
    if row["gain"] <= 1:
        return {}
    return {str(row["kernel"]): Entry(str(row["fastest"]), round(float(row["gain"]), 3), device, version("apache-tvm"))}


def _where(device: Device) -> str:
    """What an entry says that it was measured on: no address of a device."""
    return cpu_name() if device.name.startswith("host") else "a device by RPC"
