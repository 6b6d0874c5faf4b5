"""What a model came with survives a change, and clones share arrays but nothing else."""

from __future__ import annotations

import pickle

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession

from pfir.errors import FrontendError, UsageError, VerifyError
from pfir.frontends import load
from pfir.ir.checking.verify import verify_model
from pfir.ir.model import Model
from pfir.ir.onnx_io.saving import save_model
from pfir.passes import pipeline
from pfir.passes.base import Context
from pfir.passes.simplification.simplify import Simplify
from tests.support.models import REAL, shared_model
from tests.support.net import feeds as random_feeds
from tests.support.runs import run


def value(name: str, shape: list | None, element: int = TensorProto.FLOAT, doc: str = "") -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element, shape, doc)


def rich() -> onnx.ModelProto:
    """A model that has one of everything that GraphSurgeon drops."""
    given = numpy_helper.from_array(np.ones(3, np.float32), "w")
    given.doc_string = "the bias"
    node = helper.make_node("Add", ["x", "w"], ["z"], name="sum", doc_string="adds")
    node.metadata_props.add(key="layer", value="1")
    nodes = [node, helper.make_node("Relu", ["z"], ["y"]), helper.make_node("Relu", ["z"], ["u"])]
    inner = value("z", ["batch", 3], doc="between")
    inner.metadata_props.add(key="seen", value="yes")
    graph = helper.make_graph(
        nodes,
        "net",
        [value("w", [3]), value("x", ["batch", 3], doc="the input")],
        [value("y", ["batch", 3]), value("u", ["batch", 3])],
        [given],
        "a graph",
        [inner],
    )
    graph.input[1].type.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    graph.metadata_props.add(key="g", value="h")
    note = graph.quantization_annotation.add(tensor_name="z")
    note.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="w")
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="me", producer_version="2")
    proto.metadata_props.add(key="author", value="you")
    proto.domain, proto.model_version, proto.doc_string = "org.example", 7, "a model"
    return proto


def changed(model: Model) -> onnx.ModelProto:
    """The model written anew, after a change that must not show but in a name and the provenance."""
    copy = model.clone()
    next(copy.nodes()).name += "_renamed"
    copy.record("rename-nodes")
    return onnx.load_from_string(copy.to_bytes())


@pytest.mark.parametrize("name", REAL)
def test_a_rewritten_real_model_has_the_same_interface_metadata_weights_and_outputs(name):
    path = shared_model(name)
    before = onnx.load(path)
    model = load(path)
    after = changed(model)
    assert list(before.graph.input) == list(after.graph.input)
    assert list(before.graph.output) == list(after.graph.output)
    assert before.ir_version == after.ir_version and list(before.opset_import) == list(after.opset_import)
    kept = {p.key: p.value for p in after.metadata_props}
    assert kept.pop("pfir.passes") == '["rename-nodes"]'
    assert kept == {p.key: p.value for p in before.metadata_props}
    arrays = ({t.name: numpy_helper.to_array(t) for t in proto.graph.initializer} for proto in (before, after))
    np.testing.assert_equal(*arrays)
    feeds = random_feeds(model)
    for a, b in zip(run(path.read_bytes(), feeds), run(after.SerializeToString(), feeds), strict=True):
        np.testing.assert_array_equal(a, b)


def test_everything_that_graphsurgeon_drops_survives_a_change():
    before, after = rich(), changed(Model.from_proto(rich()))
    # What the change itself did, and the names that the unnamed nodes have now.
    assert [n.name for n in after.graph.node] == ["sum_renamed", "Relu_1", "Relu_2"]
    for node, name in zip(after.graph.node, ["sum", "", ""], strict=True):
        node.name = name
    assert after.metadata_props.pop().key == "pfir.passes"
    for node in before.graph.node:
        node.name = node.name or ""
    assert after == before
    onnx.checker.check_model(after, full_check=True)


def test_the_provenance_is_read_back_and_grows():
    first = Model.from_proto(rich())
    first.record("one{ratio=0.5}")
    second = Model.from_proto(first.to_proto())
    assert second.provenance == ("one{ratio=0.5}",)
    second.record("two")
    assert Model.from_proto(second.to_proto()).provenance == ("one{ratio=0.5}", "two")


@pytest.mark.parametrize("text", ["{}", "[1]", "not json", "[" * 100_000])
def test_a_provenance_that_is_no_list_of_texts_is_refused(text):
    proto = rich()
    proto.metadata_props.add(key="pfir.passes", value=text)
    with pytest.raises(FrontendError, match="JSON list of texts"):
        Model.from_proto(proto)


