"""The entry: a command is run, and whatever goes wrong is one line on stderr and an exit code."""

from __future__ import annotations

import os
import signal
import sys

import typer
import typer.exceptions

from pfir.cli.application import app
from pfir.cli.messages import PROGRAM, how_to_resume, refusal
from pfir.errors import PfirError, UsageError, lacks_memory
from pfir.names import visible
from pfir.system import streams

INTERRUPTED = 130


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
