"""Options and arguments that several commands of the command line share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelArgument = Annotated[Path, typer.Argument(help="The ONNX model, or a packed one.", show_default=False)]
PreprocessOption = Annotated[
    str | None,
    typer.Option(help="How raw images become inputs, e.g. scale=1/255,mean=0.485:0.456:0.406,std=0.229:0.224:0.225."),
]
ClassesOption = Annotated[
    Path | None, typer.Option(help="Class names in the model's order, for image folders: one a line, or JSON.")
]
DataOption = Annotated[str | None, typer.Option(help="Training data: .npz, image folder or its .zip, module:function.")]
KeepOption = Annotated[
    list[str] | None, typer.Option(help="A node whose output channels stay, and which stays float; may be repeated.")
]
OnlyOption = Annotated[list[str] | None, typer.Option(help="Prune or quantize only this node; may be repeated.")]
ClockOption = Annotated[str | None, typer.Option(help="The core's clock, e.g. 1.8GHz; default: its board's.")]
ShapeOption = Annotated[
    list[str] | None, typer.Option("--input-shape", help="A fixed size for the library: name=1x3x224x224.")
]
BatchOption = Annotated[int | None, typer.Option(help="The library's batch size; default: the model's, or 1.")]
SizeOption = Annotated[
    list[str] | None,
    typer.Option("--input-shape", help="Sizes to count costs with, where the model tells none: name=1x3x224x224."),
]
PrecisionOption = Annotated[
    str, typer.Option(help="auto, float32, float16 or int8; auto is what the goal needs at the least loss.")
]
FloatsOption = Annotated[str, typer.Option("--precision", help="float32, or float16 on cores that have it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else.")]
TunedOption = Annotated[
    str | None, typer.Option(help="Measured kernels to build by: a file of pfir tune, instead of your own; or none.")
]
TrainOption = Annotated[
    str | None,
    typer.Option(help="How to train, e.g. lr=0.01,optimizer=adamw; `--train help` lists the names."),
]