def test_the_ir_version_stays_up_to_10():
    for version, expected in ((7, 7), (10, 10), (14, 10)):
        proto = rich()
        proto.ir_version = version
        assert Model.from_proto(proto).to_proto().ir_version == expected


def test_below_ir_version_4_every_initializer_is_an_input():
    proto = rich()
    proto.ir_version = 3
    model = Model.from_proto(proto)
    node = next(model.nodes())
    node.inputs[1] = gs.Constant("new", np.zeros(3, np.float32))
    model.record("replace")
    assert [v.name for v in model.to_proto().graph.input] == ["x", "new"]
    onnx.checker.check_model(model.to_proto())


def test_until_ends_at_the_named_tensors_and_leaves_the_model_as_it_is():
    model = load(shared_model("resnet20_cifar10_fp32.onnx"))
    middle = [n for n in model.nodes() if n.op == "Conv"][3]
    part = model.until([middle.outputs[0].name])
    assert [t.name for t in part.graph.outputs] == [middle.outputs[0].name]
    assert sum(n.op == "Conv" for n in part.nodes()) == 4
    assert sum(n.op == "Conv" for n in model.nodes()) > 4
    assert part.initializers()[middle.inputs[1].name].values is model.initializers()[middle.inputs[1].name].values


def test_a_clone_shares_arrays_and_nothing_else():
    model = Model.from_proto(rich())
    copy = model.clone()
    assert copy.initializers()["w"].values is model.initializers()["w"].values
    before = model.to_proto()
    node = next(copy.nodes())
    node.name, node.attrs["extra"] = "other", 1
    node.outputs[0].name = "zz"
    copy.graph.inputs[0].shape[0] = 5
    copy.set_arrays({"w": np.zeros(3, np.float32)})
    copy.graph.import_domains.clear()
    copy.graph.outputs.pop()
    copy.graph.cleanup()
    assert model.to_proto() == before


def branching() -> onnx.ModelProto:
    """If c: x + w, else x * v with v of its own; w belongs to the main graph and is used in the branch only."""
    then = helper.make_graph([helper.make_node("Add", ["x", "w"], ["t"])], "then", [], [value("t", [2])])
    own = [numpy_helper.from_array(np.full(2, 3, np.float32), "v")]
    other = helper.make_graph([helper.make_node("Mul", ["x", "v"], ["e"])], "else", [], [value("e", [2])], own)
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=other)
    graph = helper.make_graph(
        [node],
        "g",
        [value("c", [], TensorProto.BOOL), value("x", [2])],
        [value("y", [2])],
        [numpy_helper.from_array(np.full(2, 5, np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_bodies_use_the_outer_tensors_and_keep_their_own():
    model = Model.from_proto(branching()).clone()
    verify_model(model)
    body = next(model.nodes()).attrs["then_branch"]
    assert body.nodes[0].inputs[0] is model.graph.inputs[1]
    data = model.to_bytes()
    x = np.ones(2, np.float32)
    assert run(data, {"c": np.array(True), "x": x})[0].tolist() == [6, 6]
    assert run(data, {"c": np.array(False), "x": x})[0].tolist() == [3, 3]


def test_a_constant_of_two_branches_is_written_once_around_both():
    proto = branching()
    other = next(a.g for a in proto.graph.node[0].attribute if a.name == "else_branch")
    other.node[0].input[1] = "w"
    del other.initializer[:]
    written = Model.from_proto(proto).for_a_file().to_proto()
    assert [t.name for t in written.graph.initializer] == ["w"]
    assert not any(a.g.initializer for a in written.graph.node[0].attribute)
    onnx.checker.check_model(written, full_check=True)


def test_an_input_with_a_default_stays_where_only_a_branch_uses_it():
    proto = branching()
    proto.graph.input.insert(1, value("w", [2]))
    written = changed(Model.from_proto(proto))
    assert [v.name for v in written.graph.input] == ["c", "w", "x"]
    assert [t.name for t in written.graph.initializer] == ["w"]


def test_arrays_of_a_loaded_model_cannot_be_written_into():
    array = Model.from_proto(rich()).initializers()["w"].values
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


ELEMENTS = sorted(set(TensorProto.DataType.values()) - {TensorProto.UNDEFINED})


@pytest.mark.parametrize("element", ELEMENTS, ids=TensorProto.DataType.Name)
def test_every_element_type_survives_in_an_initializer_and_at_the_border(element):
    dtype = helper.tensor_dtype_to_np_dtype(element)
    text = element == TensorProto.STRING
    array = np.array(["a", "", "ö", "x"], object) if text else np.array([0, 1, 1, 0]).astype(dtype)
    tensor = helper.make_tensor("w", element, [4], [v.encode() for v in array]) if text else None
    tensor = tensor if tensor is not None else numpy_helper.from_array(array, "w")
    nodes = [helper.make_node("Identity", ["w"], ["y"], name="a"), helper.make_node("Identity", ["x"], ["z"], name="b")]
    borders = [value("y", [4], element), value("z", [4], element)]
    graph = helper.make_graph(nodes, "g", [value("x", [4], element)], borders, [tensor])
    proto = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    model = Model.from_proto(proto).clone()
    values = model.initializers()["w"].values
    assert values.dtype == array.dtype and str(values.tolist()) == str(array.tolist())
    again = model.to_proto()
    assert list(again.graph.input) == list(graph.input) and list(again.graph.output) == list(graph.output)
    assert again.graph.initializer[0] == tensor


def test_border_dtypes_are_told_by_name():
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value("x", ["n", None, 3], TensorProto.BFLOAT16)],
        [value("y", None, TensorProto.BFLOAT16)],
    )
    model = Model.from_proto(helper.make_model(graph, ir_version=10))
    assert (model.inputs()[0].dtype, model.inputs()[0].shape) == ("bfloat16", ("n", None, 3))
    assert model.graph.inputs[0].dtype == np.dtype(ml_dtypes.bfloat16)


def test_sequences_and_optionals_stay_what_they_are():
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, ["n"])
    optional = helper.make_value_info("o", helper.make_optional_type_proto(sequence.type))
    nodes = [
        helper.make_node("SequenceConstruct", ["x", "x"], ["s"], name="a"),
        helper.make_node("Optional", ["s"], ["o"], name="b"),
        helper.make_node("Optional", [], ["p"], name="c", type=sequence.type),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", ["n"])], [sequence, optional])
    proto = helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)])
    model = Model.from_proto(proto).clone()
    assert [s.dtype for s in model.outputs()] == ["sequence", "optional"]
    assert list(model.to_proto().graph.output) == [sequence, optional]
    assert model.to_proto().graph.node[2].attribute == graph.node[2].attribute
    verify_model(model)


