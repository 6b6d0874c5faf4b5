import json

import pytest

from pfir.errors import FrontendError
from pfir.packing.layout import ALL, BITMAP, GAPS, HALF, PALETTE, PLANES, Directory, Entry, PackedFile, Stream, parse

ENTRY = Entry(100, 4, ALL, PLANES, 100, skipped=10)
FILE = PackedFile("", 450, 7, (ENTRY,))
STREAMS = (*(Stream(f"planes4.{plane}", "stored", 100) for plane in range(4)), Stream("rest", "zstd", 50))
DIRECTORY = Directory((FILE,), STREAMS)


def test_a_directory_comes_back():
    assert parse(DIRECTORY.dump()) == DIRECTORY


def test_sizes_of_streams_follow_from_the_tensors():
    sparse = Entry(100, 4, BITMAP, PALETTE, 30, palette=3)
    assert sparse.streams() == {"palette4": 12, "indices": 30, "bitmap": 13}
    assert Directory((PackedFile("", 400, 0, (sparse,)),), ()).sizes() == sparse.streams()


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"[]", b"null", b"{}", b'{"files":[[1]],"streams":[]}', b"[" * 100_000, b"\xff", b"1" * 5000],
)
def test_what_is_no_directory_is_refused(text):
    with pytest.raises(FrontendError, match="no list of files and streams"):
        parse(text)


def _changed(**fields) -> bytes:
    return Directory((PackedFile("", 450, 7, (Entry(**{**vars(ENTRY), **fields}),)),), STREAMS).dump()


@pytest.mark.parametrize(
    "fields",
    [
        {"count": -1},
        {"count": 101},
        {"kept": 101},
        {"width": 3},
        {"places": "nowhere"},
        {"values": "tables"},
        {"palette": 257},
        {"gaps": 101},
        {"places": GAPS, "kept": 26},
        {"skipped": -1},
        {"count": 2**31, "kept": 2**31},
        {"values": HALF, "width": 8},
        {"values": "integers5"},
        {"values": "digits3", "width": 1},
        {"values": "digits3", "width": 1, "count": 99, "kept": 90, "places": BITMAP},
    ],
    ids=str,
)
def test_a_tensor_that_cannot_be_is_refused(fields):
    with pytest.raises(FrontendError, match="a tensor that cannot be"):
        parse(_changed(**fields))


@pytest.mark.parametrize("fields", [{"count": "1"}, {"kept": 1.5}, {"width": None}, {"places": 1}, {"skipped": True}])
def test_a_value_of_another_type_is_refused(fields):
    with pytest.raises(FrontendError, match="another type"):
        parse(_changed(**fields))


def _of(files, streams=STREAMS) -> bytes:
    return Directory(tuple(files), tuple(streams)).dump()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (_of([PackedFile("", 409, 7, (ENTRY,))]), "a file larger"),
        (_of([PackedFile("", 2**40, 7, (ENTRY,))]), "a file larger"),
        (_of([]), "no model"),
        (_of([PackedFile("x", 450, 7, (ENTRY,))]), "no model"),
        (_of([PackedFile(name, 2**32, 7, ()) for name in ("", "x")]), "more than 4 GiB"),
        (_of([FILE, FILE]), "two files of one name"),
        (_of([FILE], STREAMS[1:]), "other streams"),
        (_of([FILE], (*STREAMS, STREAMS[0])), "other streams"),
        (_of([FILE], (*STREAMS[:4], Stream("rest", "zstd", -1))), "other streams"),
    ],
)
def test_files_and_streams_that_contradict_each_other_are_refused(text, found):
    with pytest.raises(FrontendError, match=found):
        parse(text)


def test_the_directory_is_json():
    assert set(json.loads(DIRECTORY.dump())) == {"files", "streams"}
