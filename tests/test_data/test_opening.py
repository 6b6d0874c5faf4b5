import io
import pickle
import shutil
import sys
import zipfile

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data import open_data, parse_preprocess
from pfir.errors import DataError

FLAT = [TensorSpec("in", "float32", ("N", 4))]
IMAGES = [TensorSpec("in", "float32", ("N", 3, 8, 8))]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4)).astype(np.float32)


def written(folder, name="d.npz", save=np.savez, **arrays):
    save(folder / name, **arrays)
    return folder / name


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_an_npz_gives_its_rows_and_labels(tmp_path, save, order):
    data = open_data(written(tmp_path, save=save, x=np.asarray(X, order=order), y=np.arange(6)), FLAT)
    assert len(data) == 6 and data.kind == "given" and data.inputs == ("in",)
    assert np.array_equal(data.batch(np.array([4, 1]))["in"], X[[4, 1]])
    assert data.labels.tolist() == list(range(6))


def test_an_array_may_bear_the_inputs_name_and_labels_are_optional(tmp_path):
    assert open_data(written(tmp_path, **{"in": X}), FLAT).labels is None


def test_several_inputs_are_fed_by_name(tmp_path):
    specs = [TensorSpec("a", "float32", ("N", 4)), TensorSpec("b", "int64", ("N",))]
    batch = open_data(written(tmp_path, a=X, b=np.arange(6)), specs).batch(np.array([3]))
    assert np.array_equal(batch["a"], X[3:4]) and batch["b"].tolist() == [3]


def test_raw_images_are_preprocessed(tmp_path):
    x = RNG.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    data = open_data(written(tmp_path, x=x), IMAGES, parse_preprocess("scale=1/255"))
    assert np.allclose(data.batch(np.arange(3))["in"], x.transpose(0, 3, 1, 2) / 255, atol=1e-6)


def test_floats_are_used_as_given_and_a_note_says_so(tmp_path):
    data = open_data(written(tmp_path, x=X), FLAT, parse_preprocess("scale=1/255"))
    assert np.array_equal(data.batch(np.arange(6))["in"], X)
    assert "used as given" in data.notes[0]


def test_a_data_set_survives_pickling(tmp_path):
    data = open_data(written(tmp_path, x=X), FLAT)
    data.batch(np.arange(2))
    text = pickle.dumps(data)
    assert np.array_equal(pickle.loads(text).batch(np.arange(6))["in"], X)


def test_the_fingerprint_tells_content_and_preprocessing_apart(tmp_path):
    x = RNG.integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    one = open_data(written(tmp_path, x=x), IMAGES, parse_preprocess("scale=1/255")).fingerprint()
    packed = written(tmp_path, "p.npz", np.savez_compressed, x=x)
    assert open_data(packed, IMAGES, parse_preprocess("scale=1/255")).fingerprint() == one
    assert open_data(packed, IMAGES, parse_preprocess("scale=1/256")).fingerprint() != one
    other = x.copy()
    other[2, 0, 0, 0] ^= 1
    assert open_data(written(tmp_path, "o.npz", x=other), IMAGES, parse_preprocess("scale=1/255")).fingerprint() != one


NAN = X.copy()
NAN[4, 2] = np.nan


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X.astype(object)}, "never unpickles"),
        ({"x": X.astype(str)}, "numbers are needed"),
        ({"x": NAN}, r"nan at index \[4, 2\]"),
        ({"x": np.where(NAN != NAN, np.inf, X)}, r"inf at index \[4, 2\]"),
        ({"x": X[:, :3]}, r"takes \[4\]"),
        ({"x": X[:0]}, "no samples"),
        ({"x": X, "y": np.arange(5)}, "5 labels"),
        ({"x": np.float32(1)}, "single value"),
        ({"z": X}, "no array in or x"),
        ({}, "no arrays"),
    ],
)
def test_bad_arrays_are_refused_with_the_file(tmp_path, arrays, words):
    with pytest.raises(DataError, match=words) as raised:
        open_data(written(tmp_path, **arrays), FLAT)
    assert "d.npz" in str(raised.value) and "\n" not in str(raised.value)


def test_labels_outside_the_classes_are_refused_by_index(tmp_path):
    path = written(tmp_path, x=X, y=np.array([0, 1, 2, 3, 2, 1]))
    assert len(open_data(path, FLAT, classes=4)) == 6
    with pytest.raises(DataError, match=r"d\.npz: label 3 at index 3 .* 0\.\.2"):
        open_data(path, FLAT, classes=3)


def test_inputs_of_different_counts_are_refused(tmp_path):
    specs = [TensorSpec("a", "float32", ("N", 4)), TensorSpec("b", "float32", ("N", 4))]
    with pytest.raises(DataError, match="different counts"):
        open_data(written(tmp_path, a=X, b=X[:5]), specs)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\x93NUMPY\x01\x00", "single .npy"),
        (b"version https://git-lfs.github.com/spec/v1", "git-lfs"),
        (b"\x80\x04K\x01.", "pickle"),
        (b"<html>", "HTML"),
        (b"\x00random", "no zip"),
    ],
)
def test_files_that_are_no_data_are_named_for_what_they_are(tmp_path, content, words):
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DataError, match=words):
        open_data(tmp_path / "d.npz", FLAT)


def test_a_second_input_that_is_missing_is_named_with_what_to_write(tmp_path):
    specs = [TensorSpec("a", "float32", ("N", 4)), TensorSpec("b:0", "float32", ("N", 4))]
    with pytest.raises(
        DataError, match=r"no array b:0; the model has 2 inputs .* found was a, y; .*a=.*'b:0'.*y=labels"
    ):
        open_data(written(tmp_path, a=X, y=np.arange(6)), specs)


