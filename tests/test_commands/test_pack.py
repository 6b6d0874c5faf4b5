import onnx
import pytest

from pfir.commands import pack
from pfir.commands.evaluate import evaluate_file
from pfir.commands.inspect import inspect_model
from pfir.commands.pack import pack_file, unpack_file
from pfir.errors import FrontendError, UsageError


@pytest.fixture
def packed(model, tmp_path):
    pack_file(model, tmp_path / "net.pfir")
    return tmp_path / "net.pfir"


@pytest.fixture
def outside(model, tmp_path):
    """A packed model with external data."""
    path = tmp_path / "given" / "net.onnx"
    path.parent.mkdir()
    onnx.save_model(onnx.load(model), path, save_as_external_data=True, location="net.bin", size_threshold=0)
    pack_file(path, tmp_path / "outside.pfir")
    return path.parent, tmp_path / "outside.pfir"


def test_a_model_comes_back_to_the_byte(model, packed, tmp_path):
    assert packed.stat().st_size < model.stat().st_size
    assert str(tmp_path / "again.onnx") in unpack_file(packed, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == model.read_bytes()


def test_a_packed_model_is_inspected_and_evaluated_like_the_model(model, packed, data):
    plain, again = inspect_model(model, (), ()), inspect_model(packed, (), ())
    assert {**again, "model": ""} == {**plain, "model": ""}
    assert evaluate_file(packed, str(data), None, model, 1)["fidelity"] == 1.0


def test_external_data_comes_back_beside_the_model(outside, tmp_path):
    folder, packed = outside
    (tmp_path / "again").mkdir()
    assert "net.bin" in unpack_file(packed, tmp_path / "again/net.onnx")
    for name in ("net.onnx", "net.bin"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_external_data_replaces_no_file(outside):
    folder, packed = outside
    before = (folder / "net.bin").read_bytes()
    with pytest.raises(UsageError, match="another folder"):
        unpack_file(packed, folder / "other.onnx")
    assert (folder / "net.bin").read_bytes() == before and not (folder / "other.onnx").exists()


def test_what_is_not_packed_is_refused_and_nothing_is_written(model, tmp_path):
    with pytest.raises(FrontendError, match="no packed model"):
        unpack_file(model, tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()


def test_an_output_that_cannot_be_is_told_before_any_work(model, tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        pack_file(model, tmp_path / "nowhere/net.pfir")


def test_a_full_disk_leaves_nothing_behind(model, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pack.os, "replace", full)
    with pytest.raises(UsageError, match="No space left"):
        pack_file(model, tmp_path / "net.pfir")
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix != ".onnx" and p.is_file()) == []
