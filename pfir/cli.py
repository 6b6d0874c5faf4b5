"""The command line: parse, call, print, exit code."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer
import typer.exceptions

from pfir.cli_messages import PROGRAM, how_to_resume, refusal
from pfir.cli_options import (
    BatchOption,
    ClassesOption,
    ClockOption,
    DataOption,
    FloatsOption,
    JsonOption,
    KeepOption,
    ModelArgument,
    OnlyOption,
    PrecisionOption,
    PreprocessOption,
    ShapeOption,
    SizeOption,
    TrainOption,
    TunedOption,
)
from pfir.errors import PfirError, UsageError, lacks_memory
from pfir.names import visible
from pfir.system import streams

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Makes trained networks small and fast for ARM devices.",
)

INTERRUPTED = 130


@app.command("compile")
def compile_command(
    model: ModelArgument,
    target: Annotated[str, typer.Option(help="What to compile for: arm, arm:cortex-a76, rpi4, ...")],
    clock: ClockOption = None,
    speedup: Annotated[str | None, typer.Option(help="Goal: this many times faster, e.g. 2.5.")] = None,
    latency: Annotated[str | None, typer.Option(help="Goal: at most this long for one inference, e.g. 8ms.")] = None,
    size: Annotated[str | None, typer.Option(help="Goal: a packed file this many times smaller, e.g. 4x.")] = None,
    macs: Annotated[str | None, typer.Option(help="Goal: at most this share of the MACs, e.g. 0.5 or 50%.")] = None,
    max_drop: Annotated[
        str | None, typer.Option(help="Goal: lose at most this many percentage points of accuracy, e.g. 0.5.")
    ] = None,
    data: DataOption = None,
    validation: Annotated[str | None, typer.Option(help="Data the given model was not trained on.")] = None,
    preprocess: PreprocessOption = None,
    classes: ClassesOption = None,
    allow_low_accuracy: Annotated[
        bool, typer.Option("--allow-low-accuracy", help="Go on though the original is hardly right on the data.")
    ] = False,
    metric: Annotated[str, typer.Option(help="auto, accuracy or fidelity.")] = "auto",
    passes: Annotated[str | None, typer.Option(help="The passes, instead of pfir's own choice.")] = None,
    keep: KeepOption = None,
    only: OnlyOption = None,
    device: Annotated[str | None, typer.Option(help="Measure on host or rpc://HOST:PORT; default: estimate.")] = None,
    backend: Annotated[str, typer.Option(help="tvm or ort.")] = "tvm",
    tuned: TunedOption = None,
    batch: BatchOption = None,
    input_shape: ShapeOption = None,
    trials: Annotated[int | None, typer.Option(help="Candidates to try; default: by the time budget.")] = None,
    epochs: Annotated[int | None, typer.Option(help="Epochs of fine-tuning; 0 means none.")] = None,
    train: TrainOption = None,
    time_budget: Annotated[str | None, typer.Option(help="How long all may take, e.g. 30m; default 10m.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="Replay this recipe.json, without search or training.")] = None,
    retrain: Annotated[bool, typer.Option("--retrain", help="With --recipe: train again.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    seed: Annotated[int, typer.Option(help="Of every random choice.")] = 0,
    jobs: Annotated[
        int | None, typer.Option(help="Candidates scored at a time, and threads; default: 1, to train one a core.")
    ] = None,
    depfile: Annotated[Path | None, typer.Option(help="Write a Makefile rule of what was read.")] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder for the results.")] = Path("pfir-out"),
    force: Annotated[bool, typer.Option("--force", help="Replace what the folder holds.")] = False,
    precision: PrecisionOption = "auto",
    verify: Annotated[str, typer.Option(help="Verify on: auto, emulated (there or exit 5), host, none.")] = "auto",
    offline: Annotated[
        bool, typer.Option("--offline", envvar="PFIR_OFFLINE", help="Fetch nothing for the emulated device.")
    ] = False,
    engine: Annotated[
        str, typer.Option(help="What trains: auto, ort (ONNX Runtime) or torch (PyTorch, an extra).")
    ] = "auto",
    nproc: Annotated[int, typer.Option(help="Processes that fine-tune together, one a GPU where there are some.")] = 1,
    compress_gradients: Annotated[
        str, typer.Option(help="How they exchange gradients: none, fp16, powersgd or ecq.")
    ] = "none",
    torchrun: Annotated[
        str, typer.Option(help="torchrun's own options, for several machines; see docs/many-processes.md.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Compress a model to a goal, fine-tune it, compile it, verify it, report."""
    from pfir.compile.flow import compile_model
    from pfir.compile.request import (
        Goals,
        Request,
        parse_duration,
        parse_factor,
        parse_input_shapes,
        parse_points,
        parse_share,
    )
    from pfir.compile.training.options import TrainOptions, parse_train
    from pfir.report.progress import progress_for
    from pfir.target import with_clock
    from pfir.train.distributed.processes import Processes

    goals = Goals(
        speedup=None if speedup is None else parse_factor(speedup, "--speedup"),
        latency_s=None if latency is None else parse_duration(latency, "--latency"),
        size=None if size is None else parse_factor(size, "--size"),
        macs=None if macs is None else parse_share(macs, "--macs"),
        max_drop=None if max_drop is None else parse_points(max_drop, "--max-drop"),
    )
    request = Request(
        model=model,
        target=with_clock(target, clock),
        goals=goals,
        output=output,
        data=data,
        validation=validation,
        preprocess=preprocess,
        classes=classes,
        allow_low_accuracy=allow_low_accuracy,
        metric=metric,
        passes=passes,
        keep=tuple(keep or ()),
        only=tuple(only or ()),
        device=device,
        backend=backend,
        tuned=tuned,
        batch=batch,
        input_shapes=parse_input_shapes(tuple(input_shape or ())),
        trials=trials,
        epochs=epochs,
        time_budget_s=None if time_budget is None else parse_duration(time_budget, "--time-budget"),
        recipe=recipe,
        retrain=retrain,
        resume=resume,
        dry_run=dry_run,
        seed=seed,
        jobs=jobs,
        depfile=depfile,
        force=force,
        precision=precision,
        verify=verify,
        offline=offline,
        engine=engine,
        processes=Processes(nproc, compress_gradients, torchrun),
        train=TrainOptions() if train is None else parse_train(train),
    )
    progress = progress_for()
    try:
        outcome = compile_model(request, progress)
    finally:
        progress.close()
    if as_json:
        typer.echo(json.dumps(outcome.report, indent=1, allow_nan=False))
    else:
        outcome.print()
    raise typer.Exit(0 if outcome.met else 4)


