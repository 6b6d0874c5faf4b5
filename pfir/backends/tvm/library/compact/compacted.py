"""The object files of a library with its constants in the cheapest form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pfir.artifact import LinkedConstants
from pfir.backends.tvm.library.compact.choice import PLAIN, Price, cheapest
from pfir.backends.tvm.library.compact.elf import symbol_bytes
from pfir.backends.tvm.library.compact.forms import Dense, LinkedForm
from pfir.backends.tvm.library.compact.source import SYMBOL, source_of
from pfir.backends.tvm.lowering.values import Transformed
from pfir.errors import CompileError
from pfir.instructions import NOTHING

_CODE_BYTES = 4096
"""About what the code that expands takes in a library, so that saving less is not worth it."""
_SMALL_BYTES = 64
"""Constants that are smaller stay as they are."""


@dataclass(frozen=True)
class Constants:
    """The constants of a library.

    Args:
        arrays: All of them, as kernels read them.
        transformed: Those that were computed of smaller ones.
    """

    arrays: Sequence[np.ndarray]
    transformed: Sequence[Transformed] = ()

    def forms(self, price: Price) -> dict[bytes, LinkedForm]:
        """The cheapest form of each by its bytes; those that are linked as they are left out."""
        sources = {each.points.tobytes(): each for each in self.transformed}
        large = {array.tobytes(): array for array in self.arrays if array.nbytes >= _SMALL_BYTES}
        found = {content: cheapest(array, price, sources.get(content)) for content, array in large.items()}
        return {content: form for content, form in found.items() if not isinstance(form, Dense)}


def compacted(
    objects: Sequence[str], constants: Constants, price: Price, folder: Path
) -> tuple[list[str], LinkedConstants]:
    """Files to link in place of object files, with source that makes the same bytes when the library is loaded, where
    that is cheaper; beside them how large the constants are.

    Args:
        objects: As TVM wrote them.
        folder: For what is written.

    Raises:
        CompileError: None of them has what TVM's runtime reads.
    """
    path, content = _with_constants(objects)
    if price.byte_s == PLAIN:
        return list(objects), LinkedConstants(len(content), len(content))
    forms = _cut(content, constants.forms(price))
    source, seconds = source_of(forms), sum(map(price.seconds, forms))
    if price.byte_s * (len(source.data) + _CODE_BYTES) + seconds >= price.byte_s * len(content):
        return list(objects), LinkedConstants(len(content), len(content))
    written = str(source.written(folder))
    instructions = round(sum((form.instructions for form in forms), NOTHING).total)
    linked = LinkedConstants(len(content), len(source.data), instructions, seconds)
    return [written if each == path else each for each in objects], linked


def _with_constants(objects: Sequence[str]) -> tuple[str, bytes]:
    """The object file that holds constants, and these as TVM's runtime reads them, with what it reads beside them."""
    for path in objects:
        content = symbol_bytes(Path(path).read_bytes(), SYMBOL)
        if content is not None:
            return path, content
    raise CompileError(f"none of TVM's {len(objects)} object files has the symbol {SYMBOL}; another TVM is installed")


def _cut(content: bytes, forms: Mapping[bytes, LinkedForm]) -> list[LinkedForm]:
    """All of the content: constants in their forms wherever their bytes are, what lies between them as it is."""
    places = sorted((content.find(constant), constant) for constant in forms)
    found: list[LinkedForm] = []
    end = 0
    for at, constant in places:
        if at >= end:
            found += [_bytes(content[end:at]), forms[constant]]
            end = at + len(constant)
    return [*found, _bytes(content[end:])]


def _bytes(content: bytes) -> Dense:
    return Dense(np.frombuffer(content, np.uint8))
