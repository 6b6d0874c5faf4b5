import numpy as np
import pytest

from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.grids import Grid
from pfir.passes.quantization.placement import KERNELS, OPERATORS, dequantized_grid, layers_of, place, result_of
from tests.support.net import Net, parsed, random
from tests.support.quantization import residual

CONVS = "a = Conv<kernel_shape=[1,1]>(x, v)  {}  z = Conv<kernel_shape=[1,1]>(b, w)"


def _placed(between, pairs=OPERATORS, **arrays):
    net = parsed(f"net (float[N,4,6,6] x) => (float[N,4,H,W] z) {{ {CONVS.format(between)} }}", **arrays, **_weights())
    infer_shapes(net)
    return place(net, pairs=pairs)


def _weights():
    return {"v": random(4, 4, 1, 1), "w": random(4, 4, 1, 1, seed=1)}


def test_both_sides_of_layers_have_few_bits_and_the_end_of_the_net_has_not():
    placement = _placed("b = Relu(a)")
    assert len(placement.layers) == 2 and set(placement.tensors) == {"x", "b"}


@pytest.mark.parametrize("op", ["Relu", "Clip"])
def test_between_a_layer_and_its_activation_function_nothing_is_rounded(op):
    assert "a" not in _placed(f"b = {op}(a)").tensors


@pytest.mark.parametrize("op", ["HardSwish", "Sigmoid", "PRelu"])
def test_other_functions_read_few_bits_and_give_few(op):
    opset = 14
    text = f"b = {op}(a)" if op != "PRelu" else "b = PRelu(a, s)"
    net = parsed(
        f"net (float[N,4,6,6] x) => (float[N,4,H,W] z) {{ {CONVS.format(text)} }}",
        opset,
        s=random(4, 1, 1),
        **_weights(),
    )
    infer_shapes(net)
    assert set(place(net, pairs=OPERATORS).tensors) == {"x", "a", "b"}
    assert set(place(net).tensors) == {"x", "b"}


def test_a_sum_has_few_bits_on_both_sides():
    assert set(_placed("c = Add(a, x)  b = Relu(c)").tensors) == {"x", "a", "b"}


def test_a_sum_goes_on_from_floats_where_pairs_stand_between_kernels():
    assert set(_placed("c = Add(a, x)  b = Relu(c)", KERNELS).tensors) == {"x", "b"}


def test_a_sum_with_what_is_float_stays_float():
    placement = _placed("e = Exp(x)  f = Log(e)  c = Add(a, f)  b = Relu(c)")
    assert "f" not in placement.tensors and {"x", "a", "b"} == set(placement.tensors)


@pytest.mark.parametrize(
    "between",
    [
        "b = MaxPool<kernel_shape=[2,2]>(a)",
        "b = Transpose<perm=[0,1,3,2]>(a)",
        "b = Pad(a, p)",
        "b, c = Split<axis=2>(a)",
        "b = Concat<axis=2>(a, x)",
    ],
)
@pytest.mark.parametrize("pairs", [KERNELS, OPERATORS])
def test_what_moves_numbers_shares_their_grid(between, pairs):
    placement = _placed(between, pairs, p=np.array([0, 0, 1, 1, 0, 0, 1, 1]))
    assert any({"a", "b"} <= set(group) for group in placement.shared)


@pytest.mark.parametrize("between", ["b = AveragePool<kernel_shape=[2,2]>(a)", "b = Pad(a, p, one)"])
def test_what_makes_other_numbers_has_a_grid_of_its_own(between):
    placement = _placed(between, p=np.array([0, 0, 1, 1, 0, 0, 1, 1]), one=np.float32(1))
    assert not any({"a", "b"} <= set(group) for group in placement.shared) and "b" in placement.tensors


def test_numbers_are_rounded_before_they_are_moved_to_a_layer():
    net = parsed(
        "net (float[N,6,6,4] x) => (float[N,4,H,W] z)"
        "{ b = Transpose<perm=[0,3,1,2]>(x)  z = Conv<kernel_shape=[1,1]>(b, w) }",
        **_weights(),
    )
    infer_shapes(net)
    assert place(net).shared == (("x", "b"),) or place(net).shared == (("b", "x"),)


def test_layers_that_are_left_in_float_need_no_tensors():
    net = residual()
    infer_shapes(net)
    alone = place(net, [name for name in layers_of(net) if name != "Conv_3"])
    assert alone.layers == ("Conv_3",) and alone.tensors == ("relu2",)


def test_scores_of_a_classifier_stay_float():
    net = residual()
    infer_shapes(net)
    assert not {"y", "gemm10"} & set(place(net).tensors)


def test_layers_of_other_types_and_of_computed_weights_are_none():
    net = parsed(
        "net (float[N,3] x, float[3,3] u) => (float[N,3] y, float16[N,3] z)"
        "{ a = MatMul(x, u)  y = MatMul(a, w)  h = Cast<to=10>(x)  z = MatMul(h, v) }",
        w=random(3, 3),
        v=random(3, 3).astype(np.float16),
    )
    infer_shapes(net)
    assert [x.node.inputs[1].name for x in layers_of(net).values()] == ["w"]


def test_a_gemm_with_factors_is_left_in_float():
    net = parsed("net (float[N,3] x) => (float[N,3] y) { y = Gemm<alpha=0.5>(x, w) }", w=random(3, 3))
    infer_shapes(net)
    assert not layers_of(net)


def _dequantized(*kinds):
    net = Net(0)
    parts = []
    for point, kind in enumerate(kinds, 3):
        pair = net.const(0.5, np.float32), net.const(point, kind)
        parts.append(net.op("DequantizeLinear", net.op("QuantizeLinear", net.input("N", 4), *pair), *pair))
    x = net.op("Concat", *parts, axis=1) if parts[1:] else net.op("Flatten", *parts)
    net.output("y", net.dense(x, 4 * len(kinds), 2))
    model = net.model()
    infer_shapes(model)
    return model


@pytest.mark.parametrize(("kind", "point"), [(np.uint8, 3), (np.int8, 131)])
def test_a_tensor_that_came_quantized_keeps_its_grid_and_hands_it_on(kind, point):
    placement = place(_dequantized(kind))
    assert not placement.tensors and placement.handed_on == ("flatten3",)
    assert placement.given == {"dequantizelinear2": Grid(0.5, point), "flatten3": Grid(0.5, point)}


def test_what_comes_from_two_grids_gets_one_of_its_own():
    placement = place(_dequantized(np.uint8, np.uint8))
    assert placement.shared == (("concat5",),) and not placement.handed_on and len(placement.given) == 2


def test_what_is_not_dequantized_by_one_constant_scale_has_no_grid():
    net = Net(0)
    scale = net.input(dtype=np.float32)
    x = net.op("DequantizeLinear", net.input("N", 4, dtype=np.uint8), scale)
    model = net.model((x,))
    assert all(dequantized_grid(t) is None for t in model.graph.tensors().values())


def test_the_result_of_a_layer_is_behind_its_activation_function_unless_others_read_before_it():
    net = residual()
    first = next(n for n in net.nodes() if n.op == "Conv")
    assert result_of(first, set()).name == "relu2" and result_of(first, {"conv1"}).name == "conv1"
