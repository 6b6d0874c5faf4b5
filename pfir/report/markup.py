"""Pieces of HTML that the sections of report.html share; everything that is given as text is escaped here."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from html import escape
from typing import Any

from pfir.names import visible
from pfir.report import glossary

FOLDED = 3  # More words than this are explained in a list that starts folded.


def text(value: object) -> str:
    """Safe in HTML: escaped, and without control characters."""
    return escape(visible(value))


def prose(value: str) -> str:
    """A sentence of the glossary, in which commands stand between backticks."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", text(value))


def section(title: str, body: str) -> str:
    """A card of the page; nothing where there is nothing in it."""
    return f"<section><h2>{title}</h2>{body}</section>" if body else ""


def row(name: str, *cells: tuple[str, str]) -> str:
    """A row of a table: a name, then cells, each a class of the style sheet and a text."""
    rest = "".join(f'<td class="{kind}">{text(cell)}</td>' for kind, cell in cells)
    return f"<tr><td>{text(name)}</td>{rest}</tr>"


def pairs(found: Mapping, show: Callable[[Any], str] = text) -> str:
    """Names and what they stand for, which `show` makes HTML."""
    return f"<dl>{''.join(f'<dt>{text(key)}</dt><dd>{show(value)}</dd>' for key, value in found.items())}</dl>"


def legend(*entries: tuple[str, str]) -> str:
    """What the marks of a chart are, each a class of the style sheet and a text."""
    items = "".join(f'<span><i class="{kind}"></i>{text(words)}</span>' for kind, words in entries)
    return f'<div class="legend">{items}</div>'


def explained(*names: str) -> str:
    """What these words mean, of which the glossary has each; many start folded."""
    items = "".join(f"<p><b>{text(name)}</b>: {prose(glossary.TERMS[name])}</p>" for name in dict.fromkeys(names))
    if len(names) <= FOLDED:
        return f'<div class="hint">{items}</div>'
    summary = f"<summary>What these words mean: {text(', '.join(names))}</summary>"
    return f'<details class="hint">{summary}{items}</details>'
