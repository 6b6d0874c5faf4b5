"""The application: every command under its name, and what comes before any of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import typer

from pfir.cli.compiling import compile_command
from pfir.cli.lists import passes_command, targets_command
from pfir.cli.measuring import bench_command, tune_command
from pfir.cli.models import evaluate_command, inspect_command, opt_command, pack_command, unpack_command
from pfir.names import visible

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Makes trained networks small and fast for ARM devices.",
)

COMMANDS: Mapping[str, Callable[..., None]] = {
    "compile": compile_command,
    "opt": opt_command,
    "inspect": inspect_command,
    "evaluate": evaluate_command,
    "bench": bench_command,
    "tune": tune_command,
    "pack": pack_command,
    "unpack": unpack_command,
    "targets": targets_command,
    "passes": passes_command,
}
"""In the order in which help lists them."""
for _name, _command in COMMANDS.items():
    app.command(_name)(_command)


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
