"""Files that anybody may have made end in samples or in a DataError of one line, never in anything else."""

import io
import os
import socket
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from pfir.artifact import TensorSpec
from pfir.data import open_data, parse_preprocess
from pfir.data.classes import class_names
from pfir.data.files.foreign import reading
from pfir.errors import DataError, UsageError
from pfir.train import checkpoint

FLAT = [TensorSpec("in", "float32", ("N", 4))]
IMAGES = [TensorSpec("x", "float32", ("N", 3, 8, 8))]
PLAIN = parse_preprocess("scale=1")


def npz(save, **arrays) -> bytes:
    content = io.BytesIO()
    save(content, **arrays)
    return content.getvalue()


def picture(kind: str) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, kind)
    return content.getvalue()


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return content.getvalue()


def npy(header: bytes, data: bytes = b"") -> bytes:
    """An .npy file with this header, whatever it says."""
    padded = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded + data


def damaged(content: bytes, rng) -> bytes:
    """The bytes with a few of them flipped, replaced, left out or doubled."""
    changed = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(len(changed))), rng.integers(4)
        if kind == 0:
            changed[at] ^= 1 << rng.integers(8)
        elif kind == 1:
            token = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"(", b"'", b"\x80", b"999999999"][rng.integers(6)]
            changed[at : at + len(token)] = token
        elif kind == 2:
            del changed[at : at + int(rng.integers(1, 20))]
        else:
            changed[at:at] = changed[at : at + 10]
    return bytes(changed)


def as_npz(path, content):
    path.with_suffix(".npz").write_bytes(content)
    return open_data(path.with_suffix(".npz"), FLAT)


def as_zip(path, content):
    path.with_suffix(".zip").write_bytes(content)
    return open_data(path.with_suffix(".zip"), IMAGES, PLAIN)


def as_image(path, content):
    path.mkdir(exist_ok=True)
    (path / "a.png").write_bytes(content)
    return open_data(path, IMAGES, PLAIN)


def as_classes(path, content):
    path.with_suffix(".txt").write_bytes(content)
    class_names(path.with_suffix(".txt"))
    return ()


def as_checkpoint(path, content):
    path.with_suffix(".npz").write_bytes(content)
    found = checkpoint.load(path.with_suffix(".npz"), "k")
    if found.note is not None:
        raise DataError(found.note)
    return ()


def saved_checkpoint(folder) -> bytes:
    checkpoint.save(folder / "c.npz", checkpoint.State({"now/x": np.arange(9.0)}, {"key": "k", "step": 1}))
    return (folder / "c.npz").read_bytes()


X = np.ones((6, 4), np.float32)
WHOLE = {
    "npz": (as_npz, lambda _: npz(np.savez, x=X, y=np.arange(6))),
    "deflated": (as_npz, lambda _: npz(np.savez_compressed, x=X, y=np.arange(6))),
    "zip": (as_zip, lambda _: archive({"0/a.png": picture("PNG"), "1/b.jpg": picture("JPEG")})),
    **{kind: (as_image, lambda _, kind=kind: picture(kind)) for kind in ("PNG", "JPEG", "BMP", "WEBP", "TIFF", "PPM")},
    "classes": (as_classes, lambda _: b'{"0": "cat", "1": ["dog", "hound"]}'),
    "checkpoint": (as_checkpoint, saved_checkpoint),
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of damaged TIFF tags
def test_damage_is_read_or_refused_in_one_line(tmp_path, kind):
    opened, made = WHOLE[kind]
    whole, rng = made(tmp_path), np.random.default_rng(len(kind))
    opened(tmp_path / "d", whole)
    for _ in range(60):
        try:
            data = opened(tmp_path / "d", damaged(whole, rng))
            for index in range(len(data)):
                data.batch(np.array([index]))
        except DataError as error:
            assert "\n" not in str(error) and " at 0x" not in str(error)


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (6, 4), }'",
        b"{'descr': [], 'fortran_order': False, 'shape': (6, 4), }",
        b"{'descr': (), 'fortran_order': False, 'shape': (6, 4), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (True, 96), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-6, -4), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999999, 0), }",
        b"[" * 90,
        b"\xff\xfe",
    ],
)
def test_headers_of_arrays_that_say_nonsense_are_refused(tmp_path, header):
    with pytest.raises(DataError, match="array x"):
        as_npz(tmp_path / "d", archive({"x.npy": npy(header, bytes(96))}))


def test_what_a_reader_says_is_kept_short_and_without_addresses():
    with pytest.raises(DataError) as raised, reading("f", "an image"):
        raise ValueError(f"malformed node: {object()}" + "\n" + "x" * 1000)
    assert "at 0x" not in str(raised.value) and len(str(raised.value)) < 250 and "\n" not in str(raised.value)


def test_our_own_errors_pass_as_they_are():
    with pytest.raises(UsageError, match="^ours$"), reading("f", "an image"):
        raise UsageError("ours")


@pytest.mark.parametrize("name", ["d.npz", "d.zip", "d"])
def test_a_pipe_is_refused_rather_than_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="is a pipe"):
        open_data(tmp_path / name, FLAT)
    with pytest.raises(DataError, match="is a pipe"):
        class_names(tmp_path / name)


def test_devices_and_sockets_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is a device"):
        open_data("/dev/zero", FLAT)
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind("s")
        with pytest.raises(DataError, match="is a socket"):
            open_data("s", FLAT)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("pfir.data.files.stored._BOMB_BYTES", 1 << 10)
    with pytest.raises(DataError, match="zip bomb"):
        as_npz(tmp_path / "d", npz(np.savez_compressed, x=np.zeros((300_000, 4), np.float32)))
    honest = npz(np.savez_compressed, x=np.random.default_rng(0).standard_normal((3000, 4)).astype(np.float32))
    assert len(as_npz(tmp_path / "d", honest)) == 3000


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_members_packed_in_rare_ways_are_refused(tmp_path, method):
    with pytest.raises(DataError, match="pack it stored or deflated"):
        as_npz(tmp_path / "d", archive({"x.npy": npz(np.save, arr=X)}, method))


def test_an_encrypted_member_is_refused(tmp_path):
    content = bytearray(archive({"x.npy": npz(np.save, arr=X)}))
    for start in (content.index(b"PK\x03\x04") + 6, content.index(b"PK\x01\x02") + 8):
        content[start] |= 1
    with pytest.raises(DataError, match="without a password"):
        as_npz(tmp_path / "d", bytes(content))
