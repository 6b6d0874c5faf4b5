"""`pfir tune`: which way of computing each kernel of a model is the fastest on a device, kept for later builds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from pfir.backends.base import Tunable
from pfir.backends.tvm.tuning.database import NONE, Entry, add, core_name, digest, read, user_file
from pfir.commands.fastest_way import Fastest, fastest
from pfir.commands.tuned_lines import counted, line
from pfir.compile.measuring.latency import HOST, run_device
from pfir.compile.prepare import BASELINE, give_biases, open_backend
from pfir.devices.base import Device
from pfir.devices.host import cpu_name
from pfir.errors import BackendError, UsageError
from pfir.frontends import load
from pfir.ir.checking.verify import check_finite
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.report.progress import Progress
from pfir.target import FLOAT16, FLOAT32, Target, parse_target, with_arithmetic


@dataclass(frozen=True)
class Tune:
    """What to measure, and how; the fields are the command's options.

    Args:
        paths: ONNX models.
        target: What kernels are built for.
        device: `host` or `rpc://HOST:PORT`.
        out: The database to add to; None is the user's own.
        batch, input_shapes: Sizes of what is built; without them the model's own, batch 1 where that is dynamic.
        time_budget_s: No second kernel is begun later than this; None is no limit.
        again: Measure kernels that the database has already.
        dry_run: Measure nothing.
        fp16: Whether what is built computes in float16.

    Raises:
        UsageError: They contradict each other, or one is not known.
    """

    paths: tuple[Path, ...]
    target: str
    device: str = HOST
    out: Path | None = None
    batch: int | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    time_budget_s: float | None = None
    again: bool = False
    dry_run: bool = False
    fp16: bool = False

    def __post_init__(self) -> None:
        if not self.paths:
            raise UsageError("nothing to tune for; name an ONNX file")
        if self.device != HOST and not self.device.startswith("rpc://"):
            raise UsageError(f"--device {self.device} yields no latency; it is host or rpc://HOST:PORT")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"--batch is {self.batch}; it must be at least 1")
        if self.time_budget_s is not None and self.time_budget_s <= 0:
            raise UsageError("--time-budget must be above 0")


@dataclass
class Job:
    """The kernels that are to be measured, those that need not be, and what is found.

    Args:
        todo: In the order in which they are taken: what costs most first.
        earlier: What the database has of the others.
        rows: Of those that were measured, in the same order.
    """

    target: Target
    path: Path
    todo: list[Tunable]
    earlier: dict[str, Entry]
    rows: list[dict[str, object]] = field(default_factory=list)


def tune(asked: Tune, progress: Progress) -> dict[str, object]:
    """`{"core": .., "file": .., "kernels": [..], "earlier": [..], "left": [..]}`: of each kernel that was measured the
    modelled way, the fastest, and by how much that is faster; the names of those that the file knows from before, and
    of those that were not measured.

    After each kernel the file holds what was found, so that the same call goes on where one was ended.

    Raises:
        FrontendError: A model cannot be used.
        UsageError: The device does not run the target's libraries, the core has no fp16 arithmetic, or the file is no
            database.
        CompileError: A kernel cannot be built.
        DeviceError: The device does not answer.
        VerifyError: A kernel's ways disagree.
    """
    target = with_arithmetic(parse_target(asked.target), FLOAT16 if asked.fp16 else FLOAT32)
    with run_device(asked.device, open_backend("tvm", NONE), target) as device:
        job = _job(asked, target)
        if job.todo and not asked.dry_run:
            device.connect()
            _measure(job, device, asked.time_budget_s or math.inf, progress)
    return {
        "core": core_name(target),
        "file": str(job.path),
        "kernels": job.rows,
        "earlier": list(job.earlier),
        "left": [kernel.name for kernel in job.todo[len(job.rows) :]],
    }


def _job(asked: Tune, target: Target) -> Job:
    path = asked.out or user_file()
    entries = read(path).get(core_name(target), {}) if path.exists() else {}
    kernels = sorted(_kernels(asked, target), key=lambda kernel: -kernel.calls * kernel.macs)
    earlier = {k.name: entries[k.name] for k in kernels if not asked.again and _holds(entries.get(k.name), k)}
    return Job(target, path, [k for k in kernels if k.name not in earlier], earlier)


def _holds(entry: Entry | None, kernel: Tunable) -> bool:
    """Whether the entry was chosen among just these ways, by this compiler."""
    return entry is not None and entry.among == digest(kernel.candidates) and entry.tvm == version("apache-tvm")


def _measure(job: Job, device: Device, budget_s: float, progress: Progress) -> None:
    """Measure one kernel after the other while there is time, at least one, and keep what was found of each."""
    began, count = time.monotonic(), len(job.todo)
    add(job.path, job.target, {})  # what cannot be written is found out before anything is measured
    progress.stage(f"tune {counted(count, 'kernel')}")
    for i, kernel in enumerate(job.todo):
        if i and time.monotonic() - began >= budget_s:
            return
        progress.step(i / count, f"{kernel.name}, {counted(len(kernel.candidates), 'way')}")
        try:
            row = _row(kernel, fastest([kernel.build(schedule) for schedule in kernel.candidates], device))
            device.forget()
        except BackendError as error:
            raise type(error)(f"{error}{_kept(job)}") from error
        add(job.path, job.target, {kernel.name: _entry(row, kernel, _where(device))})
        job.rows.append(row)
        progress.note(f"{i + 1}/{count} {line(row)}")


def _kept(job: Job) -> str:
    """What an error says of the kernels before it."""
    done, count = len(job.rows), len(job.todo)
    return f"; {done} of {count} kernels are kept in {job.path}, the same command goes on there" if done else ""


def _kernels(asked: Tune, target: Target) -> list[Tunable]:
    """Each distinct kernel of all models once."""
    found: dict[str, Tunable] = {}
    for path in asked.paths:
        model = load(path)
        check_finite(model)
        baseline, _ = run(BASELINE, model, Context())
        give_biases(baseline)
        fixed = fix_sizes(baseline, asked.batch, dict(asked.input_shapes))
        for kernel in open_backend("tvm", NONE).tunables(fixed, target):
            found.setdefault(kernel.name, kernel)
    return list(found.values())


def _row(kernel: Tunable, found: Fastest) -> dict[str, object]:
    return {
        "kernel": kernel.name,
        "calls": kernel.calls,
        "ways": len(kernel.candidates),
        "modelled": kernel.candidates[0],
        "fastest": kernel.candidates[found.index],
        "modelled_s": found.seconds[0],
        "fastest_s": found.seconds[1],
        "gain": found.gain,
        "rival_gain": found.rival_gain,
    }


def _entry(row: Mapping[str, object], kernel: Tunable, device: str) -> Entry:
    gain = round(float(row["gain"]), 3)
    return Entry(str(row["fastest"]), gain, device, version("apache-tvm"), digest(kernel.candidates))


def _where(device: Device) -> str:
    """What an entry says that it was measured on: no address of a device."""
    return cpu_name() if device.name.startswith("host") else "a device by RPC"
