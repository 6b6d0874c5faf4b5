"""Cases of damaged data: arrays, archives, images, folders and functions."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.fuzz.case import Base, Case, chance, pick
from benchmarks.fuzz.damage import damaged

_FORMATS = (
    ("png", "PNG"),
    ("jpg", "JPEG"),
    ("bmp", "BMP"),
    ("webp", "WEBP"),
    ("ppm", "PPM"),
    ("tif", "TIFF"),
    ("gif", "GIF"),
)
_MODES = ("RGB", "RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "F", "LA", "YCbCr")
_PREPROCESS = (
    "scale=1/255",
    "imagenet",
    "scale=1/255,resize=16",
    "resize=16x16,crop=16",
    "crop=500",
    "scale=1/0",
    "scale=nan",
    "mean=1:2",
    "std=0",
    "layout=nhwc",
    "resize=100000x100000",
    "",
    ",",
    "scale",
    "scale=1/255,scale=2",
)
_DTYPES = ("<f4", "<f8", "<f2", ">f4", "<i8", "<u1", "|b1", "<U8", "|S3", "<c8", "<M8[s]", "|V4", "|O", "<m8[ns]", "<g")
_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, 16, 16), }",
    "{'descr': '<f4'}",
    "{}",
    "[]",
    "1",
    "{'a': [[[",
    "{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': 4}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (2.5,)}",
    "{'descr': [('a', '<f4'), ('b', 'O')], 'fortran_order': False, 'shape': (4,)}",
    "{'descr': 'nonsense', 'fortran_order': False, 'shape': (4,)}",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9999999999)}",
    "__import__('os').system('true')",
    "(" * 300,
    "{'descr': '<f4', 'fortran_order': True, 'shape': (True, 3)}",
    "{'descr': None, 'fortran_order': False, 'shape': ()}",
    "\\",
    "'",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3, 16, 16)",
    "{'descr': ('<f4', (2,)), 'fortran_order': False, 'shape': (4,)}",
)
_FUNCTIONS = (
    "raise SystemExit(0)",
    "raise SystemExit('bye')",
    "raise KeyboardInterrupt",
    "raise ValueError('no')",
    "raise MemoryError",
    "return None",
    "return 1",
    "return []",
    "return {}",
    "return {'x': None}",
    "return np.zeros((4, 3, 16, 16))",
    "return (1, 2, 3)",
    "return np.zeros((4, 3, 16, 16), np.float32), np.arange(4)",
    "return np.zeros((4, 3, 16, 16), np.float32), np.arange(9)",
    "return np.zeros((4, 3, 16, 16), object)",
    "return {'in0': np.zeros((4, 3, 16, 16), np.float32), 'y': np.array(['a'] * 4)}",
    "yield np.zeros((2, 3, 16, 16), np.float32); yield np.zeros((2, 3, 8, 8), np.float32)",
    "yield 1; raise SystemExit",
    "return 'text'",
    "return b'bytes'",
    "return f",
    "return lambda: 1",
    "return np.full((4, 3, 16, 16), np.nan, np.float32)",
    "return [[1, 2], [3]]",
    "return {1: np.zeros(4)}",
    "return np.zeros((0, 3, 16, 16), np.float32)",
    "return iter([])",
    "return type('D', (), {'shape': (4,), '__len__': lambda s: 4})()",
    "import sys; sys.exit(3)",
    "return np.float32(3)",
    "return f()",
    "return {'x': np.zeros((4, 3, 16, 16), np.float32), 'y': np.array([0, 1, 99, 2])}",
    "assert False",
    "raise BaseException('base')",
    "raise GeneratorExit",
    "raise StopIteration",
    "return {'y': np.arange(4)}",
    "x = 1/0",
)
_PLACES = (
    "d:f",
    "d:g",
    "d:",
    ":f",
    "d.py:f",
    "e:f",
    "d:f:f",
    "os:getcwd",
    "no.such:f",
    "./d:f",
    "d f",
    "sys:exit",
    "math:pi",
    "d:__name__",
)


def make(rng: np.random.Generator, folder: Path, base: Base) -> Case:
    """Data of some form, and `evaluate` on it."""
    kind = pick(rng, _KINDS)
    place, note = kind(rng, folder, base)
    words = ["evaluate", str(base.folder / "net.onnx"), "--data", place, "--jobs", "1"]
    if chance(rng, 0.6 if kind in _IMAGES else 0.1):
        words += ["--preprocess", "scale=1/255" if chance(rng, 0.7) else pick(rng, _PREPROCESS)]
    return Case(tuple(words), note)


def _npz(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    """An archive of arrays, its bytes damaged."""
    buffer = io.BytesIO()
    save = np.savez_compressed if chance(rng, 0.5) else np.savez
    save(buffer, x=rng.standard_normal((3, 3, 16, 16)).astype(np.float32), y=np.arange(3))
    (folder / "d.npz").write_bytes(_near_the_ends(rng, buffer.getvalue()))
    return "d.npz", "npz, bytes"


def _near_the_ends(rng: np.random.Generator, content: bytes) -> bytes:
    """Damage where archives keep their tables and headers, as often as anywhere."""
    where = pick(rng, ("start", "end", "any"))
    if where == "start":
        return damaged(rng, content[:300]) + content[300:]
    return content[:-300] + damaged(rng, content[-300:]) if where == "end" else damaged(rng, content)


def _arrays(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    """Sound arrays that suit nothing."""
    arrays = {
        name: _array(rng)
        for name in pick(rng, (("x", "y"), ("x",), ("in0", "y"), ("a", "b"), ("x", "y", "z"), ("y",), ("in0", "in1")))
    }
    np.savez(folder / "d.npz", **arrays)
    return "d.npz", "npz of " + ", ".join(f"{k} {a.dtype} {list(a.shape)}" for k, a in arrays.items())


def _array(rng: np.random.Generator) -> np.ndarray:
    shape = pick(
        rng,
        (
            (4, 3, 16, 16),
            (4, 16, 16, 3),
            (4, 16, 16),
            (4, 768),
            (4,),
            (),
            (0, 3, 16, 16),
            (4, 3, 16, 15),
            (1,),
            (4, 5),
            (4, 1),
        ),
    )
    dtype = pick(
        rng, (np.float32, np.float32, np.float64, np.uint8, np.int64, np.int32, np.bool_, np.complex64, np.float16)
    )
    array = (rng.standard_normal(shape) * 100).astype(dtype)
    if array.dtype.kind == "f" and array.size and chance(rng, 0.2):
        array.flat[0] = pick(rng, (np.nan, np.inf, -np.inf, 1e30))
    return array.astype("U8") if chance(rng, 0.05) else array


def _headers(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    """An archive whose array has a strange header, sound otherwise."""
    text = pick(rng, _HEADERS)
    if chance(rng, 0.3):
        text = _HEADERS[0].replace("<f4", pick(rng, _DTYPES))
    if chance(rng, 0.3):
        text = damaged(rng, text.encode(), 2).decode("latin1")
    version = pick(rng, ((1, 0), (2, 0), (3, 0), (4, 0), (0, 0)))
    raw = text.encode("latin1") + b"\n"
    width = 2 if version == (1, 0) else 4
    size = len(raw) if chance(rng, 0.9) else pick(rng, (0, 1, 65535, len(raw) - 1))
    content = b"\x93NUMPY" + bytes(version) + size.to_bytes(width, "little") + raw + bytes(4 * 4 * 768)
    with zipfile.ZipFile(folder / "d.npz", "w", pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        archive.writestr(pick(rng, ("x.npy", "in0.npy", "../x.npy", ".npy", "a/x.npy")), content)
    return "d.npz", f"npy header {text[:80]}"


def _deflate_bomb(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    """An array that unpacks to much more than it is stored in, told truly or not."""
    rows = pick(rng, (4, 1000, 40000))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 3, 16, 16), }}".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(folder / "d.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content + bytes(min(rows, 4000) * 3072))
        if chance(rng, 0.3):
            archive.writestr("x.npy", content)
    return "d.npz", f"deflated zeros of {rows} rows"


def _method(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    """Members of compression methods that are rare, encrypted or unknown."""
    with zipfile.ZipFile(
        folder / "d.zip", "w", pick(rng, (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_DEFLATED))
    ) as archive:
        archive.writestr(pick(rng, ("x.npy", "a/1.png")), _image(rng)[0] if chance(rng, 0.5) else rng.bytes(5000))
    content = bytearray((folder / "d.zip").read_bytes())
    flag = pick(rng, ("none", "encrypted", "unknown"))
    central = content.rfind(b"PK\x01\x02")
    for at in (6, central + 8) if flag == "encrypted" else (8, central + 10) if flag == "unknown" else ():
        content[at] = content[at] | 1 if flag == "encrypted" else int(rng.integers(256))
    (folder / "d.zip").write_bytes(_near_the_ends(rng, bytes(content)) if chance(rng, 0.5) else bytes(content))
    return "d.zip", f"zip, {flag}"


def _image(rng: np.random.Generator) -> tuple[bytes, str]:
    """An image file's content and its ending."""
    ending, name = pick(rng, _FORMATS)
    size = pick(rng, ((16, 16), (16, 16), (17, 9), (1, 1), (64, 64)))
    image = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
    for mode in (pick(rng, _MODES), "RGB"):
        buffer = io.BytesIO()
        try:
            image.convert(mode).save(buffer, name)
        except (OSError, ValueError):  # this format has no such mode
            continue
        return buffer.getvalue(), ending
    return b"", ending


