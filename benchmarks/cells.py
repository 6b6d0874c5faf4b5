"""Tables of results that are filled cell by cell: a run that was stopped goes on where it was.

A cell has a name such as `resnet56 obc 0.75`, whose first word is the network. The JSON file has a row for each cell
that was run, and the page beside it is made of all rows.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path


@dataclass
class Cells:
    """The cells of a table, and which of them a run is to fill.

    Args:
        results: The JSON file; the page has the same name with `.md`.
        names: Of all cells, in the order of the file, each network's together.
        only: Texts: cells are run whose name has all words of one of them; all cells where there are none.
        again: Whether cells that are there already are run again.
    """

    results: Path
    names: tuple[str, ...]
    only: tuple[str, ...] = ()
    again: bool = False
    rows: dict[str, dict] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = json.loads(self.results.read_text()) if self.results.exists() else {}

    @classmethod
    def asked_for(cls, arguments: argparse.Namespace, results: Path, names: Iterable[str]) -> Cells:
        """The cells with what the command line says of them."""
        return cls(results, tuple(names), tuple(arguments.only), arguments.again)

    def wanted(self) -> list[str]:
        """The cells to run now, in order."""
        return [name for name in self.names if self._is_asked_for(name) and (self.again or name not in self.rows)]

    def by_network(self) -> Iterator[tuple[str, list[str]]]:
        """Each network that has cells to run, with these."""
        for network, cells in groupby(self.wanted(), key=lambda name: name.split()[0]):
            yield network, list(cells)

    def keep(self, name: str, row: dict) -> None:
        """Print a row and write the file with it, whole or not at all."""
        print(name, json.dumps(row), file=sys.stderr, flush=True)
        self.rows[name] = row
        self.results.parent.mkdir(exist_ok=True)
        fresh = self.results.with_suffix(".tmp")
        fresh.write_text(json.dumps({n: self.rows[n] for n in self.names if n in self.rows}, indent=1) + "\n")
        os.replace(fresh, self.results)

    def write_page(self, page: str) -> None:
        self.results.with_suffix(".md").write_text(page)

    def _is_asked_for(self, name: str) -> bool:
        return not self.only or any(set(text.split()) <= set(name.split()) for text in self.only)


def add_cell_options(parser: argparse.ArgumentParser) -> None:
    """Give a command line what `Cells.asked_for` reads."""
    parser.add_argument("--only", action="append", default=[], help="cells with all these words")
    parser.add_argument("--again", action="store_true", help="run cells that are there already")
