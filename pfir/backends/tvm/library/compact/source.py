"""The C source and the data that a library's constants are made of when it is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np

from pfir.backends.tvm.library.compact.forms import Coded, Dense, Kernels, LinkedForm, Sparse

SYMBOL = "__tvm_ffi__library_bin"
"""What TVM's runtime reads all that is no code from."""
_ALIGNED = 8
_BEYOND = 8  # bytes that may be read behind the end of what is read
_SOURCE = "constants.c"
_DATA = "constants.bin"
_TEXT = """
__asm__(".pushsection .rodata\\n.balign 16\\ndata:\\n.incbin \\"{path}\\"\\n.popsection");
extern const uint8_t data[] __attribute__((visibility("hidden")));

static uint8_t scratch[{scratch}] __attribute__((aligned(16)));

/* Of data with SHA-256 {hash}. */
uint8_t {symbol}[{size}] __attribute__((aligned(16), visibility("default")));

__attribute__((constructor)) static void expand(void) {{
    uint8_t *const out = {symbol};
{calls}
}}
"""


@dataclass
class Source:
    """The text and the data so far."""

    calls: list[str] = field(default_factory=list)
    data: bytearray = field(default_factory=bytearray)
    scratch: int = 1
    size: int = 0

    def add(self, form: LinkedForm) -> None:
        """Put a constant behind those that are there."""
        self._write(form, f"out + {self.size}", 0)
        self.size += form.expanded_bytes

    def written(self, folder: Path) -> Path:
        """The file of C source in a folder, its data beside it."""
        data, path = bytes(self.data) + bytes(_BEYOND), folder / _DATA
        path.write_bytes(data)
        text = _TEXT.format(
            path=str(path).replace("\\", "\\\\\\\\").replace('"', '\\\\\\"'),
            scratch=self.scratch + _BEYOND,
            hash=hashlib.sha256(data).hexdigest(),  # zig's cache does not look into the data
            symbol=SYMBOL,
            size=self.size,
            calls="\n".join(self.calls),
        )
        source = folder / _SOURCE
        source.write_text(files(__package__).joinpath("expand.c").read_text(encoding="utf-8") + text, encoding="utf-8")
        return source

    def _write(self, form: LinkedForm, to: str, taken: int) -> None:
        """Write the calls that expand a form, of the scratch memory so many bytes being in use."""
        if isinstance(form, Dense):
            self.calls.append(f"    memcpy({to}, {self._stored(form.array)}, {form.size_bytes});")
        elif isinstance(form, Coded):
            codes, book, width = self._stored(form.codes), self._stored(form.book), 8 * form.book.itemsize
            self.calls.append(f"    take_value{width}({to}, {codes}, {book}, {form.bits}, {form.count});")
        elif isinstance(form, Sparse):
            values, bitmap = self._read(form.values, taken), self._stored(form.bitmap)
            self.calls.append(f"    spread_value{8 * form.width}({to}, {bitmap}, {values}, {form.count});")
        elif isinstance(form, Kernels):
            kernels = self._read(form.kernels, taken)
            self.calls.append(f"    {form.function}({to}, {kernels}, {form.blocks}, {form.size});")

    def _read(self, form: LinkedForm, taken: int) -> str:
        """Where another expansion reads a form: dense bytes as they lie, others from the scratch memory."""
        if isinstance(form, Dense):
            return self._stored(form.array)
        end = taken + -(-form.expanded_bytes // _ALIGNED) * _ALIGNED
        self._write(form, f"scratch + {taken}", end)
        self.scratch = max(self.scratch, end)
        return f"scratch + {taken}"

    def _stored(self, array: np.ndarray) -> str:
        self.data += bytes(-len(self.data) % _ALIGNED)
        at = len(self.data)
        self.data += np.ascontiguousarray(array).tobytes()
        return f"data + {at}"


def source_of(forms: Sequence[LinkedForm]) -> Source:
    """The source of constants that lie one behind the other."""
    source = Source()
    for form in forms:
        source.add(form)
    return source
