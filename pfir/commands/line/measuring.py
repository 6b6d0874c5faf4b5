"""`pfir bench` and `pfir tune`: what measures on a device."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pfir.commands.line.options import BatchOption, ClockOption, FloatsOption, JsonOption, ShapeOption, TunedOption


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
