"""`pfir opt`, `inspect`, `evaluate`, `pack` and `unpack`: what is done with one model file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from pfir.commands.line.options import (
    ClassesOption,
    JsonOption,
    KeepOption,
    ModelArgument,
    OnlyOption,
    PreprocessOption,
    SizeOption,
)
from pfir.names import visible


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


def pack_command(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", help="The packed file to write.")],
) -> None:
    """Pack a model into a small file, from which it comes back to the byte."""
    from pfir.commands.pack import pack_file

    typer.echo(visible(pack_file(model, output)))


def unpack_command(
    file: Annotated[Path, typer.Argument(help="What `pfir pack` or `pfir compile` wrote.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The ONNX file to write.")],
) -> None:
    """Write the model of a packed file, with its external data beside it."""
    from pfir.commands.pack import unpack_file

    typer.echo(visible(unpack_file(file, output)))
