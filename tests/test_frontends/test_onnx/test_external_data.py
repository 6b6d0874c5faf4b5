"""External data is read only inside the model's folder, and whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pfir.frontends import load
from pfir.run.session import Session
from tests.test_frontends.files import added, model, refusal, written


def outside(location: str, shape=(3,), **entries: str) -> onnx.ModelProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return added(tensor)


@pytest.mark.parametrize(
    ("location", "entries", "words"),
    [
        ("../w.bin", {}, "outside"),
        ("sub/../../w.bin", {}, "outside"),
        ("/etc/passwd", {}, "outside"),
        ("C:\\w.bin", {}, "outside"),
        ("link.bin", {}, "through a link"),
        ("none.bin", {}, "missing"),
        ("folder", {}, "no regular file"),
        ("", {}, "names no file"),
        ("short.bin", {}, "too short"),
        ("w.bin", {"offset": "4"}, "too short"),
        ("w.bin", {"offset": "-4"}, "no size"),
        ("w.bin", {"offset": "1e3"}, "no size"),
        ("w.bin", {"length": "8"}, "needs 12 bytes"),
    ],
)
def test_external_data_is_read_only_inside_the_folder_and_whole(tmp_path, location, entries, words):
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    for place in (tmp_path / "w.bin", folder / "w.bin"):
        place.write_bytes(np.ones(3, np.float32).tobytes())
    (folder / "short.bin").write_bytes(b"1234")
    (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    assert words in refusal(written(folder, outside(location, **entries)))


def test_external_data_inside_the_folder_becomes_part_of_the_model(tmp_path):
    (tmp_path / "w.bin").write_bytes(b"pad!" + np.arange(3, dtype=np.float32).tobytes())
    loaded = load(written(tmp_path, outside("w.bin", offset="4", length="12")))
    (tmp_path / "w.bin").unlink()
    assert loaded.initializers()["w"].values.tolist() == [0, 1, 2]
    assert Session(loaded.to_bytes()).predict({"x": np.zeros((2, 3), np.float32)})["y"].tolist() == [[0, 1, 2]] * 2


def test_external_data_of_a_constant_node_and_of_a_converted_model_comes_in_too(tmp_path):
    (tmp_path / "w.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    proto = outside("w.bin")
    constant = helper.make_node("Constant", [], ["w"], value=proto.graph.initializer[0])
    nodes = [constant, *proto.graph.node]
    for opset in (17, 22):
        loaded = load(written(tmp_path, model(nodes, opset=opset)))
        assert Session(loaded).predict({"x": np.zeros((2, 3), np.float32)})["y"].tolist() == [[0, 1, 2]] * 2


def test_external_strings_are_refused(tmp_path):
    proto = outside("w.bin")
    proto.graph.initializer[0].data_type = TensorProto.STRING
    assert "strings" in refusal(written(tmp_path, proto))
