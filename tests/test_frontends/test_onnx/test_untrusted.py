"""What is no model is named for what it is, before much of it is read."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import zipfile

import numpy as np
import pytest

from tests.test_frontends.files import added, refusal, relu, weight, written


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a", b"b")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html></html>", "HTML"),
        (b"\n  <html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (zipped(), "zip archive"),
        (gzip.compress(relu().SerializeToString()), "gzip"),
        (lzma.compress(relu().SerializeToString()), "xz"),
        (b"\x80\x04\x95abc", "pickle"),
        (b"\x1c\x00\x00\x00TFL3", "TensorFlow Lite"),
        (b"hello, this is text", "plain text"),
        (np.random.default_rng(0).bytes(5000), "no ONNX model"),
        (b"\x08" + np.random.default_rng(1).bytes(5000), "no ONNX model"),
        (relu().SerializeToString()[:-9], "truncated"),
        (b"\x08\x09", "no graph"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_what_is_no_model_is_named_for_what_it_is(tmp_path, content, words):
    assert words in refusal(written(tmp_path, content))


def test_every_truncation_of_a_file_is_refused(tmp_path):
    whole = added(weight()).SerializeToString()
    imports = len(whole) - 4
    for size in range(0, imports, 5):
        refusal(written(tmp_path, whole[:size]))


def test_a_folder_a_missing_file_and_a_pipe_are_named(tmp_path):
    assert "directory" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "none.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    assert "no regular file" in refusal(tmp_path / "pipe.onnx")


def test_an_unreadable_path_is_refused(tmp_path):
    assert "cannot be read" in refusal(tmp_path / ("a" * 300))


def test_a_file_above_2_gib_is_refused_unread(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate((1 << 31) + 1)
    assert "2 GiB" in refusal(path)
