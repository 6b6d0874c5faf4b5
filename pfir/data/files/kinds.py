"""What a file is that holds no samples for us, told by its name and how it begins, and what to do with it."""

from __future__ import annotations

from pathlib import Path

_START = 264  # bytes; a tar archive names itself at 257
_SAVE = "numpy.savez(path, x=...)"
_STARTS = (
    (b"\x93NUMPY", "a single .npy array; write the same array with numpy.savez(path, x=..., y=labels)"),
    (b"version https://git-lfs", "a git-lfs pointer; run git lfs pull first"),
    (b"PAR1", f"a Parquet table; read it with pandas.read_parquet and write its columns with {_SAVE}"),
    (b"ARROW1", f"an Arrow table; read it with pyarrow.feather.read_table and write its columns with {_SAVE}"),
    (b"\x80", f"a pickle, and pfir never unpickles; write it with {_SAVE}"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"BZh", "a bzip2 file; unpack it first"),
    (b"\xfd7zXZ", "an xz file; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd file; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it and give the folder"),
    (b"Rar!", "a RAR archive; unpack it and give the folder"),
    (b"\x89HDF", f"an HDF5 file; read it with h5py and write its arrays with {_SAVE}"),
    (b"MATLAB", f"a MATLAB file; read it with scipy.io.loadmat and write its arrays with {_SAVE}"),
    (b"\x89PNG", "a single image; give its folder"),
    (b"\xff\xd8\xff", "a single image; give its folder"),
    (b"BM", "a single image; give its folder"),
    (b"<", "an HTML or XML page, perhaps a failed download"),
)
_TABLE = f"a table as text; read it with pandas.read_csv or numpy.loadtxt and write its columns with {_SAVE}"
_RECORDS = f"TFRecords; read them with tensorflow.data.TFRecordDataset and write the arrays with {_SAVE}"
_ENDINGS = {
    ".csv": _TABLE,
    ".tsv": _TABLE,
    ".json": f"JSON; write its numbers with {_SAVE}",
    ".jsonl": f"JSON lines; write their numbers with {_SAVE}",
    ".tfrecord": _RECORDS,
    ".tfrecords": _RECORDS,
    ".pt": f"a file of PyTorch, and pfir never unpickles; write its tensors with {_SAVE}",
    ".pth": f"a file of PyTorch, and pfir never unpickles; write its tensors with {_SAVE}",
}


def kind_of(path: Path) -> str:
    """What the file is, and what to do; for what is not known, that it is no zip archive."""
    with path.open("rb") as file:
        start = file.read(_START)
    if not start:
        return "empty"
    if start[257:262] == b"ustar":
        return "a tar archive; unpack it and give the folder"
    found = kind_by_start(start)
    if found is None and _is_record(path, start):
        found = _RECORDS
    if found is None and path.suffix.lower() == ".py":
        return f"Python code; name a function of it: --data {path.stem}:FUNCTION"
    return found or kind_by_name(path.name) or "no zip archive (perhaps cut off)"


def kind_by_start(start: bytes) -> str | None:
    """What begins with these bytes, if that is known."""
    return next((name for magic, name in _STARTS if start.startswith(magic)), None)


def kind_by_name(name: str) -> str | None:
    """What bears such a name, if that is known; `train.tfrecord-00000-of-00010` counts as one of TFRecords."""
    if ".tfrecord" in name.lower():
        return _RECORDS
    return _ENDINGS.get(Path(name).suffix.lower())


def _is_record(path: Path, start: bytes) -> bool:
    """Whether the file can begin with a TFRecord: its length, two checksums, and an Example inside (tag 0x0a)."""
    length = int.from_bytes(start[:8], "little")
    return len(start) > 12 and start[12:13] == b"\x0a" and 0 < length <= path.stat().st_size - 16