def sparse(linear: bool) -> onnx.ModelProto:
    values = numpy_helper.from_array(np.array([5, 7], np.float32), "w")
    places = np.array([1, 5]) if linear else np.array([[0, 1], [1, 2]])
    tensor = helper.make_sparse_tensor(values, numpy_helper.from_array(places, "i"), [2, 3])
    node = helper.make_node("Add", ["x", "w"], ["y"], name="a")
    graph = helper.make_graph([node], "g", [value("x", [2, 3])], [value("y", [2, 3])], sparse_initializer=[tensor])
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)])


@pytest.mark.parametrize("linear", [True, False])
def test_a_sparse_initializer_stays_sparse_until_it_is_looked_at(linear):
    model = Model.from_proto(sparse(linear))
    assert model.to_proto().graph.sparse_initializer == sparse(linear).graph.sparse_initializer
    copy = model.clone()
    assert copy.initializers()["w"].values.tolist() == [[0, 5, 0], [0, 0, 7]]
    assert copy.initializers()["w"].dtype == np.float32
    written = copy.to_proto()
    assert len(written.graph.initializer) == 1 and not written.graph.sparse_initializer
    assert len(model.to_proto().graph.sparse_initializer) == 1


def test_attributes_of_every_kind_survive():
    tensor = numpy_helper.from_array(np.array([1.5], np.float32), "t")
    empty = onnx.AttributeProto(name="axes", type=onnx.AttributeProto.INTS)
    node = helper.make_node("Op", ["x"], ["y"], name="a", domain="com.microsoft", f=1.0, i=2, s="text", t=tensor)
    node.attribute.extend(
        [
            empty,
            helper.make_attribute("b", b"\xff\xfe"),
            helper.make_attribute("fs", [0.5, 1.0]),
            helper.make_attribute("ss", ["a", "b"]),
            helper.make_attribute("ts", [tensor, tensor]),
            helper.make_attribute("none", [], attr_type=onnx.AttributeProto.STRINGS),
            helper.make_attribute("d", 3, "doc"),
            helper.make_attribute("type", value("v", [1]).type),
        ]
    )
    imports = [helper.make_opsetid("", 13), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "g", [value("x", [1])], [value("y", [1])])
    model = Model.from_proto(helper.make_model(graph, ir_version=8, opset_imports=imports)).clone()
    assert {a.name: a for a in model.to_proto().graph.node[0].attribute} == {a.name: a for a in node.attribute}


