"""The end of a run: report, recipe and files, whole or not at all."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pfir import __version__
from pfir.artifact import Artifact
from pfir.backends.base import Backend
from pfir.compile.measuring.latency import HostLatency
from pfir.compile.measuring.layer_latency import layers
from pfir.compile.methods.base import Choice
from pfir.compile.outcome import Outcome
from pfir.compile.precision.sizes import Sizes, files_of
from pfir.compile.request import Goals, Request
from pfir.compile.run_context import Chosen, RunContext
from pfir.compile.training.codebooks import TRAINED
from pfir.compile.versions import versions
from pfir.compile.workspace import Workspace
from pfir.errors import UsageError, VerifyError
from pfir.frontends import outside_files
from pfir.ir.costs.kept_weights import kept_weights
from pfir.ir.model import Model
from pfir.measurement import speedup
from pfir.packing.packing import pack_model
from pfir.recipe import CODEBOOKS, QUANTIZED, RECIPE, WEIGHTS, ZEROS, Recipe, pack_weights, sha256
from pfir.report import html, wording
from pfir.report.content import build, dump
from pfir.report.record import Kept, Library, RunRecord, Side, Verification, Width
from pfir.report.weights import Files, LayerWeight, Weights
from pfir.run.trial import refusal

MODEL = "model.onnx"
PACKED = "model.pfir"
REPORT = "report.json"
PAGE = "report.html"
ROUNDING = 1.005
"""Goals but those of size and accuracy count as met within half a percent: widths come in steps."""


@dataclass(frozen=True)
class Delivery:
    """What a run ends up with, before it is written.

    Args:
        chosen: The compressed model, and how it came about.
        artifact: Its library for the target.
        verification: Of that library.
        before, after: All figures of the original and of the result.
        host: Latencies of both on this machine.
    """

    chosen: Chosen
    artifact: Artifact
    verification: Verification
    before: Side
    after: Side
    host: HostLatency


def deliver(run_context: RunContext, delivery: Delivery, workspace: Workspace) -> Outcome:
    """Write everything into the output folder.

    Raises:
        UsageError: The folder cannot be written; nothing has appeared in it then.
        VerifyError: ONNX Runtime does not open the model.
    """
    chosen, artifact = delivery.chosen, delivery.artifact
    model = chosen.fine_tuned.model.to_bytes()
    if (fault := refusal(model)) is not None:
        raise VerifyError(f"ONNX Runtime does not open the result, so nothing is written: {fault}")
    weights = pack_weights({n: t.values for n, t in chosen.fine_tuned.model.initializers().items()})
    recipe = _recipe(run_context, chosen, artifact, weights)
    packed = pack_model(model)
    run = _run(run_context, delivery, recipe, files_of(run_context.request, model, packed))
    report = build(run)
    files = {
        MODEL: model,
        PACKED: packed,
        **{name: content for name, content in artifact.files.items() if name != MODEL},
        WEIGHTS: weights,
        RECIPE: recipe.to_json().encode(),
        REPORT: dump(report).encode(),
        PAGE: html.page(report).encode(),
    }
    inputs = {spec.name: list(spec.shape) for spec in artifact.inputs}
    facts = {"arithmetic": run_context.target.computes, "tuned": report["tuned"], "inputs": inputs}
    facts |= {"library": report["library"]}
    workspace.deliver(files | workspace.journals(), facts)
    _write_depfile(run_context.request, run_context.backend)
    return Outcome(report, run.met, workspace.folder)


def is_met(goals: Goals, before: Side, after: Side, files: Files) -> bool:
    """Whether the result reaches every goal."""
    checks = [
        goals.speedup is None or speedup(before.latency, after.latency) * ROUNDING >= goals.speedup,
        goals.latency_s is None or after.latency.seconds <= goals.latency_s * ROUNDING,
        Sizes(files).reach(goals.size),
        goals.macs is None or after.macs <= before.macs * goals.macs * ROUNDING,
        goals.max_drop is None or _drop(before, after) <= goals.max_drop / 100 + 1e-9,
    ]
    return all(checks)


def size_notes(goals: Goals, before: Side, after: Side, files: Files) -> tuple[str, ...]:
    """That the packed file with its graph does not reach a goal of size, whatever the bits of the weights do."""
    if Sizes(files).reach(goals.size):
        return ()
    bits = wording.ratio(before.size_bytes, after.size_bytes)
    packed = wording.ratio(files.original_bytes, files.packed_bytes)
    return (f"Weights take {bits} fewer bits; the packed file, with the graph, is {packed} smaller.",)


def _drop(before: Side, after: Side) -> float:
    if before.accuracy is None or after.accuracy is None:
        return 1.0 - (after.fidelity or 0.0)
    return before.accuracy - after.accuracy


def _run(run_context: RunContext, delivery: Delivery, recipe: Recipe, files: Files) -> RunRecord:
    chosen, before, after, host = delivery.chosen, delivery.before, delivery.after, delivery.host
    notes = (*run_context.samples.notes, *chosen.notes, *chosen.fine_tuned.notes, *([host.note] if host.note else []))
    notes += size_notes(run_context.request.goals, before, after, files)
    found = chosen.found
    return RunRecord(
        version=__version__,
        model=_identity(run_context),
        target=run_context.target,
        backend=run_context.backend.name,
        goal=run_context.request.goals.text(),
        goals={name: value for name, value in asdict(run_context.request.goals).items() if value is not None},
        met=is_met(run_context.request.goals, before, after, files),
        baseline=replace(before, fidelity=1.0),
        result=after,
        verification=delivery.verification,
        fidelity_data=run_context.samples.kind,
        passes=(*recipe.passes, *([chosen.quantization.text] if chosen.quantization else []), *_coding(chosen)),
        stages=tuple(run_context.stages.finished),
        search_seconds=found.seconds,
        trials=found.trials,
        widths=tuple(Width(g, a, b) for g, (a, b) in found.changes.items()),
        alone=chosen.alone,
        layers=layers(run_context, chosen.fine_tuned.model, before.latency),
        kept=tuple(Kept(*pin) for choice in found.choices for pin in choice.kept),
        training=chosen.fine_tuned.curve,
        finalists=chosen.finalists,
        notes=notes,
        command=shlex.join(["pfir", *sys.argv[1:]]),
        recipe={"file": RECIPE, "weights": WEIGHTS, "groups pruned": len(recipe.parts["removed"])},
        versions=versions(),
        seed=run_context.request.seed,
        tuning=delivery.artifact.tuning,
        files=files,
        library=_library(delivery),
        weights=Weights(_kept(run_context.models.baseline), _kept(chosen.fine_tuned.model)),
    )


def _library(delivery: Delivery) -> Library | None:
    artifact, constants = delivery.artifact, delivery.artifact.constants
    if constants is None:
        return None
    return Library(len(artifact.files[artifact.library]), constants, delivery.host.load_s)


def _kept(model: Model) -> tuple[LayerWeight, ...]:
    return tuple(LayerWeight(name, **asdict(weight)) for name, weight in kept_weights(model).items())


def _identity(run_context: RunContext) -> dict[str, str]:
    prepared, file = run_context.prepared, run_context.request.model.name
    return {"name": prepared.models.original.name, "file": file, "sha256": prepared.sha256}


def _recipe(run_context: RunContext, chosen: Chosen, artifact: Artifact, weights: bytes) -> Recipe:
    found = chosen.found
    passes = (*run_context.prepared.passes, *found.texts)
    return Recipe(
        model_sha256=run_context.prepared.sha256,
        parts=_parts(found.choices) | _quantized(chosen) | _coded(chosen),
        passes=passes,
        training=dict(chosen.fine_tuned.settings or {}),
        weights_sha256=sha256(weights),
        seed=run_context.request.seed,
        versions=versions(),
        arithmetic=run_context.target.arithmetic.name,
        tuning=artifact.tuning,
    )


def _parts(choices: Sequence[Choice]) -> dict[str, object]:
    """The parts of all methods; that nothing was pruned is said, too."""
    parts: dict[str, object] = {"removed": {}}
    for choice in choices:
        for key, part in choice.recipe().items():
            known = parts.get(key)
            parts[key] = [*known, *part] if isinstance(known, list) else part
    return parts


def _quantized(chosen: Chosen) -> dict[str, object]:
    """The recipe's part that quantizes the result; none where all is float."""
    return {} if chosen.quantization is None else {QUANTIZED: asdict(chosen.quantization)}


