"""The command line: every command under its name, and the edge where any fault becomes one line and an exit code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Annotated

import typer
import typer.exceptions

from pfir.commands.line.compiling import compile_command
from pfir.commands.line.lists import passes_command, targets_command
from pfir.commands.line.measuring import bench_command, tune_command
from pfir.commands.line.messages import PROGRAM, how_to_resume, refusal
from pfir.commands.line.models import evaluate_command, inspect_command, opt_command, pack_command, unpack_command
from pfir.errors import PfirError, UsageError, lacks_memory
from pfir.names import visible
from pfir.system import streams

INTERRUPTED = 130

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
