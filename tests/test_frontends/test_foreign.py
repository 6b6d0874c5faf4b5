"""Models of other frameworks are named for what they are, with the lines that export them."""

import io
import pickle
import zipfile

import pytest

from pfir import frontends
from pfir.errors import FrontendError
from tests.test_frontends.files import relu, written


def archive(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, b"x")
    return buffer.getvalue()


OLD_TORCH = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)
SAFETENSORS = (16).to_bytes(8, "little") + b'{"__metadata__":{}}' + bytes(40)
GRAPH_DEF = b"\x0a\x10\x0a\x01x\x12\x0bPlaceholder"
SAVED = b"\x08\x01\x12\x04abcd"
CASES = {
    "net.pt": (archive("net/data.pkl", "net/version", "net/data/0"), "PyTorch file", "torch.load", "dynamo=True"),
    "net.pth": (OLD_TORCH + b"rest", "PyTorch file", "torch.load", "torch.onnx.export"),
    "last.ckpt": (b"\x80\x02}q\x00.", "PyTorch file", "torch.load", "torch.onnx.export"),
    "script.pt": (archive("s/data.pkl", "s/code/__torch__.py"), "TorchScript", "torch.jit.load", "torch.onnx.export"),
    "net.pt2": (archive("n/archive_format", "n/models/model.json"), "torch.export", "torch.export.load", "dynamo=True"),
    "net.keras": (archive("metadata.json", "config.json", "model.weights.h5"), "Keras", "load_model", 'format="onnx"'),
    "net.h5": (b"\x89HDF\r\n\x1a\n" + bytes(80), "HDF5", "load_model", 'format="onnx"'),
    "frozen.pb": (GRAPH_DEF, "TensorFlow graph", "pip install tf2onnx", "--graphdef frozen.pb"),
    "saved_model.pb": (SAVED, "SavedModel", "pip install tf2onnx", "--saved-model"),
    "net.tflite": (b"\x1c\x00\x00\x00TFL3" + bytes(40), "TensorFlow Lite", "tf2onnx", "--tflite net.tflite"),
    "net.safetensors": (SAFETENSORS, "safetensors", "safetensors.torch.load_file", "torch.onnx.export"),
}


def refused(path):
    with pytest.raises(FrontendError) as caught:
        frontends.load(path)
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("name", CASES)
def test_a_model_of_another_framework_is_named_with_the_two_lines_that_export_it(tmp_path, name):
    content, words, first, second = CASES[name]
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name)
    assert words in str(error) and name in str(error)
    assert len(error.export) == 2 and first in error.export[0] and second in error.export[1]


@pytest.mark.parametrize("name", CASES)
def test_a_framework_is_told_from_the_content_of_a_file_where_that_tells(tmp_path, name):
    content, words, *_ = CASES[name]
    if name.endswith((".pb", ".ckpt")):
        pytest.skip("only its name tells it from a damaged ONNX file, or from another pickle")
    (tmp_path / "model.onnx").write_bytes(content)
    assert words in str(refused(tmp_path / "model.onnx"))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("net.ort", b"\x24\x00\x00\x00ORTM" + bytes(20), "ONNX Runtime's own format"),
        ("net.mlmodel", b"\x08\x01\x12\x04abcd", "Core ML"),
        ("net.onnx.data", bytes(100), "weights that lie beside an ONNX model"),
        ("net.onnx.data", b"\x08" * 100, "weights that lie beside an ONNX model"),
        ("llm.gguf", b"GGUF\x03\x00\x00\x00", "GGUF"),
        ("forest.pkl", b"\x80\x04\x95abc", "Python pickle"),
        ("things.zip", archive("a", "b"), "zip archive"),
        ("cut.pt", archive("net/data.pkl")[:36], "zip archive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "bytes",
)
def test_a_format_that_nothing_exports_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    error = refused(tmp_path / name)
    assert words in str(error) and error.export == ()


def test_a_saved_model_folder_is_named_with_its_command(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(SAVED)
    error = refused(tmp_path / "saved")
    assert "SavedModel" in str(error) and f"--saved-model {tmp_path / 'saved'}" in error.export[1]


def test_an_onnx_model_is_read_under_any_name(tmp_path):
    for name in ("model.pb", "model.data", "model.pt"):
        (tmp_path / name).write_bytes(relu().SerializeToString())
        assert len(frontends.load(tmp_path / name).graph.nodes) == 1


def test_what_does_not_exist_is_answered_with_what_is_near(tmp_path):
    written(tmp_path, relu().SerializeToString()).rename(tmp_path / "resnet20.onnx")
    assert "did you mean 'resnet20.onnx'" in str(refused(tmp_path / "resnet-20.onnx"))
    assert "beside it lies 'resnet20.onnx'" in str(refused(tmp_path / "nosuch.onnx"))
    assert "there is no folder" in str(refused(tmp_path / "models" / "nosuch.onnx"))
    (tmp_path / "empty").mkdir()
    assert str(refused(tmp_path / "empty" / "nosuch.onnx")).endswith("does not exist")