def _coded(chosen: Chosen) -> dict[str, object]:
    """The recipe's parts that give the result zeros and codebooks; none where it has none."""
    is_trained = chosen.fine_tuned.model.provenance[-1:] == (TRAINED,)
    zeros = {ZEROS: chosen.zeros} if chosen.zeros else {}
    return zeros | ({CODEBOOKS: {"text": chosen.codebooks, "trained": is_trained}} if chosen.codebooks else {})


def _coding(chosen: Chosen) -> tuple[str, ...]:
    return tuple(text for text in (chosen.zeros, chosen.codebooks) if text)


def check_depfile(request: Request) -> None:
    """Return only if `--depfile` names a file that can be, before anything takes time.

    Raises:
        UsageError: It is a folder, or its folder is missing.
    """
    path = request.depfile
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"--depfile {path} cannot be written: " + ("a folder" if path.is_dir() else "no such folder"))


def _write_depfile(request: Request, backend: Backend) -> None:
    """A Makefile rule: the manifest depends on every file that was read."""
    if request.depfile is None:
        return
    names = [_escaped(p) for p in _read(request, backend) if p.exists()]
    try:
        request.depfile.write_text(f"{_escaped(request.output / 'manifest.json')}: {' '.join(names)}\n")
    except OSError as error:
        raise UsageError(f"--depfile {request.depfile} cannot be written: {error.strerror}") from error


def _read(request: Request, backend: Backend) -> list[Path]:
    """The files that a run reads: the model with what lies outside its file, the recipe with its weights, measured
    kernels, the data."""
    found = [request.model, *outside_files(request.model)]
    if request.recipe is not None:
        found += [request.recipe, *([] if request.retrain else [request.recipe.with_name(WEIGHTS)])]
    found += backend.tuning_files()
    return found + [Path(p) for p in (request.data, request.validation, request.classes) if p]


def _escaped(path: Path) -> str:
    return str(path).replace("$", "$$").replace(" ", "\\ ").replace("#", "\\#")
