"""Files of other kinds are named for what they are, with what to do."""

import struct

import pytest

from pfir.artifact import TensorSpec
from pfir.data import open_data
from pfir.errors import DataError

FLAT = [TensorSpec("in", "float32", ("N", 4))]
RECORD = struct.pack("<QI", 20, 1) + b"\x0a\x12" + bytes(18) + bytes(4)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.csv", b"1,2,3,4\n", "table as text.*numpy.savez"),
        ("d.tfrecord", RECORD, "TFRecords"),
        ("train-00000-of-00002", RECORD, "TFRecords"),
        ("train.tfrecord-00000-of-00002", b"anything", "TFRecords"),
        ("d.parquet", b"PAR1....", "Parquet.*numpy.savez"),
        ("d.npy", b"\x93NUMPY\x01\x00", "single .npy array.*numpy.savez"),
        ("d.h5", b"\x89HDF\r\n", "HDF5"),
        ("d.mat", b"MATLAB 5.0 MAT-file", "MATLAB"),
        ("d.tar", bytes(257) + b"ustar" + bytes(250), "tar archive"),
        ("d.png", b"\x89PNG\r\n", "single image; give its folder"),
        ("d.py", b"def load(): ...", "--data d:FUNCTION"),
        ("d.bin", b"\x01\x02", "no zip archive"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_data(tmp_path / name, FLAT)


@pytest.mark.parametrize(
    ("written", "right"), [("mydata.py:load", "mydata:load"), ("./sub/mydata.py:load", "sub.mydata:load")]
)
def test_the_file_of_a_function_is_not_its_module(written, right):
    with pytest.raises(DataError, match=f"name the module rather than its file: --data {right}"):
        open_data(written, FLAT)


@pytest.mark.parametrize("path", ["x" * 5000, "a\0b"])
def test_names_that_no_file_can_have_are_refused(path):
    with pytest.raises(DataError):
        open_data(path, FLAT)
