"""The content of report.json, made of a record."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pfir.measurement import speedup
from pfir.report.record import Library, RunRecord, Side, precisions
from pfir.report.warnings import warnings
from pfir.report.weights import weights_told
from pfir.target import Target


def build(run: RunRecord) -> dict[str, object]:
    """The content of report.json: plain values only, every number finite or null.

    Raises:
        UsageError: The latencies of the two sides come from different sources.
    """
    report = {
        "pfir": run.version,
        "model": dict(run.model),
        "target": _target(run.target),
        "arithmetic": run.target.computes,
        "backend": run.backend,
        "goal": run.goal,
        "goals": dict(run.goals),
        "met": run.met,
        "speedup": speedup(run.baseline.latency, run.result.latency),
        "accuracy_drop": _difference(run.baseline.accuracy, run.result.accuracy),
        "fidelity_data": run.fidelity_data,
        "baseline": _side(run.baseline),
        "result": _side(run.result),
        "files": None if run.files is None else asdict(run.files),
        "library": _library(run.library),
        "passes": run.passes,
        "search": {
            "trials": len(run.trials),
            # Twins of earlier ones are not scored again.
            "candidates": len({(t.latency_s, t.score) for t in run.trials}),
            "seconds": run.search_seconds,
            "score": run.score,
        },
        "stages": [asdict(stage) for stage in run.stages],
        "verification": asdict(run.verification),
        "tuned": None if run.tuning is None else asdict(run.tuning),
        "notes": [*run.notes, *warnings(run)],
        "precision": precisions(run.layers),
        "alone": [asdict(each) for each in run.alone],
        "weights": weights_told(run.weights, run.files),
        "widths": [asdict(width) for width in run.widths],
        "layers": [asdict(layer) for layer in run.layers],
        "kept": [asdict(kept) for kept in run.kept],
        "trials": [asdict(trial) for trial in run.trials],
        "finalists": [asdict(finalist) for finalist in run.finalists],
        "training": [{**vars(e), "metrics": dict(e.metrics)} for e in run.training],
        "command": run.command,
        "recipe": dict(run.recipe),
        "versions": dict(run.versions),
        "seed": run.seed,
    }
    return _plain_entries(report)


def dump(report: Mapping[str, object]) -> str:
    """report.json as text: strict JSON, ASCII, a line end last.

    Raises:
        ValueError: A number is not finite; `build` never leaves one.
    """
    return json.dumps(report, indent=2, allow_nan=False) + "\n"


def _library(library: Library | None) -> dict[str, object] | None:
    if library is None:
        return None
    return {
        "size_bytes": library.size_bytes,
        **asdict(library.constants),
        "host_load_s": library.host_load_s,
    }


def _target(target: Target) -> dict[str, object]:
    return {
        "name": target.name,
        "triple": target.triple,
        "core": target.core.name,
        "clock_hz": target.core.clock_hz,
        "cpu": target.cpu,
        "features": target.features,
        "threads": target.threads,
        "arithmetic": target.arithmetic.name,
        "core_source": target.core.source,
    }


def _side(side: Side) -> dict[str, object]:
    return {
        "latency_s": side.latency.seconds,
        "latency_source": side.latency.source,
        "latency_detail": side.latency.detail,
        "latency_spread": side.latency.spread,
        "latency_repeats": side.latency.repeats,
        "host_latency_s": side.host_latency_s,
        "instructions": side.instructions,
        "accuracy": side.accuracy,
        "fidelity": side.fidelity,
        "macs": side.macs,
        "parameters": side.parameters,
        "size_bytes": side.size_bytes,
        "peak_activation_bytes": side.peak_activation_bytes,
    }


def _difference(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after


def _plain_entries(entries: Mapping[Any, object]) -> dict[str, object]:
    return {str(key): _plain(item) for key, item in entries.items()}


def _plain(value: object) -> object:
    """Lists, dictionaries with text keys, text, finite numbers, booleans and None; NumPy scalars become Python's."""
    if isinstance(value, Mapping):
        return _plain_entries(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int)) else str(value)
