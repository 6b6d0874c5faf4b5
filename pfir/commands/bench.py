"""`pfir bench`: latencies of models and compiled artifacts, beside those of ONNX Runtime where wanted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from pfir.artifact import Artifact
from pfir.backends import DEFAULT, open_backend
from pfir.backends.base import UNTUNED
from pfir.commands.untuned_nodes import foreign_nodes, sentence
from pfir.compile.measuring.latency import HOST
from pfir.compile.prepare import BASELINE, give_biases
from pfir.devices.base import Device
from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.checking.verify import check_finite
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes
from pfir.measurement import Measurement
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.report import wording
from pfir.run.rival import Timing, time_onnxruntime
from pfir.run.trial import check_safe
from pfir.target import FLOAT16, FLOAT32, Target, arithmetic_named, floats_of, parse_target, with_arithmetic

ROUNDS = 5
ONNXRUNTIME = "onnxruntime"
FOLDED = "both sides run the same model: simplified, folded, its constants no inputs"
MODEL, REPORT, MANIFEST = "model.onnx", "report.json", "manifest.json"


@dataclass(frozen=True)
class Bench:
    """What to measure, and how; the fields are the command's options.

    Args:
        paths: ONNX files, and folders that `pfir compile` wrote.
        device: `host` or `rpc://HOST:PORT`.
        target: What ONNX files are built for.
        threads: Of both sides, >= 1.
        vs: `onnxruntime`, or None for ours alone.
        vs_python: The interpreter whose onnxruntime is meant; None is this one.
        batch, input_shapes: Sizes of what is built, without them the model's own, batch 1 where that is dynamic; a
            library of a folder has its own.
        precision: What the floats of what is built are: float32 or float16.
        tuned: The database of measured kernels to build by instead of the user's own; `none` is no database.

    Raises:
        UsageError: They contradict each other, or one is not known.
    """

    paths: tuple[Path, ...]
    device: str = HOST
    target: str = HOST
    threads: int = 1
    vs: str | None = None
    vs_python: str | None = None
    batch: int | None = None
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    precision: str = FLOAT32.name
    tuned: str | None = None

    @property
    def built_for(self) -> Target:
        """The target of what is built, with the threads and the arithmetic.

        Raises:
            UsageError: There is no such target, or it cannot compute so.
        """
        target = replace(parse_target(self.target), threads=self.threads)
        return with_arithmetic(target, floats_of(self.precision))

    def __post_init__(self) -> None:
        if not self.paths:
            raise UsageError("nothing to measure; name an ONNX file or a folder that pfir compile wrote")
        if self.device != HOST and not self.device.startswith("rpc://"):
            raise UsageError(f"--device {self.device} yields no latency; it is host or rpc://HOST:PORT")
        if self.vs not in (None, ONNXRUNTIME):
            raise UsageError(f"--vs {self.vs} is not known; it is {ONNXRUNTIME}")
        if self.vs and self.device != HOST:
            raise UsageError("--vs onnxruntime runs on this machine, so it goes with --device host only")
        if self.vs_python and not self.vs:
            raise UsageError("--vs-python goes with --vs onnxruntime")
        if self.device == HOST and not _runs_here(parse_target(self.target)):
            raise UsageError(f"--target {self.target} does not run on this machine; name its --device rpc://HOST:PORT")
        for name in ("threads", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"--{name} is {value}; it must be at least 1")


@dataclass(frozen=True)
class Entry:
    """A library to measure, the model that the other side runs, and what a reader must know of both; `tuned` as in
    report.json."""

    path: Path
    artifact: Artifact
    model: Model
    tuned: Mapping[str, object] | None
    notes: tuple[str, ...] = ()


def bench(asked: Bench) -> dict[str, list[dict[str, object]]]:
    """`{"models": [...]}`: each entry's latency in seconds, its spread, repeats and source, and the other side's.

    Everything is built before anything is measured. Both sides run in processes of their own, in turn, `ROUNDS` times.

    Raises:
        FrontendError: A model cannot be used.
        UsageError: A path is neither a model nor a finished folder.
        CompileError: The backend cannot build a model.
        DeviceError: The device or the other side does not answer.
    """
    target = asked.built_for
    entries = [_entry(path, asked) for path in asked.paths]
    with open_backend(DEFAULT, UNTUNED).device(asked.device, target) as device:
        return {"models": [_row(entry, device, asked) for entry in entries]}


def lines(found: Mapping[str, Sequence[Mapping[str, object]]]) -> list[str]:
    """The figures for a reader, a line each, notes below."""
    return [line for row in found["models"] for line in (_line(row), *(f"  {note}" for note in row["notes"]))]


def _entry(path: Path, asked: Bench) -> Entry:
    if path.is_dir():
        return _folder_entry(path, asked)
    model = load(path)
    check_safe(model)
    return _built(path, model, asked)


def _folder_entry(folder: Path, asked: Bench) -> Entry:
    report, model, own = _report(folder), load(folder / MODEL), _own_sizes(folder)
    backend = open_backend(DEFAULT, UNTUNED)
    if asked.batch is None and not asked.input_shapes:
        asked = replace(asked, input_shapes=own)
    named = parse_target(str(report["target"].get("name", "")))
    arithmetic = arithmetic_named(report["target"].get("arithmetic", FLOAT32.name))
    target, library = replace(named, arithmetic=arithmetic), folder / backend.library
    reason = _why_not(target, library, asked)
    if target.cpu != report["target"].get("cpu"):
        reason = f"its library is for a host with another processor, {report['target'].get('cpu')}"
    fixed = _folded(model, asked)
    if any(spec.shape != own.get(spec.name, spec.shape) for spec in fixed.inputs()):
        reason = "its library is for inputs of other sizes"
    if reason:
        note = f"{reason}; its {MODEL} was built for {asked.target} with {asked.threads} thread(s) instead"
        built = _built(folder, model, asked)
        return replace(built, notes=(note, *built.notes))
    artifact = backend.artifact(library.read_bytes(), fixed, target)
    return Entry(folder, artifact, fixed, report.get("tuned"))


def _own_sizes(folder: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs that a folder's library takes; none where its manifest does not tell."""
    try:
        inputs = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["inputs"]
        return {str(name): tuple(int(size) for size in shape) for name, shape in inputs.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _report(folder: Path) -> dict:
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder} is no folder of a finished pfir compile: {REPORT} is missing or no JSON") from error
    if not isinstance(report, dict) or not isinstance(report.get("target"), dict):
        raise UsageError(f"{folder} is no folder of a finished pfir compile: {REPORT} names no target")
    return report


