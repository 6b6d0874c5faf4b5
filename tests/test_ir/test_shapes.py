"""Sizes: inferred in place with symbols, or fixed in a new model."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest

from pfir.errors import FrontendError, UsageError
from pfir.frontends import load
from pfir.ir.constants.fold import fold_shapes
from pfir.ir.model import Model
from pfir.ir.shapes import fix_sizes, infer_shapes
from tests.support.models import shared_model
from tests.support.net import feeds, parsed, random
from tests.support.runs import assert_same, run
from tests.support.structures import build

DYNAMIC = "net (float[N,3,H,W] x) => (float[N,4,h,w] y) { y = Conv<pads = [1,1,1,1]>(x, weight) }"
FLATTEN = """net (float[N,3,4,4] x) => (float[N,5] y) {
    zero = Constant<value = int64[1] {0}>()
    rest = Constant<value = int64[1] {-1}>()
    sizes = Shape(x)
    batch = Gather<axis = 0>(sizes, zero)
    target = Concat<axis = 0>(batch, rest)
    flat = Reshape(x, target)
    y = MatMul(flat, weight)
}"""


def flatten():
    return parsed(FLATTEN, weight=random(48, 5))


def dynamic():
    return parsed(DYNAMIC, weight=random(4, 3, 3, 3))


def test_symbols_survive_inference():
    model = parsed("net (float[N,3] x) => (float[N,3] z) { y = Relu(x) z = Relu(y) }")
    infer_shapes(model)
    tensor = model.graph.tensors()["y"]
    assert list(tensor.shape) == ["N", 3]
    assert np.dtype(tensor.dtype) == np.float32


def test_a_stale_inner_shape_is_replaced():
    model = parsed("net (float[N,3] x) => (float[N,3] z) { y = Relu(x) z = Relu(y) }")
    model.graph.tensors()["y"].shape = [7, 7]
    infer_shapes(model)
    assert list(model.graph.tensors()["y"].shape) == ["N", 3]


def test_inference_leaves_the_interface_as_declared():
    model = dynamic()
    before = model.inputs(), model.outputs()
    infer_shapes(model)
    assert (model.inputs(), model.outputs()) == before


def test_a_spectrum_is_one_sided_unless_it_is_said_to_be_whole():
    text = "net (float[1,128,1] x) => (float[1,15,n,2] z) {{ y = STFT{}(x, step, window) z = Relu(y) }}"
    for attribute, bins in (("", 9), ("<onesided = 0>", 16)):
        model = parsed(text.format(attribute), 17, step=np.array(8), window=np.ones(16, np.float32))
        infer_shapes(model)
        assert list(model.graph.tensors()["y"].shape) == [1, 15, bins, 2]


def test_operators_that_onnx_does_not_infer_keep_their_noted_shapes():
    model = parsed("net (float[1,3] x) => (float[1,3] z) <float[1,3] y> { y = com.example.Odd(x) z = Relu(y) }", 13)
    infer_shapes(model)
    assert list(model.graph.tensors()["y"].shape) == [1, 3]


def test_fixing_sizes_makes_every_size_a_number():
    fixed = fix_sizes(flatten(), batch=4)
    assert all(isinstance(d, int) for t in fixed.graph.tensors().values() for d in t.shape)
    assert fixed.inputs()[0].shape == (4, 3, 4, 4)
    assert fixed.outputs()[0].shape == (4, 5)


def test_fixing_sizes_folds_what_is_computed_from_sizes():
    assert [n.op for n in fix_sizes(flatten()).nodes()] == ["Reshape", "MatMul"]


def test_fixing_sizes_changes_no_output_and_not_the_given_model():
    model = flatten()
    fixed = fix_sizes(model, batch=2)
    assert model.inputs()[0].shape == ("N", 3, 4, 4)
    given = feeds(fixed)
    np.testing.assert_array_equal(run(model, given)[0], run(fixed, given)[0])


def test_a_given_shape_binds_its_symbols_everywhere():
    model = parsed("net (float[N,T] a, float[N,T] b) => (float[N,T] y) { y = Add(a, b) }")
    fixed = fix_sizes(model, input_shapes={"a": (3, 7)})
    assert fixed.inputs()[1].shape == (3, 7)


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        (dynamic, {}, "--input-shape x=1x3x?x?"),
        (dynamic, {"batch": 0}, "--batch is 0"),
        (dynamic, {"input_shapes": {"z": (1,)}}, "the model's inputs are: x"),
        (dynamic, {"input_shapes": {"x": (1, 3, 8)}}, "has 3 axes; input x has 4"),
        (dynamic, {"input_shapes": {"x": (1, 4, 8, 8)}}, "size 4 on axis 1; the model fixes it to 3"),
        (dynamic, {"input_shapes": {"x": (1, 3, 0, 8)}}, "a size below 1"),
        (lambda: parsed("net (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"), {"batch": 4}, r"has shape \[2, 3\]"),
        (lambda: parsed("net (float[2,3] x) => (float[2,3] y) { y = Relu(x) }"), {"batch": 1}, r"has shape \[2, 3\]"),
        (
            lambda: parsed("net (float[N,T] a, float[N,T] b) => (float[N,T] y) { y = Add(a, b) }"),
            {"input_shapes": {"a": (1, 3), "b": (1, 4)}},
            "gives T of input b the size 4; elsewhere it is 3",
        ),
    ],
)
def test_what_is_unknown_or_contradicts_is_named(model, options, text):
    with pytest.raises(UsageError, match=text.replace("?", r"\?") if "?" in text else text):
        fix_sizes(model(), **options)


def test_an_input_without_any_shape_asks_for_one():
    model = dynamic()
    model.graph.inputs[0].shape = None
    with pytest.raises(UsageError, match="input x has no shape"):
        fix_sizes(model)


def test_sizes_that_contradict_each_other_stay_unknown():
    model = parsed("net (float[2,3] x) => (float y) { a = Add(x, w) b = Relu(a) y = ReduceSum(b) }", w=random(4, 5))
    infer_shapes(model)
    assert model.graph.tensors()["b"].shape is None


@pytest.mark.parametrize("name", ["resnet20_cifar10_fp32.onnx", "mltk_keyword_spotting_fp32.onnx"])
def test_real_models_become_fixed_and_stay_equal(name):
    model = load(shared_model(name))
    fixed = fix_sizes(model, batch=2)
    assert all(isinstance(d, int) for t in fixed.graph.tensors().values() for d in t.shape)
    assert_same(fixed, fixed)
    given = feeds(fixed)
    np.testing.assert_allclose(run(model, given)[0], run(fixed, given)[0], atol=1e-5)


def test_sizes_and_types_go_through_quantized_operators_of_onnx_runtime():
    model = build("quantized_residual", 0)
    infer_shapes(model)
    known = {n.op: n.outputs[0] for n in model.nodes()}
    assert known["QLinearConcat"].shape == ["N", 9, 4, 4] and known["Flatten"].shape == ["N", 9]
    assert {t.dtype for kind, t in known.items() if kind.startswith("QLinear")} == {np.dtype(np.int8)}
    model = build("quantized_residual", 0)
    pool = next(n for n in model.nodes() if n.op == "QLinearGlobalAveragePool")
    pool.attrs["channels_last"] = 1
    infer_shapes(model)
    assert pool.inputs[0].shape == ["N", 9, 4, 4] and pool.outputs[0].shape is None


def test_two_sizes_of_which_nothing_is_known_are_not_one():
    net = "net (float[?,3] x, float[?,3] z) => (float[?,3] y) { y = Concat<axis = 0>(x, z) }"
    model = parsed(net.replace("?", "unknown"))
    assert [t.shape for t in model.graph.inputs] == [[None, 3], [None, 3]]
    fixed = fix_sizes(model, None, {"x": (2, 3), "z": (5, 3)})
    assert fixed.graph.outputs[0].shape == [7, 3]
    model.source = None
    graph = model.to_proto().graph
    assert {v.type.tensor_type.shape.dim[0].dim_param for v in (*graph.input, *graph.output)} == {"unknown"}


def test_a_name_that_is_none_joins_no_sizes_in_a_folded_shape():
    text = """net (float[unknown,none,4] x, float[unknown,none,4] z) => (float[a,b,c] y) {
        s = Shape(z)
        y = Reshape(x, s)
    }"""
    model = parsed(text)
    infer_shapes(model)
    fold_shapes(model.graph)
    assert not any(isinstance(t, gs.Constant) for n in model.nodes() for t in n.inputs)


def test_without_a_batch_the_model_s_own_stays_and_a_dynamic_one_is_1():
    own = parsed("net (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    free = parsed("net (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    assert [fix_sizes(m).inputs()[0].shape for m in (own, free)] == [(2, 3), (1, 3)]


def test_sizes_are_fixed_where_an_output_is_a_constant():
    fixed = fix_sizes(parsed("net (float[N,3] x) => (float[N,3] y, float[4] c) { y = Relu(x) }", c=random(4)))
    assert [t.shape for t in fixed.outputs()] == [(1, 3), (4,)]


def test_an_operator_of_another_domain_without_its_inputs_is_refused():
    model = build("quantized_residual", 0)
    node = next(n for n in model.nodes() if n.op == "QGemm")
    node.inputs.clear()
    with pytest.raises(FrontendError, match="do not follow from each other: .*Gemm"):
        infer_shapes(model)


def test_a_slice_with_more_ends_than_starts_is_left_alone():
    bounds = {"starts": [0], "ends": [1, 2], "axes": [0]}
    arrays = [onnx.numpy_helper.from_array(np.array(v, np.int64), n) for n, v in bounds.items()]
    nodes = [onnx.helper.make_node("Shape", ["x"], ["s"]), onnx.helper.make_node("Slice", ["s", *bounds], ["y"])]
    x, y = (onnx.helper.make_tensor_value_info(n, t, s) for n, t, s in (("x", 1, [2, 3]), ("y", 7, [1])))
    model = Model.from_proto(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", [x], [y], arrays)))
    fold_shapes(model.graph)
    assert [n.op for n in model.nodes()][-1] == "Slice"
