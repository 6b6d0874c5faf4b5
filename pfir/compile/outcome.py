"""What `compile_model` gives back: the report, and how to show it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pfir.names import visible
from pfir.report import terminal


@dataclass(frozen=True)
class Outcome:
    """A finished run.

    Args:
        report: The content of report.json; for a dry run the plan.
        met: Whether the goals were reached.
        folder: Where the results are; None for a dry run.
        lines: What a dry run prints.
    """

    report: Mapping[str, object]
    met: bool
    folder: Path | None
    lines: tuple[str, ...] = ()

    def print(self) -> None:
        """Show the outcome on stdout."""
        for line in self.lines:
            print(visible(line))
        if self.folder is not None:
            terminal.show(self.report, f"{self.folder}/", sys.stdout)
