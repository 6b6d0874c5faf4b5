"""Names of classes in the order of a model's outputs, from a file of the user."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pfir.data.files.foreign import reading, refuse_special
from pfir.errors import DataError

_LARGEST_FILE = 16 << 20  # bytes
_WORDNET = re.compile(r"n\d{8}")
_MOST_CLASSES = 1 << 31
_SHOWN = 5


@dataclass(frozen=True)
class ClassNames:
    """Index of each class by name.

    Args:
        path: The file that they come from.
        count: How many classes it names.
        indices: By name as it is written, and as `plain` makes it; a class may have several names, and a name that
            several classes bear is left out.
    """

    path: str
    count: int
    indices: Mapping[str, int]

    def of(self, folders: Sequence[str], where: str) -> dict[str, int]:
        """The index of each folder of images.

        Raises:
            DataError: The file names no such class, or more than one.
        """
        found = {f: self.indices.get(f, self.indices.get(plain(f))) for f in folders}
        unknown = [f for f, index in found.items() if index is None]
        if unknown:
            shown = ", ".join(unknown[:_SHOWN]) + (f" and {len(unknown) - _SHOWN} more" if unknown[_SHOWN:] else "")
            raise DataError(
                f"{where}: {self.path} names no single class for {len(unknown)} of {len(folders)} folders: {shown}"
            )
        return {f: index for f, index in found.items() if index is not None}


def class_names(path: Path) -> ClassNames:
    """The names in a text file, one a line in the order of the classes, or in a JSON file.

    JSON holds a list of names, an object of indices to names, or one of names to indices; a class of several names has
    a list of them.

    Raises:
        DataError: The file cannot be read as such.
    """
    where = f"--classes {path}"
    refuse_special(path, where)
    with reading(where, "a list of class names, one a line, or JSON"):
        if path.stat().st_size > _LARGEST_FILE:
            raise DataError(f"{where}: is too large for a list of names")
        text = path.read_text("utf-8-sig")
        named = _from_json(json.loads(text), where) if text.lstrip()[:1] in ("[", "{") else _from_lines(text)
    if not named:
        raise DataError(f"{where}: names no classes")
    if max(named) >= _MOST_CLASSES:
        raise DataError(f"{where}: {max(named)} is no index of a class")
    return ClassNames(str(path), 1 + max(named), _by_name(named))


def plain(name: str) -> str:
    """The name without case, and with spaces for underscores and hyphens."""
    return " ".join(name.casefold().replace("_", " ").replace("-", " ").split())


def _from_lines(text: str) -> dict[int, list[str]]:
    """Lines such as `n01440764 tench, Tinca tinca` are known by their first word too."""
    lines = [line.strip() for line in text.rstrip().splitlines()]
    return {i: [line, *_WORDNET.findall(line[:9])] for i, line in enumerate(lines)}


def _from_json(value: object, where: str) -> dict[int, list[str]]:
    if isinstance(value, list):
        return {i: _names(v, where) for i, v in enumerate(value)}
    if isinstance(value, dict) and all(k.isascii() and k.isdigit() for k in value):
        return {int(k): _names(v, where) for k, v in value.items()}
    if isinstance(value, dict) and all(isinstance(v, int) and v >= 0 for v in value.values()):
        named: dict[int, list[str]] = {}
        for name, index in value.items():
            named.setdefault(int(index), []).append(name)
        return named
    raise DataError(f'{where}: expected ["cat", "dog"], {{"0": "cat"}} or {{"cat": 0}}')


def _names(value: object, where: str) -> list[str]:
    given = value if isinstance(value, list) else [value]
    names = [name for name in given if isinstance(name, str)]
    if not names or len(names) < len(given):
        raise DataError(f"{where}: {str(value)[:50]} is no name of a class")
    return names


def _by_name(named: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """ImageNet has two cranes and two maillots: such names say nothing, exact ones say more than plain ones."""
    exact: dict[str, set[int]] = {}
    loose: dict[str, set[int]] = {}
    for index, names in named.items():
        for name in filter(None, names):
            exact.setdefault(name, set()).add(index)
            loose.setdefault(plain(name), set()).add(index)
    return {name: min(found) for name, found in (loose | exact).items() if len(found) == 1}