@app.command("opt")
def opt_command(
    model: ModelArgument,
    passes: Annotated[str, typer.Option(help="E.g. simplify,fold-batch-norm,prune-channels{ratio=0.3}.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
    data: Annotated[str | None, typer.Option(help="Calibration data for passes that want some.")] = None,
    preprocess: PreprocessOption = None,
    classes: ClassesOption = None,
    keep: KeepOption = None,
    only: OnlyOption = None,
    input_shape: SizeOption = None,
    seed: Annotated[int, typer.Option(min=0, help="Of every random choice.")] = 0,
) -> None:
    """Apply passes to a model and write it; the interface stays as it is."""
    from pfir.commands.opt import OptRequest, optimize
    from pfir.compile.request import parse_input_shapes

    pinned = (tuple(keep or ()), tuple(only or ()))
    shapes = parse_input_shapes(tuple(input_shape or ()))
    for note in optimize(OptRequest(model, passes, output, data, preprocess, classes, *pinned, seed, shapes)):
        typer.echo(visible(note))


@app.command("inspect")
def inspect_command(
    model: ModelArgument,
    keep: KeepOption = None,
    only: OnlyOption = None,
    input_shape: SizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model's groups of coupled channels, what pins them, and its cost."""
    from pfir.commands.inspect import inspect_model, print_inspection
    from pfir.compile.request import parse_input_shapes

    shapes = parse_input_shapes(tuple(input_shape or ()))
    found = inspect_model(model, tuple(keep or ()), tuple(only or ()), shapes)
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_inspection(found)


@app.command("evaluate")
def evaluate_command(
    model: ModelArgument,
    data: Annotated[str, typer.Option(help="Labelled data: .npz, image folder or its .zip, module:function.")],
    preprocess: PreprocessOption = None,
    classes: ClassesOption = None,
    reference: Annotated[Path | None, typer.Option(help="The original, to give the fidelity to it as well.")] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Threads; default: one a core.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy of a model on labelled data, or its fidelity to another model."""
    from pfir.commands.evaluate import evaluate_file, summary

    found = evaluate_file(model, data, preprocess, reference, jobs, classes)
    typer.echo(json.dumps(found, indent=1) if as_json else summary(found))


@app.command("bench")
def bench_command(
    models: Annotated[list[Path], typer.Argument(help="ONNX models, and folders that compile wrote.")],
    device: Annotated[str, typer.Option(help="Where to measure: host or rpc://HOST:PORT.")] = "host",
    target: Annotated[str, typer.Option(help="What ONNX models are built for; with rpc:// the device's.")] = "host",
    clock: ClockOption = None,
    threads: Annotated[int, typer.Option(help="Threads of both sides.")] = 1,
    vs: Annotated[str | None, typer.Option(help="Measure this beside it, in turn: onnxruntime.")] = None,
    vs_python: Annotated[str | None, typer.Option(help="The Python whose onnxruntime is meant.")] = None,
    batch: BatchOption = None,
    input_shape: ShapeOption = None,
    precision: FloatsOption = "float32",
    tuned: TunedOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the latency of models, beside ONNX Runtime if wanted; below 1 the ratio is in our favour."""
    from pfir.commands.bench import Bench, bench, lines
    from pfir.compile.request import parse_input_shapes
    from pfir.target import with_clock

    shapes = parse_input_shapes(tuple(input_shape or ()))
    target = with_clock(target, clock)
    found = bench(Bench(tuple(models), device, target, threads, vs, vs_python, batch, shapes, precision, tuned))
    typer.echo(json.dumps(found, indent=1, allow_nan=False) if as_json else "\n".join(lines(found)))


@app.command("tune")
def tune_command(
    models: Annotated[list[Path], typer.Argument(help="ONNX models.")],
    target: Annotated[str, typer.Option(help="What kernels are built for: host, arm:cortex-a76, rpi4, ...")],
    clock: ClockOption = None,
    device: Annotated[str, typer.Option(help="Where to measure: host or rpc://HOST:PORT.")] = "host",
    out: Annotated[
        Path | None, typer.Option(help="The database to add to; default: the one that every build reads.")
    ] = None,
    batch: BatchOption = None,
    input_shape: ShapeOption = None,
    time_budget: Annotated[str | None, typer.Option(help="Begin no kernel later than this, e.g. 30m.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure what the database has already.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would be measured and stop.")] = False,
    precision: FloatsOption = "float32",
    as_json: JsonOption = False,
) -> None:
    """Measure the ways to compute each kernel of models, and keep the fastest for later builds.

    What costs most comes first; each kernel is kept as soon as it is measured, so the same command goes on where one
    was ended.
    """
    from pfir.commands.tune import Tune, tune
    from pfir.commands.tuned_lines import lines, plan
    from pfir.compile.request import parse_duration, parse_input_shapes
    from pfir.report.progress import progress_for
    from pfir.target import with_clock

    progress = progress_for()
    try:
        shapes = parse_input_shapes(tuple(input_shape or ()))
        budget_s = None if time_budget is None else parse_duration(time_budget, "--time-budget")
        target = with_clock(target, clock)
        options = (device, out, batch, shapes, budget_s, again, dry_run, precision)
        found = tune(Tune(tuple(models), target, *options), progress)
    finally:
        progress.close()
    words = plan(found) if dry_run else lines(found)
    typer.echo(json.dumps(found, indent=1, allow_nan=False) if as_json else "\n".join(words))


@app.command("pack")
def pack_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The packed file to write.")],
) -> None:
    """Pack a model into a small file, from which it comes back to the byte."""
    from pfir.commands.pack import pack_file

    typer.echo(visible(pack_file(model, output)))


@app.command("unpack")
def unpack_command(
    file: Annotated[Path, typer.Argument(help="What `pfir pack` or `pfir compile` wrote.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
) -> None:
    """Write the model of a packed file, with its external data beside it."""
    from pfir.commands.pack import unpack_file

    typer.echo(visible(unpack_file(file, output)))


@app.command("targets")
def targets_command() -> None:
    """List the targets and cores that --target knows, and how far estimates for them err."""
    from shutil import get_terminal_size

    from pfir.commands.targets import lines

    typer.echo("\n".join(lines(get_terminal_size((100, 24)).columns)))


@app.command("passes")
def passes_command() -> None:
    """List the passes with their fields, as --passes takes them."""
    from pfir.passes.spec import describe

    for line in describe():
        typer.echo(line)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the versions of pfir and of what its results depend on.")
    ] = False,
) -> None:
    if version:
        from pfir.compile.versions import summary

        typer.echo(summary())
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())
    elif context.invoked_subcommand not in ("targets", "passes"):
        _look_around()


def _look_around() -> None:
    """Before any work: remove what a killed run has left, and see whether onnxruntime is whole."""
    from pfir.system.installation import check_onnxruntime
    from pfir.system.scratch import remove_stale

    remove_stale()
    if note := check_onnxruntime():
        typer.echo(visible(f"note: {note}"), err=True)


def main() -> None:
    """Run the command line; every failure is one line on stderr and the exit code of its type."""
    signal.signal(signal.SIGTERM, _interrupt)
    stdout = streams.secure()
    try:
        code = _run()
    except PfirError as error:
        _fail(str(error), error.exit_code, error.export)
    except KeyboardInterrupt:
        _fail(f"interrupted{how_to_resume()}", INTERRUPTED)
    except Exception as error:  # noqa: BLE001  (the edge: anything else is a fault of ours)
        if os.environ.get("PFIR_TRACEBACK"):
            raise
        _fail_unexpected(error)
    if (reason := streams.trouble(stdout)) is not None:
        _fail(f"stdout cannot be written ({reason}); what was to be printed is lost, files are written", 2)
    raise SystemExit(code)


def _run() -> int:
    try:
        code = app(standalone_mode=False, prog_name=PROGRAM)
    except typer.exceptions.Abort:
        raise KeyboardInterrupt from None
    except typer.exceptions.TyperException as error:
        raise UsageError(refusal(error)) from None
    if code == INTERRUPTED:  # Typer gives this code instead of the exception
        raise KeyboardInterrupt
    return code or 0


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def _fail_unexpected(error: Exception) -> None:
    if lacks_memory(error):
        _fail("out of memory; try a smaller --batch or --input-shape, fewer --jobs, or a machine with more", 1)
    _fail(f"a fault of pfir: {type(error).__name__}: {error} (PFIR_TRACEBACK=1 shows where; please report it)", 1)


def _fail(text: str, code: int, export: tuple[str, ...] = ()) -> None:
    print(visible(f"{PROGRAM}: {' '.join(text.split())}"), file=sys.stderr)
    for line in export:
        print(f"    {visible(line)}", file=sys.stderr)
    raise SystemExit(code) from None
