import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from pfir.artifact import TensorSpec
from pfir.data import open_data, parse_preprocess
from pfir.errors import DataError

SPEC = [TensorSpec("x", "float32", ("N", 3, 8, 8))]
PLAIN = parse_preprocess("scale=1")
RNG = np.random.default_rng(0)


def folder_of(root, *names, size=(8, 8)):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return root


def zipped(root, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in root.rglob("*") if p.is_file()):
            archive.write(path, path.relative_to(root))
    return target


def test_numbered_folders_are_the_class_indices(tmp_path):
    data = open_data(folder_of(tmp_path, "002/a.png", "010/b.png", "010/c.png"), SPEC, PLAIN)
    assert data.labels.tolist() == [2, 10, 10]
    assert "classes are their numbers" in data.notes[0]


def test_named_folders_count_in_sorted_order(tmp_path):
    data = open_data(folder_of(tmp_path, "dog/a.png", "cat/b.png", "cat/deep/c.png"), SPEC, PLAIN)
    assert data.labels.tolist() == [0, 0, 1]
    assert "0=cat, 1=dog" in data.notes[0]


def test_images_without_subfolders_have_no_labels(tmp_path):
    assert open_data(folder_of(tmp_path, "a.png", "b.png"), SPEC, PLAIN).labels is None


def test_an_enclosing_folder_is_no_class(tmp_path):
    data = open_data(folder_of(tmp_path, "val/0/a.png", "val/1/b.png"), SPEC, PLAIN)
    assert data.labels.tolist() == [0, 1]


def test_a_zip_reads_as_its_folder(tmp_path):
    root = folder_of(tmp_path / "images", "0/a.png", "1/b.png")
    (root / "notes.txt").write_text("no image")
    (root / ".hidden.png").write_text("no image either")
    plain, packed = open_data(root, SPEC, PLAIN), open_data(zipped(root, tmp_path / "i.zip"), SPEC, PLAIN)
    assert packed.labels.tolist() == [0, 1]
    assert np.array_equal(plain.batch(np.arange(2))["x"], packed.batch(np.arange(2))["x"])
    assert plain.fingerprint() == packed.fingerprint()
    assert np.array_equal(pickle.loads(pickle.dumps(packed)).batch(np.array([1]))["x"], plain.batch(np.array([1]))["x"])


def test_pixels_arrive_in_the_models_layout(tmp_path):
    root = folder_of(tmp_path, "0/a.png")
    pixels = np.asarray(Image.open(root / "0/a.png"), np.float32)
    assert np.array_equal(open_data(root, SPEC, PLAIN).batch(np.array([0]))["x"][0], pixels.transpose(2, 0, 1))
    last = [TensorSpec("x", "float32", (1, 8, 8, 3))]
    assert np.array_equal(open_data(root, last, PLAIN).batch(np.array([0]))["x"][0], pixels)


def test_a_grey_model_gets_grey_images(tmp_path):
    spec = [TensorSpec("x", "float32", ("N", 1, 8, 8))]
    assert open_data(folder_of(tmp_path, "0/a.png"), spec, PLAIN).batch(np.array([0]))["x"].shape == (1, 1, 8, 8)


def test_images_of_any_size_are_resized_and_cropped(tmp_path):
    folder_of(tmp_path, "0/a.png", size=(20, 30))
    folder_of(tmp_path, "0/b.png", size=(40, 12))
    data = open_data(tmp_path, SPEC, parse_preprocess("resize=10,crop=8"))
    assert data.batch(np.arange(2))["x"].shape == (2, 3, 8, 8)


def test_raw_images_without_preprocessing_are_refused(tmp_path):
    with pytest.raises(DataError, match="--preprocess"):
        open_data(folder_of(tmp_path, "0/a.png"), SPEC)


def test_images_of_a_wrong_size_are_refused_by_name(tmp_path):
    with pytest.raises(DataError, match=r"0/a.png.*resize=256"):
        open_data(folder_of(tmp_path, "0/a.png", size=(9, 9)), SPEC, PLAIN)


