"""The command line: parse, call, print, exit code."""

from pfir.cli.application import app
from pfir.cli.entry import main
from pfir.cli.messages import PROGRAM

__all__ = ["PROGRAM", "app", "main"]
