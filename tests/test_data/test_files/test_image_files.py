"""Images are read from regular files of the folder alone."""

import os
import stat
import zipfile

import numpy as np
import pytest
from PIL import Image

from pfir.artifact import TensorSpec
from pfir.data import open_data, parse_preprocess
from pfir.errors import DataError

SPEC = [TensorSpec("x", "float32", ("N", 3, 8, 8))]


@pytest.fixture
def folder(tmp_path):
    """A folder of two classes, and an image outside of it."""
    for place in ("in/0", "in/1"):
        (tmp_path / place).mkdir(parents=True)
    for name in ("in/0/a.png", "in/1/b.png", "secret.png"):
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name)
    return tmp_path / "in"


def opened(folder):
    return open_data(folder, SPEC, parse_preprocess("scale=1"))


def test_a_link_out_of_the_folder_is_refused(folder):
    (folder / "0/c.png").symlink_to(folder.parent / "secret.png")
    with pytest.raises(DataError, match=r"c\.png: is a link out of the folder"):
        opened(folder)


def test_a_link_inside_the_folder_is_read(folder):
    (folder / "0/c.png").symlink_to(folder / "1/b.png")
    assert len(opened(folder)) == 3


def test_a_link_to_a_folder_is_refused(folder):
    (folder / "2").symlink_to(folder.parent)
    with pytest.raises(DataError, match="2: is a link to a folder"):
        opened(folder)


def test_the_folder_itself_may_be_a_link(folder):
    (folder.parent / "link").symlink_to(folder)
    (folder / "0/c.png").symlink_to(folder / "1/b.png")
    assert len(opened(folder.parent / "link")) == 3


def test_a_dangling_link_is_refused(folder):
    (folder / "0/c.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DataError, match=r"c\.png"):
        opened(folder)


def test_a_pipe_among_the_images_is_refused(folder):
    os.mkfifo(folder / "1/c.png")
    with pytest.raises(DataError, match=r"c\.png: is no file"):
        opened(folder)


def test_a_link_to_a_pipe_is_refused(folder):
    os.mkfifo(folder / "pipe")
    (folder / "1/c.png").symlink_to(folder / "pipe")
    with pytest.raises(DataError, match=r"c\.png: is no file"):
        opened(folder)


def test_a_file_that_is_too_large_is_refused(folder, monkeypatch):
    monkeypatch.setattr("pfir.data.files.image_files._LARGEST_FILE", 10)
    with pytest.raises(DataError, match="too much for one image"):
        opened(folder)


def test_a_link_in_an_archive_is_refused(tmp_path):
    link = zipfile.ZipInfo("0/a.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DataError, match=r"0/a\.png: is a link"):
        opened(tmp_path / "d.zip")


def test_a_folder_that_cannot_be_listed_is_refused(folder, monkeypatch):
    def walk(top, onerror):
        onerror(PermissionError(13, "Permission denied", str(top)))

    monkeypatch.setattr("os.walk", walk)
    with pytest.raises(DataError, match="cannot be listed: Permission denied"):
        opened(folder)
