"""Packing: files become one, the values of their tensors each in the smallest form, equal kinds of bytes together."""

from __future__ import annotations

import hashlib
import zlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from pfir.errors import FrontendError, VerifyError
from pfir.packing import codecs
from pfir.packing.forms import Kept, smallest
from pfir.packing.layout import MAGIC, MOST_BYTES, REST, SYMBOLS, Directory, PackedFile, Stream
from pfir.packing.unpacking import HEADER, VERSION, unpack
from pfir.packing.wire import File, values_within


def pack_model(content: bytes) -> bytes:
    """A serialized ONNX model, packed; the values of its tensors must lie in it.

    Raises:
        FrontendError: It is no ONNX model, or has values elsewhere.
    """
    within, outside = values_within(content)
    if outside:
        raise FrontendError(f"the values of {outside[0].name!r} lie outside the model")
    return pack((File("", content, tuple(within)),))


def graph_bytes(content: bytes) -> int:
    """How many bytes of a packed model are its graph: all but the values of its tensors.

    Raises:
        FrontendError: The content is no ONNX model.
    """
    rest = b"".join(_rest(File("", content, tuple(values_within(content)[0]))))
    return len(codecs.compress(rest, False)[1])


def pack(files: Sequence[File]) -> bytes:
    """The packed files, the model first; `unpack` gives them back to the byte.

    Raises:
        FrontendError: They are larger than a packed file may be.
        VerifyError: They would not come back.
    """
    if (size := sum(len(f.content) for f in files)) > MOST_BYTES:
        raise FrontendError(f"the model takes {size / 2**30:.1f} GiB with its external data; at most 4 GiB are packed")
    kept = [[smallest(np.frombuffer(f.content, f"<u{v.width}", v.count, v.start)) for v in f.values] for f in files]
    listed = tuple(_listed(file, of_file) for file, of_file in zip(files, kept, strict=True))
    packed = _assembled(listed, _streams(files, [k for of_file in kept for k in of_file]))
    if unpack(packed) != tuple((f.name, f.content) for f in files):
        raise VerifyError("the packed model would not come back as it was, so nothing is written")
    return packed


def _listed(file: File, kept: Iterable[Kept]) -> PackedFile:
    before = (0, *(v.end for v in file.values))
    entries = (
        replace(k.entry, skipped=v.start - end) for k, v, end in zip(kept, file.values, before[:-1], strict=True)
    )
    return PackedFile(file.name, len(file.content), zlib.crc32(file.content), tuple(entries))


def _streams(files: Sequence[File], kept: Iterable[Kept]) -> dict[str, bytes]:
    parts: dict[str, list[bytes]] = defaultdict(list)
    parts[REST] = [part for file in files for part in _rest(file)]
    for each in kept:
        for name, part in each.parts.items():
            parts[name].append(part)
    return {name: whole for name, of_name in parts.items() if (whole := b"".join(of_name))}


def _rest(file: File) -> list[bytes]:
    """What lies between the values of tensors."""
    starts = (0, *(v.end for v in file.values))
    ends = (*(v.start for v in file.values), len(file.content))
    return [file.content[start:end] for start, end in zip(starts, ends, strict=True)]


def _assembled(files: tuple[PackedFile, ...], streams: dict[str, bytes]) -> bytes:
    packed = {name: codecs.compress(content, name in SYMBOLS) for name, content in streams.items()}
    listed = tuple(Stream(name, codec, len(content)) for name, (codec, content) in packed.items())
    text = Directory(files, listed).dump()
    directory = codecs.zstd(text)
    head = HEADER.pack(MAGIC, VERSION, len(directory), len(text))
    whole = b"".join((head, directory, *(content for _, content in packed.values())))
    return whole + hashlib.sha256(whole).digest()
