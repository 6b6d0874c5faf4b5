"""Where a benchmark's figures go: JSON, and a page of Markdown beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path


def write(found: dict[str, object], lines: Iterable[str], out: Path) -> None:
    """`out` with the suffixes .json and .md, anew."""
    out.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
