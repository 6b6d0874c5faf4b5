"""The terminal's summary: a table where it can be drawn, plain lines elsewhere; the last says what was reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TextIO

from pfir.names import visible
from pfir.report import wording
from pfir.report.wording import NOTHING


def rows(report: Mapping) -> list[tuple[str, str, str, str]]:
    """What, before, after, ratio; a row that neither side has is left out."""
    before, after = report["baseline"], report["result"]
    shares = [(key, key, wording.percent) for key in ("accuracy", "fidelity")]
    costs: list[tuple[str, str, Callable[[float | None], str]]] = [
        ("latency on this machine", "host_latency_s", wording.duration),
        ("instructions", "instructions", wording.count),
        ("multiply-accumulates", "macs", wording.count),
        ("parameters", "parameters", wording.count),
        ("size", "size_bytes", wording.size),
        ("peak activations", "peak_activation_bytes", wording.size),
    ]
    found = [(wording.latency_row(report), wording.latency(before), wording.latency(after), wording.faster(report))]
    found += [
        (name, text(before[key]), text(after[key]), wording.ratio(before[key], after[key])) for name, key, text in costs
    ]
    if (files := report["files"]) is not None:
        original, packed = files["original_bytes"], files["packed_bytes"]
        found.append(("file, packed", wording.size(original), wording.size(packed), wording.ratio(original, packed)))
    found += [(name, text(before[key]), text(after[key]), "") for name, key, text in shares]
    return [row for row in found if (row[1], row[2]) != (NOTHING, NOTHING)]


def last_line(report: Mapping, folder: str) -> str:
    """One line: what was asked for first, speed-up and by what, quality, size, verification, where the files are."""
    before, after = report["baseline"]["size_bytes"], report["result"]["size_bytes"]
    parts = [
        *wording.claims(report, wording.judged(report), wording.quality(report)),
        f"{wording.size(before)} -> {wording.size(after)}",
        wording.verified(report),
    ]
    goal = "" if report["met"] else "goal not met: "
    warning = f"; {wording.advice(report)}" if wording.unsafe(report) else ""
    return visible(f"{goal}{', '.join(parts)}: {folder}{warning}")


def lines(report: Mapping, folder: str) -> list[str]:
    """The whole summary as plain lines."""
    table = rows(report)
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    text = [f"{a:<{widths[0]}}  {b:>{widths[1]}} -> {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in table]
    notes = [f"note: {note}" for note in report["notes"]]
    return [*map(visible, text), *map(visible, _precision(report)), *map(visible, notes), last_line(report, folder)]


def _precision(report: Mapping) -> list[str]:
    """What the result computes in, what its weights are kept as, what its library holds, and what each way would have
    given alone."""
    told = {
        "computes in": wording.computed_in(report),
        "weights": wording.kept(report),
        "weights take": wording.shrunk(report),
        "library": wording.library(report),
    }
    return [*(f"{name}: {found}" for name, found in told.items() if found), *wording.alone(report)]


def show(report: Mapping, folder: str, stream: TextIO) -> None:
    """Write the summary: a table on a terminal, plain lines elsewhere."""
    if not stream.isatty():
        stream.write("\n".join(lines(report, folder)) + "\n")
        return
    from rich.console import Console
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    console.print(_table(report))
    for line in _precision(report):
        console.print(Text(visible(line)))
    for note in report["notes"]:
        console.print(Text(f"note: {visible(note)}", style="yellow"))
    style = "bold green" if report["met"] else "bold yellow"
    console.print(Text(last_line(report, folder), style=style), soft_wrap=True)


def _table(report: Mapping):
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=Text(visible(report["model"].get("name", "model"))), title_justify="left")
    table.add_column("")
    for heading in ("before", "after", "ratio"):
        table.add_column(heading, justify="right")
    for row in rows(report):
        table.add_row(*(Text(visible(cell)) for cell in row))
    return table
