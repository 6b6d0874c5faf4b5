"""`pfir compile`: its options, made a request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pfir.commands.line.options import (
    BatchOption,
    ClassesOption,
    ClockOption,
    DataOption,
    JsonOption,
    KeepOption,
    ModelArgument,
    OnlyOption,
    PrecisionOption,
    PreprocessOption,
    ShapeOption,
    TrainOption,
    TunedOption,
)


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