def test_values_that_the_models_type_cannot_hold_are_refused(tmp_path):
    large = X.astype(np.float64)
    large[2, 1] = 1e300
    with pytest.raises(DataError, match=r"1e\+300 at index \[2, 1\]"):
        open_data(written(tmp_path, x=large), FLAT)


def test_a_truncated_archive_is_refused(tmp_path):
    path = written(tmp_path, x=X)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError):
        open_data(path, FLAT)


def test_an_archive_that_declares_more_than_it_holds_is_refused(tmp_path):
    content = io.BytesIO()
    np.save(content, X)
    path = tmp_path / "d.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content.getvalue().replace(b"(6, 4)", b"(9, 4)"))
    with pytest.raises(DataError, match="declares 144 bytes and holds 96"):
        open_data(path, FLAT)


def test_a_damaged_deflated_array_is_refused(tmp_path):
    path = written(tmp_path, save=np.savez_compressed, x=RNG.standard_normal((500, 4)).astype(np.float32))
    content = bytearray(path.read_bytes())
    content[2000:2100] = bytes(100)
    path.write_bytes(bytes(content))
    with pytest.raises(DataError, match="d.npz"):
        open_data(path, FLAT)


def test_a_member_that_is_no_array_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("x.npy", b"no array")
    with pytest.raises(DataError, match="array x: cannot be read as an array"):
        open_data(tmp_path / "d.npz", FLAT)


def test_a_compressed_array_that_the_disk_cannot_take_is_refused(tmp_path, monkeypatch):
    path = written(tmp_path, save=np.savez_compressed, x=X)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(100, 100, 0))
    with pytest.raises(DataError, match="savez_compressed"):
        open_data(path, FLAT)


def test_a_missing_file_is_refused():
    with pytest.raises(DataError, match="no such file"):
        open_data("nowhere.npz", FLAT)


@pytest.fixture
def module(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_samples.py").write_text(
        "import numpy as np\n"
        "x = np.arange(8, dtype=np.float32).reshape(2, 4)\n"
        "def pair(): return x, [0, 1]\n"
        "def batches():\n    yield x\n    yield x[:1]\n"
        "def named(): return {'in': x, 'y': np.array([1, 0])}\n"
        "def words(): return {'in': ['a', 'b']}\n"
        "def nothing(): return []\n"
        "def mixed(): return [x, (x, [0, 1])]\n"
        "def ragged(): return [x, x[:, :2]]\n"
        "def fails(): raise KeyError('why')\n"
        "def ends(): raise SystemExit(0)\n"
        "def ends_late():\n    yield x\n    exit()\n"
        "def ends_otherwise(): raise type('Ended', (BaseException,), {})('so')\n"
        "def stopped(): raise KeyboardInterrupt\n"
        "def uneven(): return {'in': [[1], [1, 2]]}\n"
    )
    yield
    sys.modules.pop("my_samples", None)


def test_a_function_gives_samples(module):
    assert open_data("my_samples:pair", FLAT).labels.tolist() == [0, 1]
    assert open_data("my_samples:named", FLAT).labels.tolist() == [1, 0]
    data = open_data("my_samples:batches", FLAT)
    assert len(data) == 3 and data.batch(np.array([2]))["in"].tolist() == [[0, 1, 2, 3]]


def test_a_functions_folder_holds_its_module_and_nothing_that_hides_an_installed_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "colorsys.py").write_text("raise SystemExit('foreign code')\n")
    (tmp_path / "beside_it.py").write_text("import numpy as np\nx = np.ones((2, 4), np.float32)\n")
    (tmp_path / "wave.py").write_text("import colorsys\nfrom beside_it import x\ndef load(): return x\n")
    for name in ("colorsys", "beside_it", "wave"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = list(sys.path)
    # Named by the user, it comes from the folder even where an installed module has its name; what it imports does not.
    assert len(open_data("wave:load", FLAT)) == 2 and sys.path == before
    assert not sys.modules["colorsys"].__file__.startswith(str(tmp_path))
    for name in ("beside_it", "wave", "colorsys"):
        sys.modules.pop(name, None)


def test_a_module_that_fails_is_loaded_again_the_next_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "half_made.py").write_text("raise ValueError('not yet')\n")
    for _ in range(2):
        with pytest.raises(DataError, match="not yet"):
            open_data("half_made:load", FLAT)
    assert "half_made" not in sys.modules


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("words", "numbers"),
        ("nothing", "no samples"),
        ("mixed", "different keys"),
        ("ragged", "fit together"),
        ("fails", "KeyError"),
        ("absent", "AttributeError"),
        ("ends", "SystemExit: 0"),
        ("ends_late", "SystemExit"),
        ("ends_otherwise", "Ended: so"),
        ("uneven", "cannot be read as arrays"),
    ],
)
def test_a_function_that_gives_no_samples_is_refused(module, function, words):
    with pytest.raises(DataError, match=words):
        open_data(f"my_samples:{function}", FLAT)


def test_an_interrupt_while_a_function_runs_stays_one(module):
    with pytest.raises(KeyboardInterrupt):
        open_data("my_samples:stopped", FLAT)


def test_a_module_that_is_absent_is_refused():
    with pytest.raises(DataError, match="ModuleNotFoundError"):
        open_data("no_such_module:f", FLAT)
