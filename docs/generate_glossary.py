"""Writes glossary.md, the words of pfir's reports, from those of the reports: `python docs/generate_glossary.py`."""

import textwrap
from pathlib import Path

from pfir.report.glossary import in_order

PAGE = Path(__file__).with_name("glossary.md")
HEAD = """# Glossary

The words of pfir's reports and of its progress, by the alphabet. Made from pfir/report/glossary.py by
`python docs/generate_glossary.py`; a test says when it is out of date.

"""


def text() -> str:
    """The whole page."""
    return HEAD + "".join(_entry(name, meaning) for name, meaning in in_order())


def _entry(name: str, meaning: str) -> str:
    line = f"- **{name}**: {meaning}"
    return textwrap.fill(line, 120, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
