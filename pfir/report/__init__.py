"""What a user reads afterwards: report.json, report.html and the terminal's summary."""

from pfir.report.content import build, dump
from pfir.report.html import page
from pfir.report.record import Epoch, Kept, Layer, RunRecord, Side, Stage, Trial, Verification, Width
from pfir.report.terminal import last_line, show

__all__ = [
    "Epoch",
    "Kept",
    "Layer",
    "RunRecord",
    "Side",
    "Stage",
    "Trial",
    "Verification",
    "Width",
    "build",
    "dump",
    "last_line",
    "page",
    "show",
]
