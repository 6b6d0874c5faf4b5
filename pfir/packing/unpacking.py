"""Unpacking: a packed file, which may come from anywhere, becomes the files that were packed."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator

from pfir.errors import FrontendError
from pfir.packing import codecs
from pfir.packing.expanding import Expander
from pfir.packing.layout import MAGIC, REST, Directory, PackedFile, parse

VERSION = 2
"""Version 1 lacks integers and places of few bits, and is read, too."""
HEADER = struct.Struct("<8sHII")
"""Magic, version, bytes of the directory as it is packed and as it is not."""
HASH_BYTES = 32
MOST_DIRECTORY_BYTES = 1 << 26


def unpack(content: bytes) -> tuple[tuple[str, bytes], ...]:
    """The files in a packed one, name and content of each; the model is the first and has no name.

    Raises:
        FrontendError: It is none, of a newer version, truncated, or altered anywhere.
    """
    directory, begin = _directory(content)
    streams = _streams(content, directory, begin)
    rest, expander = memoryview(streams.pop(REST, b"")), Expander(directory, streams)
    found = []
    for file in directory.files:
        whole = b"".join(_parts(file, rest[: file.rest_bytes], expander))
        rest = rest[file.rest_bytes :]
        if zlib.crc32(whole) != file.crc32:
            raise FrontendError("what it holds is damaged: its checksum is another one")
        found.append((file.name, whole))
    return tuple(found)


def _directory(content: bytes) -> tuple[Directory, int]:
    """The directory, and where the streams begin; the hash of the whole has been checked then."""
    if not content.startswith(MAGIC) or len(content) < HEADER.size + HASH_BYTES:
        raise FrontendError("it is no packed model, or only the beginning of one")
    _, version, packed, size = HEADER.unpack_from(content)
    if version > VERSION:
        raise FrontendError(f"it is packed in version {version} of the format; this pfir reads up to {VERSION}")
    if hashlib.sha256(memoryview(content)[:-HASH_BYTES]).digest() != content[-HASH_BYTES:]:
        raise FrontendError("it is truncated or altered: its hash is another one")
    begin = HEADER.size + packed
    if version < 1 or size > MOST_DIRECTORY_BYTES or begin + HASH_BYTES > len(content):
        raise FrontendError("its header is damaged")
    return parse(codecs.decompress(codecs.ZSTD, content[HEADER.size : begin], size)), begin


def _streams(content: bytes, directory: Directory, begin: int) -> dict[str, bytes]:
    if begin + sum(s.packed_bytes for s in directory.streams) + HASH_BYTES != len(content):
        raise FrontendError("its streams have another size than its directory says")
    sizes, found = directory.sizes(), {}
    for stream in directory.streams:
        packed = content[begin : begin + stream.packed_bytes]
        found[stream.name] = codecs.decompress(stream.codec, packed, sizes[stream.name])
        begin += stream.packed_bytes
    return found


def _parts(file: PackedFile, rest: memoryview, expander: Expander) -> Iterator[memoryview]:
    """The file, piece by piece: what lies between the tensors, and their values."""
    for entry in file.entries:
        yield rest[: entry.skipped]
        rest = rest[entry.skipped :]
        yield expander.values(entry)
    yield rest