def test_stray_images_beside_class_folders_are_refused(tmp_path):
    with pytest.raises(DataError, match="z.png lies outside"):
        open_data(folder_of(tmp_path, "a/a.png", "z.png"), SPEC, PLAIN)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="holds no images"):
        open_data(tmp_path, SPEC, PLAIN)


def test_a_broken_image_is_refused_by_name(tmp_path):
    folder_of(tmp_path, "0/a.png")
    (tmp_path / "0/b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="0/b.png"):
        open_data(tmp_path, SPEC, PLAIN).batch(np.arange(2))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no image", "is broken, or an image of another format than JPEG"),
        (b"", "is an empty file"),
        (b"<html>", "is no image but an HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "is no image but a git-lfs pointer"),
    ],
)
def test_what_is_no_image_is_named_for_what_it_is(tmp_path, content, words):
    (tmp_path / "0").mkdir()
    (tmp_path / "0/b.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"0/b\.png: {words}"):
        open_data(tmp_path, SPEC, PLAIN)


def test_an_image_of_too_many_pixels_is_refused_before_they_are_made(tmp_path):
    folder_of(tmp_path, "0/a.png")
    content = bytearray((tmp_path / "0/a.png").read_bytes())
    content[16:24] = (9000).to_bytes(4, "big") + (9000).to_bytes(4, "big")
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    (tmp_path / "0/a.png").write_bytes(bytes(content))
    with pytest.raises(DataError, match="9000x9000 pixels; at most 50 million"):
        open_data(tmp_path, SPEC, PLAIN)


def test_a_tile_of_too_many_pixels_is_refused(tmp_path):
    """A grey TIFF of 8x8, packed by LZW, in tiles that are said to be of 100000x100000."""
    tags = {256: 8, 257: 8, 258: 8, 259: 5, 262: 1, 277: 1, 322: 100_000, 323: 100_000, 324: 8, 325: 4}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    (tmp_path / "0").mkdir()
    (tmp_path / "0/a.tif").write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4))
    with pytest.raises(DataError, match="100000x100000 pixels"):
        open_data(tmp_path, SPEC, PLAIN)


def test_what_a_folder_without_images_holds_is_named(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(b"")
    with pytest.raises(DataError, match=r"holds no images .*a\.tfrecord is TFRecords"):
        open_data(tmp_path, SPEC, PLAIN)


def test_many_classes_are_listed_in_short(tmp_path):
    data = open_data(folder_of(tmp_path, *(f"c{i:02}/a.png" for i in range(30))), SPEC, PLAIN)
    assert "0=c00, 1=c01" in data.notes[0] and ".. 29=c29" in data.notes[0] and "c20" not in data.notes[0]


def test_a_damaged_or_swollen_zip_member_is_refused(tmp_path, monkeypatch):
    path = zipped(folder_of(tmp_path / "i", "0/a.png", "0/b.png"), tmp_path / "i.zip")
    data = open_data(path, SPEC, PLAIN)
    monkeypatch.setattr("pfir.data.files.image_files._LARGEST_FILE", 10)
    with pytest.raises(DataError, match="too much for one image"):
        data.batch(np.array([1]))
    monkeypatch.undo()
    content = bytearray(path.read_bytes())
    middle = content.index(b"b.png") + 60
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="b.png"):
        open_data(path, SPEC, PLAIN).batch(np.array([1]))


def test_deep_pixels_are_refused(tmp_path):
    (tmp_path / "0").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(tmp_path / "0/a.png")
    with pytest.raises(DataError, match="8 bits"):
        open_data(tmp_path, SPEC, PLAIN)


def test_a_model_that_takes_no_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="one input"):
        open_data(folder_of(tmp_path, "0/a.png"), [TensorSpec("x", "float32", ("N", 4))], PLAIN)
