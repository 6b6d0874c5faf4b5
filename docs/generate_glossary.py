"""Writes glossary.md, the words of pfir's reports, from those of the reports: `python docs/generate_glossary.py`."""

from pathlib import Path

from pfir.report.glossary import in_order

PAGE = Path(__file__).with_name("glossary.md")
HEAD = """# Glossary

The words of pfir's reports and of its progress, by the alphabet. Made from pfir/report/glossary.py by
`python docs/generate_glossary.py`; a test says when it is out of date.

"""


def text() -> str:
    """The whole page."""
    return HEAD + "\n".join(f"- **{name}**: {meaning}" for name, meaning in in_order()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(text())