def test_whole_numbers_become_floats_where_the_operator_wants_floats():
    x, y = (gs.Variable(name, np.float32, [2]) for name in "xy")
    node = gs.Node("LeakyRelu", "a", {"alpha": 1}, [x], [y])
    scale = gs.Node("Resize", "b", {"cubic_coeff_a": np.float32(1)})
    written = Model(gs.Graph([node, scale], [x], [y], opset=13)).to_proto()
    assert written.graph.node[0].attribute[0].f == 1.0
    assert written.graph.node[1].attribute[0].type == onnx.AttributeProto.FLOAT


def test_a_new_domain_is_imported():
    model = Model.from_proto(rich())
    next(model.nodes()).domain = "ai.onnx.contrib"
    assert [(o.domain, o.version) for o in model.to_proto().opset_import][-1] == ("ai.onnx.contrib", 1)


def test_cleanup_drops_what_belongs_to_dropped_nodes():
    model = Model.from_proto(rich())
    relu = model.graph.nodes[1]
    relu.inputs[0] = model.graph.inputs[0]
    del model.graph.outputs[1]
    model.graph.cleanup().toposort()
    model.record("cut")
    written = model.to_proto()
    assert [n.op_type for n in written.graph.node] == ["Relu"]
    assert not written.graph.quantization_annotation and not written.graph.initializer
    assert [v.name for v in written.graph.input] == ["x"]
    verify_model(model)


def test_nodes_have_unique_names_whatever_the_file_says():
    names = ["a", "", "a", "Relu_1", ""]
    nodes = [helper.make_node("Relu", [f"{i}"], [f"{i + 1}"], name=n) for i, n in enumerate(names)]
    graph = helper.make_graph(nodes, "g", [value("0", [1])], [value("5", [1])])
    model = Model.from_proto(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]))
    assert [n.name for n in model.nodes()] == ["a", "Relu_1_", "a_2", "Relu_1", "Relu_4"]


def test_set_arrays_wants_known_names():
    with pytest.raises(KeyError):
        Model.from_proto(rich()).set_arrays({"none": np.zeros(3)})


def test_a_model_above_the_limit_is_saved_as_two_files_that_load(tmp_path):
    random = np.random.default_rng(0)
    proto = rich()
    proto.graph.initializer[0].CopyFrom(numpy_helper.from_array(random.random((400, 3), np.float32), "w"))
    proto.graph.input[0].CopyFrom(value("w", [400, 3]))
    for shape in (*proto.graph.input[1:], *proto.graph.output, *proto.graph.value_info):
        shape.type.tensor_type.shape.dim[0].dim_value = 400
    model = Model.from_proto(proto)
    save_model(model, tmp_path / "m.onnx", one_file_bytes=100)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.onnx", "m.onnx.data"]
    again = load(tmp_path / "m.onnx")
    np.testing.assert_array_equal(again.initializers()["w"].values, model.initializers()["w"].values)
    feeds = {"x": random.random((400, 3), np.float32)}
    InferenceSession(tmp_path / "m.onnx").run(None, feeds)
    assert again.to_proto() == model.to_proto()


def test_a_file_that_cannot_be_written_leaves_nothing_behind(tmp_path):
    model = Model.from_proto(rich())
    with pytest.raises(UsageError, match="cannot write"):
        model.save(tmp_path / "none" / "m.onnx")
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        model.save(tmp_path / "m.onnx")
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_model_too_large_for_one_file_says_so(monkeypatch):
    model = Model.from_proto(rich())
    huge = np.lib.stride_tricks.as_strided(np.zeros(1, np.float32), (1 << 10,), (0,))
    model.set_arrays({"w": huge})

    def refuse(tensor, array):
        raise ValueError("too large")

    monkeypatch.setattr("pfir.ir.model.Model.to_proto", lambda self: refuse(None, None))
    with pytest.raises(FrontendError, match="2 GiB"):
        model.to_bytes()


@pytest.mark.parametrize("one_file_bytes", [100, 1 << 30])
def test_a_file_that_fails_its_check_does_not_appear(tmp_path, one_file_bytes):
    model = Model.from_proto(_two_files())
    model.record("anything")
    (tmp_path / "m.onnx").write_bytes(b"as it was")

    def check(path):
        onnx.checker.check_model(str(path))
        raise VerifyError("no")

    with pytest.raises(VerifyError):
        save_model(model, tmp_path / "m.onnx", one_file_bytes, check)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == b"as it was"


def _two_files() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((40, 40), np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 40]) for n in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"], name="m")], "g", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", REAL[:2])
def test_a_pickled_model_is_the_same_model(name):
    model = load(shared_model(name))
    for given in (model, pipeline.run((Simplify(),), model, Context())[0]):
        again = pickle.loads(pickle.dumps(given))
        assert again.to_bytes() == given.to_bytes()
        assert (again.name, again.provenance, again.source) == (given.name, given.provenance, given.source)
