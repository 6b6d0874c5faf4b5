"""Writes decisions/README.md, the index of decisions, from their first lines: `python docs/generate_decisions.py`."""

import re
from pathlib import Path

FOLDER = Path(__file__).with_name("decisions")
PAGE = FOLDER / "README.md"
HEAD = """# Decisions

Choices that would cost something to undo, each on half a page: what was decided, why, what it costs, and what was tried
and failed, with figures. A new one takes the next number. Its first line is `# 13. Its title`, its third one a date and
a status: `2026-11-30. Accepted.`, later perhaps `2026-11-30. Replaced by 17.`; the date is that on which it was written
down. Made by `python docs/generate_decisions.py`; a test says when it is out of date.

"""


def text() -> str:
    """The whole page."""
    return HEAD + "".join(_entry(page) for page in sorted(FOLDER.glob("0*.md")))


def _entry(page: Path) -> str:
    title, _, status = page.read_text().splitlines()[:3]
    number, _, name = title.removeprefix("# ").partition(". ")
    date, _, verdict = status.partition(". ")
    if int(number) != int(page.name[:4]) or not re.fullmatch(r"\d{4}-\d\d-\d\d", date) or not verdict.endswith("."):
        raise ValueError(f"{page.name} must begin with its number and title, a blank line, and a date with its status")
    return f"{number}. [{name}]({page.name})\n   {date}, {verdict[0].lower()}{verdict[1:]}\n"


if __name__ == "__main__":
    PAGE.write_text(text())
