"""`pfir tune`: which way of computing each kernel of a model is the fastest on a device, kept for later builds."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pfir.backends import DEFAULT, open_backend
from pfir.backends.base import UNTUNED, Backend, Tunable, TuningRecords
from pfir.commands.fastest_way import Fastest, fastest
from pfir.commands.tuned_lines import counted, line
from pfir.compile.measuring.latency import HOST, run_device
from pfir.compile.prepare import BASELINE, give_biases
from pfir.devices.base import Device
from pfir.devices.host import cpu_name
from pfir.errors import BackendError, UsageError
from pfir.frontends import load
from pfir.ir.checking.verify import check_finite
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.report.progress import Progress
from pfir.target import FLOAT32, Target, floats_of, parse_target, with_arithmetic


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
        precision: What kernels compute in: float32 or float16.

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
    precision: str = FLOAT32.name

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
        records: Where what is found is kept.
        todo: In the order in which they are taken: what costs most first.
        earlier: The names of the others, which the records have.
        where: What they are measured on, as records tell it: no address of a device.
        rows: Of those that were measured, in the same order.
    """

    records: TuningRecords
    todo: list[Tunable]
    earlier: list[str]
    where: str
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
    target = with_arithmetic(parse_target(asked.target), floats_of(asked.precision))
    backend = open_backend(DEFAULT, UNTUNED)
    with run_device(asked.device, backend, target) as device:
        job = _job(asked, backend, target)
        if job.todo and not asked.dry_run:
            device.connect()
            _measure(job, device, asked.time_budget_s or math.inf, progress)
    return {
        "core": job.records.core,
        "file": str(job.records.path),
        "kernels": job.rows,
        "earlier": job.earlier,
        "left": [kernel.name for kernel in job.todo[len(job.rows) :]],
    }


def _job(asked: Tune, backend: Backend, target: Target) -> Job:
    records = backend.tuning_records(target, asked.out)
    kernels = sorted(_kernels(asked, target), key=lambda kernel: -kernel.calls * kernel.macs)
    earlier = [kernel.name for kernel in kernels if not asked.again and records.holds(kernel)]
    where = cpu_name() if asked.device == HOST else "a device by RPC"
    return Job(records, [kernel for kernel in kernels if kernel.name not in earlier], earlier, where)


def _measure(job: Job, device: Device, budget_s: float, progress: Progress) -> None:
    """Measure one kernel after the other while there is time, at least one, and keep what was found of each."""
    began, count = time.monotonic(), len(job.todo)
    job.records.begin()
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
        job.records.add(kernel, str(row["fastest"]), float(row["gain"]), job.where)
        job.rows.append(row)
        progress.note(f"{i + 1}/{count} {line(row)}")


def _kept(job: Job) -> str:
    """What an error says of the kernels before it."""
    done, count = len(job.rows), len(job.todo)
    return f"; {done} of {count} kernels are kept in {job.records.path}, the same command goes on there" if done else ""


def _kernels(asked: Tune, target: Target) -> list[Tunable]:
    """Each distinct kernel of all models once."""
    backend, found = open_backend(DEFAULT, UNTUNED), {}
    for path in asked.paths:
        model = load(path)
        check_finite(model)
        baseline, _ = run(BASELINE, model, Context())
        give_biases(baseline)
        fixed = fix_sizes(baseline, asked.batch, dict(asked.input_shapes))
        for kernel in backend.tunables(fixed, target):
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
