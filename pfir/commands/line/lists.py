"""`pfir targets` and `pfir passes`: what names there are."""

from __future__ import annotations

import typer


def targets_command() -> None:
    """List the targets and cores that --target knows, and how far estimates for them err."""
    from shutil import get_terminal_size

    from pfir.commands.targets import lines

    typer.echo("\n".join(lines(get_terminal_size((100, 24)).columns)))


def passes_command() -> None:
    """List the passes with their fields, as --passes takes them."""
    from pfir.passes.spec import describe

    for line in describe():
        typer.echo(line)
