"""A model that a pass broke is told from a whole one, and by name."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import FrontendError, VerifyError
from pfir.frontends import load
from pfir.ir.checking.verify import check_finite, verify_model
from pfir.ir.model import Model
from tests.support.models import shared_model


def convolutions() -> Model:
    """Conv a [4, 3, 1, 1], Relu r, Conv b [2, 4, 1, 1], with every inner shape declared."""
    weights = [np.ones((4, 3, 1, 1), np.float32), np.ones((2, 4, 1, 1), np.float32)]
    nodes = [
        helper.make_node("Conv", ["x", "wa"], ["s"], name="a"),
        helper.make_node("Relu", ["s"], ["t"], name="r"),
        helper.make_node("Conv", ["t", "wb"], ["y"], name="b"),
    ]
    shapes = {"x": [1, 3, 5, 5], "s": [1, 4, 5, 5], "t": [1, 4, 5, 5], "y": [1, 2, 5, 5]}
    values = {n: helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()}
    initializers = [numpy_helper.from_array(w, n) for w, n in zip(weights, ("wa", "wb"), strict=True)]
    graph = helper.make_graph(nodes, "g", [values["x"]], [values["y"]], initializers, None, [values["s"], values["t"]])
    return Model.from_proto(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]))


def fault(model: Model, quick: bool = True) -> str:
    with pytest.raises(VerifyError) as caught:
        verify_model(model, quick=quick)
    return str(caught.value)


def nodes(model: Model) -> dict[str, gs.Node]:
    return {n.name: n for n in model.nodes()}


def test_a_valid_model_passes_verification():
    verify_model(convolutions())
    verify_model(convolutions(), quick=True)


@pytest.mark.parametrize("name", ["mediapipe_face_landmark.onnx", "resnet56_cifar10_fp32.onnx"])
def test_real_models_pass_before_and_after_a_copy(name):
    model = load(shared_model(name)).clone()
    model.record("copy")
    verify_model(model)
    check_finite(model)


def test_an_input_that_nothing_makes_is_named():
    model = convolutions()
    nodes(model)["r"].inputs[0] = gs.Variable("ghost")
    assert "input 'ghost' of Relu 'r" in fault(model)


def test_nodes_out_of_order_are_named():
    model = convolutions()
    model.graph.nodes.reverse()
    assert fault(model) == "input 't' of Conv 'b' is not made before it"


def test_another_tensor_of_the_same_name_is_told():
    model = convolutions()
    nodes(model)["r"].inputs[0] = gs.Variable("x")
    assert "has another tensor of that name" in fault(model)


def test_a_value_made_twice_is_told():
    model = convolutions()
    model.graph.nodes.insert(1, gs.Node("Relu", "q", {}, [model.graph.inputs[0]], [gs.Variable("s")]))
    assert fault(model) == "the value 's' of Relu 'q' is made a second time"
    model = convolutions()
    nodes(model)["r"].outputs.append(nodes(model)["a"].outputs[0])
    assert "has 2 makers" in fault(model)


def test_two_inputs_of_one_name_are_told():
    model = convolutions()
    model.graph.inputs.append(gs.Variable("x", np.float32, [1]))
    assert "input 'x' is made a second time" in fault(model)


def test_names_of_nodes_are_there_and_differ():
    model = convolutions()
    nodes(model)["r"].name = "a"
    assert fault(model) == "two nodes are named 'a'"
    nodes(model)["a"].name = ""
    assert "has no name" in fault(model)


def test_an_output_that_nothing_makes_is_named():
    model = convolutions()
    model.graph.outputs.append(gs.Variable("ghost"))
    assert fault(model) == "the graph's output 'ghost' is made by no node"


def test_constants_of_one_name_or_with_a_maker_are_told():
    model = convolutions()
    nodes(model)["b"].inputs[1] = gs.Constant("wa", np.ones((2, 4, 1, 1), np.float32))
    assert "constant 'wa' of Conv 'b' shares its name" in fault(model)
    model = convolutions()
    constant = nodes(model)["a"].inputs[1]
    model.graph.nodes.insert(0, gs.Node("Constant", "c", {}, [], [constant]))
    assert "which is a constant" in fault(model)
    model.graph.nodes.pop(0)
    assert "made by a node as well" in fault(model)


def test_a_lost_back_reference_is_told():
    model = convolutions()
    list.clear(nodes(model)["r"].inputs[0].outputs)
    assert fault(model) == "value 's' does not know that Relu 'r' uses it"


def test_a_weight_that_no_longer_fits_is_told_although_onnx_lets_it_pass():
    model = convolutions()
    model.set_arrays({"wb": np.ones((2, 3, 1, 1), np.float32)})
    verify_model(model, quick=True)
    assert "Conv 'b' gets 4 channels, but its weight 'wb' is for 3" in fault(model, quick=False)


def test_a_stale_shape_is_told():
    model = convolutions()
    model.set_arrays({"wa": np.ones((3, 3, 1, 1), np.float32), "wb": np.ones((2, 3, 1, 1), np.float32)})
    assert "(3) vs (4)" in fault(model, quick=False)
    for name in ("a", "r"):
        nodes(model)[name].outputs[0].shape = [1, 3, 5, 5]
    verify_model(model)


def test_an_attribute_that_the_operator_lacks_is_told():
    model = convolutions()
    nodes(model)["r"].attrs["slope"] = 1.0
    assert "slope" in fault(model, quick=False)


def test_a_model_with_stale_shapes_from_its_file_is_not_refused_for_them():
    model = convolutions()
    model.graph.outputs[0].shape = [1, 9, 5, 5]
    assert "vs (9)" in fault(model, quick=False)
    model.consistent = False
    verify_model(model)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named_with_its_place(bad):
    model = convolutions()
    weight = np.ones((4, 3, 1, 1), np.float32)
    weight[2, 1] = bad
    model.set_arrays({"wa": weight})
    with pytest.raises(FrontendError, match=r"weight 'wa' of node 'a' is -?(nan|inf) at \[2, 1, 0, 0\]"):
        check_finite(model)


def masked(value: float) -> Model:
    node = helper.make_node("Add", ["x", "m"], ["y"], name="mask")
    mask = numpy_helper.from_array(np.array([0, value], np.float32), "m")
    borders = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    graph = helper.make_graph([node], "g", borders[:1], borders[1:], [mask])
    return Model.from_proto(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]))


def test_an_infinite_mask_is_meant_and_a_nan_is_not():
    check_finite(masked(-np.inf))
    with pytest.raises(FrontendError, match="nan"):
        check_finite(masked(np.nan))


def test_weights_in_bodies_and_constant_nodes_are_checked_too():
    inner = masked(np.nan).to_proto().graph
    del inner.input[:]
    borders = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xz"]
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    node = helper.make_node("If", ["c"], ["z"], name="if", then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [borders[0], condition], borders[1:])
    for body in (graph, helper.make_graph([constant_nan()], "g", [], [helper.make_tensor_value_info("k", 1, [1])])):
        with pytest.raises(FrontendError, match="nan"):
            check_finite(Model.from_proto(helper.make_model(body, ir_version=8)))


def constant_nan() -> onnx.NodeProto:
    value = numpy_helper.from_array(np.array([np.nan], np.float32))
    return helper.make_node("Constant", [], ["k"], name="k", value=value)


def test_equal_nodes_of_two_branches_get_names_of_their_own():
    """GraphSurgeon takes nodes with equal names and edges for one and would cut the wrong one's edge."""
    first, second = (body.nodes[0] for body in next(branches().nodes()).attrs.values())
    assert first.name != second.name
    second.inputs[0] = gs.Variable("other")
    assert any(user is first for user in first.inputs[0].outputs)


def branches() -> Model:
    """If c: Relu(x), else: the very same."""
    then = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t"], name="r")], "t", [], [helper.make_tensor_value_info("t", 1, [2])]
    )
    node = helper.make_node("If", ["c"], ["y"], name="if", then_branch=then, else_branch=then)
    borders = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in "xy"]
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    graph = helper.make_graph([node], "g", [borders[0], condition], borders[1:])
    return Model.from_proto(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 13)]))


def test_bodies_see_what_is_around_them_and_may_not_use_what_is_not():
    model = branches()
    verify_model(model)
    next(model.nodes()).attrs["then_branch"].nodes[0].inputs[0] = gs.Variable("ghost")
    assert "input 'ghost' of Relu 'r" in fault(model)
