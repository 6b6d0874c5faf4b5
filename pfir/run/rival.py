"""ONNX Runtime as the other side of a benchmark: in a process, and if wanted an interpreter, of its own."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from importlib.resources import files

from onnx import ModelProto

from pfir.errors import DeviceError
from pfir.ir.model import Model
from pfir.system.children import environment, run_text
from pfir.system.scratch import scratch_folder

SECONDS = 0.4
CONSTANTS_SINCE = 4
"""The IR version from which an initializer need not be an input (onnx, docs/Versioning.md)."""


@dataclass(frozen=True)
class Timing:
    """One block of single runs: their seconds, and the version of the onnxruntime that ran them."""

    version: str
    seconds: tuple[float, ...]


def time_onnxruntime(model: Model, threads: int, python: str | None = None, timeout_s: float = 600.0) -> Timing:
    """Single runs of a model of fixed sizes, timed by the onnxruntime of an interpreter (None: this one).

    Constants that are inputs too stop being inputs: what a caller may replace ONNX Runtime neither folds nor packs.

    Raises:
        DeviceError: The interpreter does not start, has no onnxruntime, or that does not run the model.
    """
    with scratch_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(with_constants(model).SerializeToString())
        return _read(_run(_command(python, str(path), str(threads), str(SECONDS)), threads, timeout_s))


def with_constants(model: Model) -> ModelProto:
    """The model with no constant among its inputs."""
    proto = model.to_proto()
    names = {tensor.name for tensor in proto.graph.initializer}
    given = [value for value in proto.graph.input if value.name not in names]
    del proto.graph.input[:]
    proto.graph.input.extend(given)
    proto.ir_version = max(proto.ir_version, CONSTANTS_SINCE)
    return proto


def _command(python: str | None, *arguments: str) -> tuple[str, ...]:
    script = files("pfir.run").joinpath("timing_script.py").read_text(encoding="utf-8")
    return run_text(script, *arguments, python=(python,) if python else ())


def _run(command: tuple[str, ...], threads: int, timeout_s: float) -> str:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=environment(OMP_NUM_THREADS=str(threads)),
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"no answer within {timeout_s:.0f} s" if isinstance(error, subprocess.TimeoutExpired) else error
        raise DeviceError(f"onnxruntime of {command[0]} cannot be timed: {reason}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1][:300] if lines else f"exit code {done.returncode}"
        raise DeviceError(f"onnxruntime of {command[0]} cannot be timed: {reason}")
    return done.stdout


def _read(text: str) -> Timing:
    try:
        found = json.loads(text)
        return Timing(str(found["version"]), tuple(float(s) for s in found["seconds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise DeviceError(f"the timing of onnxruntime is no JSON of seconds: {text[:80]!r}") from error
