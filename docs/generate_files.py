"""Writes files.md, every file with the sentence that it opens with: `python docs/generate_files.py`."""

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = Path(__file__).with_name("files.md")
WIDTH = 120
FOLDERS = ("pfir", "tests/support", "benchmarks", "examples", "docs")
HEAD = """# Every file

Each file of pfir opens with a sentence that says what it is about; these are they, room by room. The tests of
`pfir/passes/spec.py` are in `tests/test_passes/test_spec.py`, and so on; `tests/support` holds what tests share. Made
by `python docs/generate_files.py`; a test says when it is out of date.
"""


def text() -> str:
    """The whole page."""
    rooms = sorted({path.parent for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")})
    return HEAD + "".join(_section(room) for room in rooms)


def _section(room: Path) -> str:
    title = f"\n## {room.relative_to(ROOT).as_posix()}\n\n"
    about = _sentence(room / "__init__.py") if (room / "__init__.py").exists() else ""
    return title + (textwrap.fill(about, WIDTH, **_KEEP) + "\n\n" if about else "") + "".join(_entries(room))


def _entries(room: Path) -> Iterator[str]:
    for path in sorted(room.glob("*.py")):
        if path.name != "__init__.py":
            line = f"- `{path.name}`: {_sentence(path)}"
            yield textwrap.fill(line, WIDTH, subsequent_indent="  ", **_KEEP) + "\n"


def _sentence(path: Path) -> str:
    """The first paragraph of a file's docstring, in one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text())) or ""
    return " ".join(docstring.split("\n\n")[0].split())


_KEEP = {"break_long_words": False, "break_on_hyphens": False}

if __name__ == "__main__":
    PAGE.write_text(text())
