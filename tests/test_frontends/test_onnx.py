"""Files that are no model, or one that must not be used, are refused in one line; all others load as they are."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import FrontendError
from pfir.frontends import load
from pfir.run.session import Session
from tests.models import shared_model

REAL = (
    "efficientnet_lite0_in1k_fp32_static.onnx",
    "mediapipe_face_landmark.onnx",
    "mltk_image_classification_fp32.onnx",
    "mltk_keyword_spotting_fp32.onnx",
    "mltk_visual_wake_words_fp32.onnx",
    "resnet20_cifar10_fp32.onnx",
    "resnet56_cifar10_fp32.onnx",
)


def value(name: str, shape: list | None, element: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape)


def model(nodes, inputs=None, outputs=None, initializers=(), opset=17, ir=9, **more) -> onnx.ModelProto:
    """A model from x [2, 3] to y [2, 3] unless told otherwise."""
    graph = helper.make_graph(
        nodes, "g", inputs or [value("x", [2, 3])], outputs if outputs is not None else [value("y", [2, 3])],
        list(initializers), value_info=more.pop("value_info", None),
    )  # fmt: skip
    imports = more.pop("imports", None) or [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=ir, **more)


def relu() -> onnx.ModelProto:
    return model([helper.make_node("Relu", ["x"], ["y"], name="act")])


def added(weight: TensorProto) -> onnx.ModelProto:
    return model([helper.make_node("Add", ["x", "w"], ["y"], name="sum")], initializers=[weight])


def weight(array: np.ndarray | None = None) -> TensorProto:
    return numpy_helper.from_array(np.ones(3, np.float32) if array is None else array, "w")


def written(folder: Path, proto: onnx.ModelProto | bytes, name: str = "m.onnx") -> Path:
    path = folder / name
    path.write_bytes(proto if isinstance(proto, bytes) else proto.SerializeToString())
    return path


def refusal(path: Path) -> str:
    """The text of the refusal: one line that names the file."""
    with pytest.raises(FrontendError) as caught:
        load(path)
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and path.name in text
    return text


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


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (TensorProto(name="w", data_type=1, dims=[3], raw_data=b"12345678"), "needs 12 bytes but holds 8"),
        (TensorProto(name="w", data_type=1, dims=[3], float_data=[1.0]), "needs 3 values but holds 1"),
        (TensorProto(name="w", data_type=1, dims=[-3], float_data=[1.0]), "negative size"),
        (TensorProto(name="w", data_type=1, dims=[1 << 31, 4], float_data=[1.0]), "4 GiB"),
        (TensorProto(name="w", data_type=1, dims=[1 << 62, 1 << 62], float_data=[1.0]), "4 GiB"),
        (TensorProto(name="w", data_type=99, dims=[1], float_data=[1.0]), "element type 99"),
        (TensorProto(name="w", data_type=8, dims=[1], raw_data=b"1"), "strings as raw bytes"),
    ],
)
def test_stored_tensors_hold_what_they_declare(tmp_path, tensor, words):
    assert words in refusal(written(tmp_path, added(tensor)))
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    assert words in refusal(written(tmp_path, model([constant, helper.make_node("Add", ["x", "w"], ["y"])])))


def test_declared_values_above_4_gib_or_with_negative_sizes_are_refused(tmp_path):
    node = [helper.make_node("Relu", ["x"], ["y"])]
    assert "4 GiB" in refusal(written(tmp_path, model(node, [value("x", [1 << 40])], [value("y", ["n"])])))
    assert "negative" in refusal(written(tmp_path, model(node, [value("x", [-7])], [value("y", ["n"])])))


def test_an_inner_tensor_above_4_gib_is_refused(tmp_path):
    shape = numpy_helper.from_array(np.array([1 << 20, 1 << 20]), "w")
    nodes = [helper.make_node("ConstantOfShape", ["w"], ["z"]), helper.make_node("ReduceSum", ["z"], ["y"], keepdims=0)]
    assert "4 GiB" in refusal(written(tmp_path, model(nodes, outputs=[value("y", [])], initializers=[shape])))


def test_minus_one_as_a_size_is_unknown_as_onnx_runtime_has_it(tmp_path):
    loaded = load(written(tmp_path, model(chain(("x", "y")), [value("x", [-1, 3])], [value("y", [-1, 3])])))
    assert loaded.inputs()[0].shape == (None, 3)


def chain(*edges: tuple[str, str]) -> list[onnx.NodeProto]:
    return [helper.make_node("Relu", [a], [b], name=f"{a}{b}") for a, b in edges]


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (model(chain(("z", "y"), ("y", "z"))), "cycle through Relu 'zy'"),
        (model(chain(("none", "y"))), "'none' of Relu 'noney' is made by nothing"),
        (model(chain(("x", "z"))), "output 'y' is made by no node"),
        (model(chain(("x", "y")), outputs=[]), "no outputs"),
        (model(chain(("x", "y"), ("x", "y"))), "'y' is made twice"),
        (model(chain(("x", "x"))), "'x' is made twice"),
        (model(chain(("x", "y")), [value("x", [2, 3]), value("x", [2, 3])]), "input name 'x' is used 2 times"),
        (model(chain(("x", "y")), initializers=[weight(), weight()]), "initializer name 'w' is used 2 times"),
        (model(chain(("x", "y")), ir=99), "IR version 99"),
        (model(chain(("x", "y")), ir=0), "IR version 0"),
        (model(chain(("x", "y")), opset=99), "opset 99"),
        (
            model(chain(("x", "y")), imports=[helper.make_opsetid("", 9), helper.make_opsetid("ai.onnx", 10)]),
            "two versions",
        ),
        (model([helper.make_node("Magic", ["x"], ["y"], name="m")]), "'Magic' (node 'm') is unknown in opset 17"),
        (model([helper.make_node("Gelu", ["x"], ["y"])]), "'Gelu' (the node that makes ['y'])"),
        (
            model([helper.make_node("Relu", ["x"], ["y"], domain="acme")], imports=[helper.make_opsetid("acme", 1)]),
            "'acme.Relu'",
        ),
        (model([helper.make_node("Relu", ["x"], ["y"], slope=1.0)]), "onnx.checker refuses it"),
        (
            model([helper.make_node("MatMul", ["x", "w"], ["y"])], initializers=[weight(np.ones((4, 3), np.float32))]),
            "contradict",
        ),
        (
            model(
                [helper.make_node("Conv", ["x", "w"], ["y"], name="c")], [value("x", [1, 3, 8, 8])],
                [value("y", [1, 4, 8, 8])], [weight(np.ones((4, 5, 1, 1), np.float32))],
            ),
            "Conv 'c' gets 3 channels, but its weight 'w' is for 5",
        ),
    ],
)  # fmt: skip
def test_malformed_graphs_are_refused_by_name(tmp_path, proto, words):
    assert words in refusal(written(tmp_path, proto))


@pytest.mark.parametrize("field", ["act", "xx", "the doc", "the bias"])
def test_text_that_is_not_utf8_is_refused(tmp_path, field):
    node = helper.make_node("Add", ["x", "w"], ["y"], name="act", doc_string="the doc")
    proto = model([node], initializers=[weight()])
    proto.graph.initializer[0].doc_string, proto.graph.node[0].output[0] = "the bias", "xx"
    data = proto.SerializeToString().replace(field.encode(), b"\xff" * len(field))
    assert "is not UTF-8 text" in refusal(written(tmp_path, data))


def test_a_model_without_any_opset_is_refused(tmp_path):
    proto = relu()
    del proto.opset_import[:]
    assert "no opset" in refusal(written(tmp_path, proto))


def loop(trips: int, ends: bool) -> onnx.ModelProto:
    """x plus 1 for each trip; with `ends` the body computes whether to go on."""
    last = helper.make_node("Not", ["on"], ["on2"]) if ends else helper.make_node("Identity", ["on"], ["on2"])
    body = helper.make_graph(
        [last, helper.make_node("Add", ["v", "w"], ["v2"])], "body",
        [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("v", [2, 3])],
        [value("on2", [], TensorProto.BOOL), value("v2", [2, 3])],
    )  # fmt: skip
    constants = [weight(), numpy_helper.from_array(np.array(trips), "m"), numpy_helper.from_array(np.array(True), "c")]
    return model([helper.make_node("Loop", ["m", "c", "x"], ["y"], name="l", body=body)], initializers=constants)


def test_a_loop_of_more_than_a_million_constant_trips_is_refused(tmp_path):
    assert "Loop 'l' runs 1000001 times" in refusal(written(tmp_path, loop(1_000_001, ends=False)))
    assert "Loop" in refusal(written(tmp_path, loop(2**63 - 1, ends=False)))
    load(written(tmp_path, loop(1_000_000, ends=False)))


def test_a_loop_that_its_own_condition_ends_may_be_endless(tmp_path):
    ran = Session(load(written(tmp_path, loop(2**63 - 1, ends=True)))).predict({"x": np.zeros((2, 3), np.float32)})
    assert ran["y"].tolist() == [[1, 1, 1]] * 2


def nested(depth: int) -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Identity", ["x"], ["y0"])], "b", [], [value("y0", [2, 3])])
    for level in range(1, depth):
        node = helper.make_node("If", ["c"], [f"y{level}"], then_branch=inner, else_branch=inner)
        inner = helper.make_graph([node], "b", [], [value(f"y{level}", [2, 3])])
        node.attribute[0].g.node[0].name = "t"
        other = helper.make_node("Identity", ["x"], [f"e{level}"])
        inner.node[0].attribute[1].g.CopyFrom(helper.make_graph([other], "e", [], [value(f"e{level}", [2, 3])]))
    output = inner.output[0].name
    nodes = [*inner.node, helper.make_node("Identity", [output], ["y"])]
    return model(nodes, [value("x", [2, 3]), value("c", [], TensorProto.BOOL)])


def test_nesting_that_would_exhaust_the_stack_is_refused_and_less_loads(tmp_path):
    shallow = load(written(tmp_path, nested(8)))
    shallow.record("nothing")
    feeds = {"x": np.ones((2, 3), np.float32), "c": np.array(True)}
    assert Session(shallow).predict(feeds)["y"].tolist() == [[1, 1, 1]] * 2
    for proto in (nested(20), deep_bytes(2000)):
        assert "nested too deeply" in refusal(written(tmp_path, proto))


def deep_bytes(levels: int) -> bytes:
    """The wire form of a graph within a graph within a graph, which no writer of protobuf would finish."""
    def field(tag: bytes, content: bytes) -> bytes:
        size, digits = len(content), b""
        while size >= 128:
            digits, size = digits + bytes([size % 128 + 128]), size // 128
        return tag + digits + bytes([size]) + content

    graph = b""
    for _ in range(levels):
        attribute = field(b"\x0a", b"b") + field(b"\x32", graph)
        graph = field(b"\x0a", field(b"\x22", b"If") + field(b"\x2a", attribute))
    return b"\x08\x09" + field(b"\x3a", graph) + field(b"\x42", b"\x10\x11")


def function(name: str, callee: str, calls: int) -> onnx.FunctionProto:
    names = ["a", *(f"t{i}" for i in range(calls - 1)), "b"]
    domain = "own" if callee not in ("Relu",) else ""
    nodes = [helper.make_node(callee, [p], [q], domain=domain) for p, q in zip(names, names[1:], strict=False)]
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], ["b"], nodes, imports)


def calling(functions: list[onnx.FunctionProto], name: str) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    return model([helper.make_node(name, ["x"], ["y"], domain="own")], imports=imports, functions=functions)


def test_functions_that_recurse_or_explode_are_refused(tmp_path):
    assert "calls itself" in refusal(written(tmp_path, calling([function("f", "f", 1)], "f")))
    bombs = [function("f0", "Relu", 10), *(function(f"f{i}", f"f{i - 1}", 10) for i in range(1, 8))]
    assert "function calls expanded" in refusal(written(tmp_path, calling(bombs, "f7")))
    deep = [function("f0", "Relu", 1), *(function(f"f{i}", f"f{i - 1}", 1) for i in range(1, 3000))]
    assert "64 deep" in refusal(written(tmp_path, calling(deep, "f2999")))


def test_functions_and_runtime_operators_are_known(tmp_path):
    loaded = load(written(tmp_path, calling([function("f0", "Relu", 2), function("f1", "f0", 2)], "f1")))
    loaded.record("nothing")
    assert Session(loaded).predict({"x": -np.ones((2, 3), np.float32)})["y"].tolist() == [[0, 0, 0]] * 2
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    gelu = helper.make_node("FastGelu", ["x"], ["y"], domain="com.microsoft")
    load(written(tmp_path, model([gelu], imports=imports)))


def test_a_chain_of_20000_nodes_loads_and_leaves(tmp_path):
    names = ["x", *(f"t{i}" for i in range(19_999)), "y"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in zip(names, names[1:], strict=False)]
    loaded = load(written(tmp_path, model(nodes)))
    loaded.record("nothing")
    assert len(loaded.clone().to_proto().graph.node) == 20_000


def test_nodes_out_of_order_are_sorted(tmp_path):
    loaded = load(written(tmp_path, model(chain(("z", "y"), ("x", "z")))))
    assert [n.name for n in loaded.nodes()] == ["xz", "zy"]
    onnx.checker.check_model(onnx.load_from_string(loaded.to_bytes()))


def test_a_node_whose_body_uses_a_value_comes_after_its_maker(tmp_path):
    bodies = [helper.make_graph(chain(("z", name)), name, [], [value(name, [2, 3])]) for name in ("t", "e")]
    choice = helper.make_node("If", ["c"], ["y"], name="if", then_branch=bodies[0], else_branch=bodies[1])
    inputs = [value("x", [2, 3]), value("c", [], TensorProto.BOOL)]
    loaded = load(written(tmp_path, model([choice, *chain(("x", "z"))], inputs)))
    assert [n.name for n in loaded.nodes()] == ["xz", "if"]
    Session(loaded)


def test_declared_shapes_that_onnx_runtime_only_warns_of_are_no_reason_to_refuse(tmp_path):
    inner = model(chain(("x", "z"), ("z", "y")), value_info=[value("z", [5, 3])])
    outer = model(chain(("x", "y")), outputs=[value("y", [2, 4])])
    for proto in (inner, outer):
        loaded = load(written(tmp_path, proto))
        assert not loaded.consistent
        assert loaded.to_bytes() == proto.SerializeToString()
        Session(loaded)


def test_a_type_that_contradicts_is_refused(tmp_path):
    assert "contradict" in refusal(written(tmp_path, model(chain(("x", "y")), outputs=[value("y", [2, 3], 10)])))


def test_an_output_without_a_shape_is_fine(tmp_path):
    loaded = load(written(tmp_path, model(chain(("x", "y")), outputs=[value("y", None)])))
    loaded.record("nothing")
    assert not loaded.to_proto().graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize(("opset", "becomes"), [(6, 7), (7, 7), (21, 21), (22, 21), (25, 21)])
def test_opsets_outside_7_to_21_are_converted(tmp_path, opset, becomes):
    proto = model(chain(("x", "y")), opset=opset, ir=12 if opset > 21 else 9)
    proto.metadata_props.add(key="author", value="me")
    loaded = load(written(tmp_path, proto))
    assert loaded.graph.opset == becomes
    out = onnx.load_from_string(loaded.to_bytes())
    assert out.opset_import[0].version == becomes and out.ir_version <= 10
    assert out.metadata_props[0].value == "me"
    loaded.save(tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == proto.SerializeToString()
    Session(loaded)


def test_a_converted_net_computes_the_same(tmp_path):
    random = np.random.default_rng(0)
    weights = numpy_helper.from_array(random.random((4, 3, 3, 3), np.float32), "w")
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], name="c"), helper.make_node("Relu", ["c"], ["y"], name="r")]
    results = []
    for opset in (6, 13, 23):
        proto = model(nodes, [value("x", [1, 3, 5, 5])], [value("y", [1, 4, 3, 3])], [weights], opset=opset)
        loaded = load(written(tmp_path, proto))
        assert [n.name for n in loaded.nodes()] == ["c", "r"] and list(loaded.initializers()) == ["w"]
        results.append(Session(loaded).predict({"x": np.ones((1, 3, 5, 5), np.float32)})["y"])
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])


def test_an_opset_that_cannot_be_converted_is_refused_with_the_reason(tmp_path):
    newer = calling([function("f0", "Relu", 1)], "f0")
    newer.opset_import[0].version = 22
    assert "local functions" in refusal(written(tmp_path, newer))
    nodes = [helper.make_node("Swish", ["x"], ["y"])]
    assert "cannot convert opset 24 to 21" in refusal(written(tmp_path, model(nodes, opset=24)))


def test_names_with_control_characters_survive_and_are_escaped_in_messages(tmp_path):
    bad = "a\x1b[31m\n</script>"
    loaded = load(written(tmp_path, model([helper.make_node("Relu", ["x"], ["y"], name=bad)])))
    assert next(loaded.nodes()).name == bad
    assert "\\x1b" in refusal(written(tmp_path, model([helper.make_node(bad, ["x"], ["y"], name=bad)])))


@pytest.mark.parametrize("name", REAL)
def test_real_models_come_back_byte_for_byte(name, tmp_path):
    path = shared_model(name)
    loaded = load(path)
    loaded.save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == path.read_bytes() == loaded.clone().to_bytes()
