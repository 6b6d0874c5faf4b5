"""Malformed graphs are refused by name; all others load as they are."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pfir.frontends import load
from pfir.run.session import Session
from tests.support.models import REAL, shared_model
from tests.support.runtime import fault_of_1_19
from tests.test_frontends.files import calling, chain, function, model, refusal, relu, value, weight, written


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
                [helper.make_node("Conv", ["x", "w"], ["y"], name="c")],
                [value("x", [1, 3, 8, 8])],
                [value("y", [1, 4, 8, 8])],
                [weight(np.ones((4, 5, 1, 1), np.float32))],
            ),
            "Conv 'c' gets 3 channels, but its weight 'w' is for 5",
        ),
    ],
)
def test_malformed_graphs_are_refused_by_name(tmp_path, proto, words):
    assert words in refusal(written(tmp_path, proto))


def _ones(*shape):
    return weight(np.ones(shape, np.float32))


def _layer(op, *shape, weights, domain="", **attributes):
    """One layer on x of this shape, with weights of ones."""
    tensors = [onnx.numpy_helper.from_array(np.ones(s, np.float32), f"w{i}") for i, s in enumerate(weights)]
    node = helper.make_node(op, ["x", *(t.name for t in tensors)], ["y"], name="n", domain=domain, **attributes)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return model([node], [value("x", list(shape))], [value("y", None)], tensors, imports=imports)


@pytest.mark.parametrize(
    ("proto", "words"),
    [
        (_layer("Conv", 1, 3, 16, weights=[(4, 3, 3, 3)]), "Conv"),
        (_layer("Conv", 3, weights=[(4, 3, 3, 3)]), "Conv"),
        (_layer("ConvTranspose", 1, 4, 16, weights=[(4, 3, 3, 3)], pads=[1] * 4), "ConvTranspose"),
        (_layer("FusedConv", 1, 3, 16, weights=[(4, 3, 3, 3)], domain="com.microsoft"), "data of 3 axes"),
        (_layer("FusedConv", 1, 3, 9, 9, weights=[(4, 3, 3, 3)], domain="com.microsoft", strides=[0, 1]), "positive"),
        (_layer("FusedConv", 1, 3, 9, 9, weights=[(4, 3, 3, 3)], domain="com.microsoft", pads=[1, 1]), "has pads"),
        (_layer("FusedConv", 1, 3, 9, 9, weights=[(4, 3, 3, 3)], domain="com.microsoft", kernel_shape=[9]), "kernel"),
        (_layer("FusedConv", 1, 3, weights=[(4, 3)], domain="com.microsoft"), "at least 3 are needed"),
        (_layer("Conv", 1, 3, 8, 8, weights=[(4, 3, 1, 1), (5,)]), "but its bias has the shape [5]"),
        (_layer("Conv", 1, 3, 8, 8, weights=[(4, 3, 1, 1)], group=0), "Conv 'n' has 0 groups"),
        (_layer("Conv", 1, 4, 8, 8, weights=[(3, 2, 1, 1)], group=2), "Conv 'n' makes 3 channels in 2 groups"),
        (_layer("Conv", 1, 3, 8, 8, weights=[(0, 3, 1, 1)]), "a weight 'w0' without elements"),
        (_layer("Gemm", 2, 0, weights=[(0, 3)]), "a weight 'w0' without elements"),
        (_layer("Gemm", 2, 4, weights=[(4, 3), (0,)]), "makes 3 channels, but its bias 'w1' has the shape [0]"),
        (_layer("Gemm", 2, 4, weights=[(3, 4), (2, 2)], transB=1), "makes 3 channels, but its bias 'w1'"),
        (_layer("InstanceNormalization", 1, 3, 8, 8, weights=[(5,), (5,)]), "3 channels, but 'w0' has the shape [5]"),
        (
            _layer("LSTM", 5, 2, 3, weights=[(1, 16, 7), (1, 16, 4)], hidden_size=4),
            "gets 'w0' of the shape [1, 16, 7], where [1, 16, 3] is needed",
        ),
    ],
)
def test_layers_whose_weights_do_not_fit_are_refused(tmp_path, proto, words):
    text = refusal(written(tmp_path, proto))
    assert "its shapes contradict each other" in text and words in text


@pytest.mark.parametrize(("indices", "position"), [([0, 1], 1), ([-2], -2)])
def test_a_gather_that_reads_beyond_the_end_is_refused(tmp_path, indices, position):
    tensor = onnx.numpy_helper.from_array(np.array(indices, np.int64), "i")
    nodes = [helper.make_node("Shape", ["x"], ["s"]), helper.make_node("Gather", ["s", "i"], ["y"], name="g")]
    text = refusal(written(tmp_path, model(nodes, [value("x", [3])], [value("y", None, TensorProto.INT64)], [tensor])))
    assert f"Gather 'g' reads position {position} of axis 0, which has 1" in text


@fault_of_1_19
def test_a_refusal_by_onnx_stands_where_onnx_runtime_opens_the_model_but_cannot_run_it(tmp_path):
    nodes = [helper.make_node("Flatten", ["x"], ["f"]), helper.make_node("Gemm", ["f", "w"], ["y"], transB=1)]
    proto = model(nodes, [value("x", ["N", 4, 1, 1])], [value("y", ["N", 10])], [_ones(10, 5)])
    Session(proto.SerializeToString())
    assert "Dimension mismatch in unification" in refusal(written(tmp_path, proto))


def test_a_size_of_minus_one_is_not_known(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    proto = model([node], outputs=[value("y", None)], initializers=[_ones(3, 2)])
    for dim in proto.graph.input[0].type.tensor_type.shape.dim:
        dim.dim_value = -1
    assert load(written(tmp_path, proto)).consistent


def test_a_call_of_a_function_with_more_inputs_than_it_has_is_refused(tmp_path):
    proto = calling([function("f", "Relu", 1)], "f")
    proto.graph.node[0].input.append("x")
    assert "f '' has 2 inputs; the function of this name in the model has 1" in refusal(written(tmp_path, proto))


@pytest.mark.parametrize(("inputs", "place"), [([], 0), (["x"], 1), (["x", "w", "w"], 3), (["x", "", "w"], 1)])
def test_an_operator_of_onnx_runtime_without_an_input_that_it_needs_is_refused(tmp_path, inputs, place):
    node = helper.make_node("QAttention", inputs, ["y"], domain="com.microsoft", num_heads=1)
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    proto = model([node], initializers=[weight()], imports=imports)
    assert f"QAttention '' lacks input {place}" in refusal(written(tmp_path, proto))


def test_a_reference_to_an_attribute_of_a_function_is_refused_outside_of_functions(tmp_path):
    proto = relu()
    proto.graph.node[0].attribute.add(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.FLOAT)
    assert "takes attribute 'a' of a function, but is in none" in refusal(written(tmp_path, proto))


def test_outputs_declare_what_they_are_where_what_the_file_declares_contradicts_it(tmp_path):
    node = helper.make_node("Relu", ["x"], ["y"])
    proto = model([node], [value("x", ["N", 3])], [value("x", None), value("y", ["N", 2])])
    loaded = load(written(tmp_path, proto))
    assert not loaded.consistent and loaded.outputs()[1].shape == ("N", 3)


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
