"""Files that may have been meant where one does not exist."""

from __future__ import annotations

import difflib
import itertools
from pathlib import Path

MOST_LOOKED_AT = 2000
MOST_NAMED = 3


def nearby(path: Path) -> str:
    """What to add to "does not exist": the files with names like it, else the models in its folder, else nothing."""
    folder = path.parent
    if not folder.is_dir():
        return f": there is no folder {str(folder)!r}"
    try:
        names = sorted(p.name for p in itertools.islice(folder.iterdir(), MOST_LOOKED_AT) if p.is_file())
    except OSError:  # a folder that may not be listed tells nothing
        return ""
    close = difflib.get_close_matches(path.name, names, n=MOST_NAMED)
    if close:
        return f"; did you mean {' or '.join(map(repr, close))}?"
    models = [name for name in names if name.endswith(".onnx")][:MOST_NAMED]
    return f"; beside it lies {', '.join(map(repr, models))}" if models else ""