def _why_not(target: Target, library: Path, asked: Bench) -> str | None:
    """Why the library of a folder cannot be what is measured; None if it can."""
    if not library.is_file():
        return f"the folder holds no {library.name}"
    if asked.device == HOST and not _runs_here(target):
        return f"its library is for {target.name}, not for this machine"
    if asked.precision == FLOAT16.name and target.arithmetic != FLOAT16:
        return f"its library computes in {target.computes}"
    if target.threads != asked.threads:
        return f"its library is for {target.threads} thread(s)"
    return None


def _runs_here(target: Target) -> bool:
    return target.triple.partition("-")[0] == parse_target(HOST).triple.partition("-")[0]


def _folded(model: Model, asked: Bench) -> Model:
    """Simplified and folded, as `pfir compile` does first, and of fixed sizes: what both sides run."""
    check_finite(model)
    baseline, _ = run(BASELINE, model, Context())
    give_biases(baseline)
    return fix_sizes(baseline, asked.batch, dict(asked.input_shapes))


def _built(path: Path, model: Model, asked: Bench) -> Entry:
    notes: list[str] = []
    target, sized, backend = asked.built_for, _folded(model, asked), open_backend(DEFAULT, asked.tuned, notes.append)
    return Entry(path, backend.build(sized, target), sized, asdict(backend.tuning(sized, target)), tuple(notes))


def _row(entry: Entry, device: Device, asked: Bench) -> dict[str, object]:
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(device.measure(entry.artifact))
        if asked.vs:
            theirs.append(time_onnxruntime(entry.model, asked.threads, asked.vs_python))
    latency = float(np.median([m.seconds for m in ours]))
    row = {
        "model": str(entry.path),
        "latency_s": latency,
        "spread": _spread(ours, latency),
        "repeats": sum(m.repeats for m in ours),
        "threads": asked.threads,
        "arithmetic": entry.artifact.target.computes,
        "source": ours[0].source,
        "device": ours[0].detail,
        "tuned": entry.tuned,
        "notes": [*entry.notes, *([FOLDED] if asked.vs else [])],
    }
    if foreign := foreign_nodes(entry.artifact, device):
        row |= {"foreign": foreign, "notes": [*row["notes"], sentence(foreign)]}
    return row | (_against(theirs, latency) if theirs else {})


def _spread(rounds: list[Measurement], latency: float) -> float:
    """The usual spread within a round, or half the range between rounds where that is larger."""
    seconds = [m.seconds for m in rounds]
    return max(float(np.median([m.spread for m in rounds])), (max(seconds) - min(seconds)) / 2 / latency)


def _against(rounds: list[Timing], latency: float) -> dict[str, object]:
    theirs = float(np.median([np.median(t.seconds) for t in rounds]))
    return {
        "vs": {"name": ONNXRUNTIME, "version": rounds[0].version, "latency_s": theirs},
        "ratio": latency / theirs,
    }


def _line(row: Mapping[str, object]) -> str:
    text = f"{row['model']}: {1e3 * row['latency_s']:.3f} ms +- {100 * row['spread']:.1f} %"
    text += f" ({row['threads']} thread(s), {row['arithmetic']}, {row['repeats']} runs, {row['device']})"
    if "vs" in row:
        vs = row["vs"]
        text += f"; {vs['name']} {vs['version']} {1e3 * vs['latency_s']:.3f} ms, ratio {row['ratio']:.3f}"
    return "; ".join(part for part in (text, wording.tuned(row["tuned"])) if part)
