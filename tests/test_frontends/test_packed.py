import onnx
import pytest
from onnx import TensorProto

from pfir import frontends
from pfir.errors import FrontendError
from pfir.frontends import load, packed
from pfir.packing.packing import pack
from pfir.packing.wire import File
from tests.support.jobs import write_model
from tests.test_frontends.files import added, refusal, relu, written


@pytest.fixture
def outside(tmp_path):
    """A model, its weights in a file of their own in a folder below."""
    path = write_model(tmp_path)
    (tmp_path / "sub").mkdir()
    model = onnx.load(path)
    onnx.save_model(model, tmp_path / "out.onnx", save_as_external_data=True, location="sub/w.bin", size_threshold=0)
    return tmp_path / "out.onnx"


def test_a_packed_model_is_loaded_like_the_file_that_it_was_packed_from(tmp_path):
    path = write_model(tmp_path)
    again = load(written(tmp_path, packed.packed(path), "net.pfir"))
    assert again.to_bytes() == path.read_bytes() and again.name == "net"
    assert frontends.outside_files(tmp_path / "net.pfir") == ()


def test_external_data_is_packed_with_the_model(outside, tmp_path):
    content = packed.packed(outside)
    (name, model), (beside, weights) = packed.unpacked(outside, content)
    assert (name, model) == ("", outside.read_bytes())
    assert (beside, weights) == ("sub/w.bin", (tmp_path / "sub/w.bin").read_bytes())
    assert len(content) < len(model) + len(weights)


def test_a_packed_model_with_external_data_is_to_be_unpacked_first(outside, tmp_path):
    path = written(tmp_path, packed.packed(outside), "net.pfir")
    assert "`pfir unpack`" in refusal(path)


def test_tensors_that_share_bytes_of_a_file_are_packed_once(tmp_path):
    (tmp_path / "w.bin").write_bytes(bytes(range(256)) * 8)
    tensors = []
    for place, offset in enumerate((0, 0, 4)):
        tensor = TensorProto(name=f"w{place}", data_type=TensorProto.FLOAT, dims=[256])
        onnx.external_data_helper.set_external_data(_raw(tensor), "./w.bin", offset=offset, length=1024)
        tensors.append(tensor)
    path = written(tmp_path, onnx.ModelProto(graph=onnx.GraphProto(initializer=tensors)))
    _, (name, content) = packed.unpacked(path, packed.packed(path))
    assert (name, content) == ("w.bin", bytes(range(256)) * 8)


def _raw(tensor):
    tensor.raw_data = b""
    return tensor


def test_too_much_external_data_is_refused_before_it_is_read(outside, monkeypatch):
    monkeypatch.setattr(packed, "MOST_BYTES", 10)
    with pytest.raises(FrontendError, match="more than 4 GiB"):
        packed.packed(outside)


def test_external_data_outside_the_folder_is_not_packed(tmp_path):
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3])
    onnx.external_data_helper.set_external_data(_raw(weight), "../w.bin")
    with pytest.raises(FrontendError, match="outside the model's folder"):
        packed.packed(written(tmp_path, added(weight)))


@pytest.mark.parametrize("name", ["/w.bin", "../w.bin", "a/../../w.bin", "C:\\w.bin", "a\x00b", "..\\w"])
def test_names_that_lead_elsewhere_are_refused(name, tmp_path):
    content = pack((File("", relu().SerializeToString(), ()), File(name, b"x", ())))
    with pytest.raises(FrontendError, match="outside the model's folder"):
        packed.unpacked(tmp_path, content)


def test_a_packed_model_is_not_packed_again(tmp_path):
    path = written(tmp_path, packed.packed(write_model(tmp_path)), "net.pfir")
    with pytest.raises(FrontendError, match="packed already"):
        packed.packed(path)


def test_a_damaged_packed_model_is_refused_by_its_name(tmp_path):
    content = packed.packed(write_model(tmp_path))
    assert "hash" in refusal(written(tmp_path, content[:-1], "net.pfir"))
