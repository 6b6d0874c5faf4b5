"""What would exhaust memory, time or the stack is refused; what only looks large is not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.frontends import load
from pfir.run.session import Session
from tests.test_frontends.files import added, calling, chain, function, model, refusal, value, weight, written


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


def loop(trips: int, ends: bool) -> onnx.ModelProto:
    """x plus 1 for each trip; with `ends` the body computes whether to go on."""
    last = helper.make_node("Not", ["on"], ["on2"]) if ends else helper.make_node("Identity", ["on"], ["on2"])
    body = helper.make_graph(
        [last, helper.make_node("Add", ["v", "w"], ["v2"])],
        "body",
        [value("i", [], TensorProto.INT64), value("on", [], TensorProto.BOOL), value("v", [2, 3])],
        [value("on2", [], TensorProto.BOOL), value("v2", [2, 3])],
    )
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


@pytest.mark.parametrize("axis", [2**63 - 1, -(2**63), 65])
@pytest.mark.parametrize("op", ["LayerNormalization", "Softmax", "Concat"])
def test_an_axis_that_no_tensor_has_is_refused(tmp_path, op, axis):
    node = helper.make_node(op, ["x"] if op != "LayerNormalization" else ["x", "x"], ["y"], "n", axis=axis)
    assert f"{op} 'n': axis {axis} is none" in refusal(written(tmp_path, model([node])))


def test_a_split_that_tells_of_more_outputs_than_it_has_is_refused(tmp_path):
    node = helper.make_node("Split", ["x"], ["y"], "n", axis=0, num_outputs=2**28)
    assert "Split 'n': num_outputs is 268435456; it has 1" in refusal(written(tmp_path, model([node], opset=18)))