def _maybe_damaged(rng: np.random.Generator, share: float) -> tuple[bytes, str]:
    content, ending = _image(rng)
    if chance(rng, share):
        content = damaged(rng, content, 3) if chance(rng, 0.6) else damaged(rng, content[:64], 2) + content[64:]
    return content, ending if chance(rng, 0.95) else pick(rng, _FORMATS)[0]


def _image_zip(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    with zipfile.ZipFile(folder / "d.zip", "w", pick(rng, (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for k in range(int(rng.integers(1, 6))):
            content, ending = _maybe_damaged(rng, 0.3)
            archive.writestr(_inside(rng, k, ending), content)
    if chance(rng, 0.5):
        (folder / "d.zip").write_bytes(_near_the_ends(rng, (folder / "d.zip").read_bytes()))
    return "d.zip", "zip of images"


def _inside(rng: np.random.Generator, k: int, ending: str) -> str:
    place = pick(
        rng,
        (
            "{k}/i.{e}",
            "a/{k}.{e}",
            "b/{k}.{e}",
            "{k}/i.{e}",
            "../{k}.{e}",
            "/{k}.{e}",
            "x/y/{k}/i.{e}",
            "{k}.{e}",
            "007/{k}.{e}",
            "99999999999999999999/{k}.{e}",
            "-1/{k}.{e}",
            "\u0663/{k}.{e}",
            "a\\{k}.{e}",
            "{k}/i.{e}/",
        ),
    )
    return place.format(k=k, e=ending)


def _image_folder(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    note = ["folder of images"]
    for k in range(int(rng.integers(1, 6))):
        content, ending = _maybe_damaged(rng, 0.3)
        path = (
            folder / "d" / pick(rng, ("0", "1", "a", "b", ".", "a/b", "10", "-1", "0 1", "\x1b[1m")) / f"{k}.{ending}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if chance(rng, 0.5):
        note.append(_oddity(rng, folder / "d"))
    return "d", ", ".join(note)


def _oddity(rng: np.random.Generator, place: Path) -> str:
    kind = pick(
        rng, ("pipe", "link out", "loop", "dangling", "device", "folder.png", "name", "empty", "bytes", "unreadable")
    )
    inner = place / "0"
    inner.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(inner / "p.png")
    elif kind == "link out":
        (inner / "o.png").symlink_to(pick(rng, ("/etc/passwd", "../../../..", "/dev/zero")))
    elif kind == "loop":
        (inner / "l").symlink_to(place, target_is_directory=True)
        (inner / "s.png").symlink_to("s.png")
    elif kind == "dangling":
        (inner / "n.png").symlink_to("nowhere.png")
    elif kind == "device":
        (inner / "z.png").symlink_to("/dev/zero")
    elif kind == "folder.png":
        (inner / "f.png").mkdir(exist_ok=True)
    elif kind == "name":
        (inner / pick(rng, ("a\nb.png", "\u202e.png", "x" * 250 + ".png", " .png", "'.png"))).write_bytes(
            _image(rng)[0]
        )
    elif kind == "empty":
        (inner / "e.png").touch()
    elif kind == "bytes":
        Path(os.fsdecode(os.fsencode(inner) + b"/\xff\xfe.png")).write_bytes(_image(rng)[0])
    else:
        (inner / "u.png").touch(mode=0)
    return kind


def _function(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    body = pick(rng, _FUNCTIONS)
    head = pick(rng, ("", "", "", "", "", "raise SystemExit(0)\n", "import nowhere\n", "def\n", "1/0\n"))
    (folder / "d.py").write_text(f"import numpy as np\n{head}\ndef f():\n    {body}\n")
    return "d:f" if chance(rng, 0.85) else pick(rng, _PLACES), f"function: {head.strip()} {body}"


def _something(rng: np.random.Generator, folder: Path, base: Base) -> tuple[str, str]:
    """A file that is no data at all, or no file."""
    name = pick(rng, _NAMES)
    if name == "pipe":
        os.mkfifo(folder / name)
    elif name.startswith(("d", "\x1b")):
        (folder / name).write_bytes(pick(rng, _STARTS) + rng.bytes(int(rng.integers(0, 200))))
    return name, "something else"


_NAMES = (
    "d.npz",
    "d.npy",
    "d.csv",
    "d.zip",
    "d",
    "d.png",
    "d.tfrecord",
    "d.h5",
    "d.pkl",
    "\x1b[31m.npz",
    "x" * 300,
    "",
    ".",
    "/",
    "/dev/zero",
    "pipe",
)
_STARTS = (
    b"",
    b"PK\x03\x04",
    b"\x93NUMPY\x01\x00",
    b"<html>",
    b"a,b\n1,2\n",
    b"\x80\x04",
    b"PK\x05\x06" + bytes(18),
    b"\x1f\x8b",
    b"\x89HDF\r\n",
)
_IMAGES = (_image_zip, _image_folder)
_KINDS = (
    *(_npz,) * 6,
    *(_headers,) * 3,
    *(_arrays,) * 3,
    *(_image_zip,) * 4,
    *(_image_folder,) * 4,
    *(_function,) * 2,
    _method,
    _something,
    _deflate_bomb,
)
