import hashlib

import numpy as np
import pytest
from onnx import GraphProto, ModelProto, numpy_helper

from pfir.errors import FrontendError
from pfir.packing import codecs
from pfir.packing.layout import MAGIC
from pfir.packing.packing import pack_model
from pfir.packing.unpacking import HASH_BYTES, HEADER, VERSION, unpack

ARRAY = np.random.default_rng(0).integers(0, 256, 600, np.uint8)
MODEL = ModelProto(graph=GraphProto(initializer=[numpy_helper.from_array(ARRAY, "w")])).SerializeToString()
PACKED = pack_model(MODEL)


def signed(content: bytes) -> bytes:
    """The content without its last bytes, under a hash that fits."""
    return content[:-HASH_BYTES] + hashlib.sha256(content[:-HASH_BYTES]).digest()


def _refusal(content: bytes) -> str:
    with pytest.raises(FrontendError) as caught:
        unpack(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_change_of_any_byte_is_refused():
    for at in range(len(PACKED)):
        _refusal(PACKED[:at] + bytes([PACKED[at] ^ 0x40]) + PACKED[at + 1 :])


def test_a_file_that_ends_anywhere_is_refused():
    for end in range(len(PACKED)):
        _refusal(PACKED[:end])
    _refusal(PACKED + b"\x00")


def test_version_1_is_read_and_version_0_is_none():
    body = MAGIC + (1).to_bytes(2, "little") + PACKED[10:-HASH_BYTES]
    assert unpack(body + hashlib.sha256(body).digest()) == unpack(PACKED)
    body = MAGIC + (0).to_bytes(2, "little") + PACKED[10:-HASH_BYTES]
    assert "header is damaged" in _refusal(body + hashlib.sha256(body).digest())


def test_a_newer_version_is_named():
    newer = MAGIC + (VERSION + 1).to_bytes(2, "little") + PACKED[10:]
    assert f"version {VERSION + 1}" in _refusal(newer)


@pytest.mark.parametrize("fields", [(0, 20, 100), (1, 2**31, 100), (1, 20, 2**31)])
def test_a_header_that_cannot_be_is_refused(fields):
    assert "header" in _refusal(signed(HEADER.pack(MAGIC, *fields) + PACKED[HEADER.size :]))


def _with_directory(change) -> bytes:
    _, version, packed, size = HEADER.unpack_from(PACKED)
    text = codecs.decompress(codecs.ZSTD, PACKED[HEADER.size : HEADER.size + packed], size)
    changed = change(text)
    again = codecs.zstd(changed)
    head = HEADER.pack(MAGIC, version, len(again), len(changed))
    return signed(head + again + PACKED[HEADER.size + packed :])


def test_a_directory_that_is_only_written_anew_is_read():
    assert unpack(_with_directory(lambda text: text)) == (("", MODEL),)


def test_streams_of_another_size_than_the_directory_says_are_refused():
    packed = str(len(ARRAY)).encode()
    changed = _with_directory(lambda text: text.replace(b'"stored",' + packed, b'"stored",1', 1))
    assert "streams have another size" in _refusal(changed)


def test_another_checksum_is_refused():
    assert "checksum" in _refusal(signed(PACKED[: -HASH_BYTES - 1] + b"?" + bytes(HASH_BYTES)))
