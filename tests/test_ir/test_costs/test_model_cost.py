"""Costs: golden MACs, bytes, kernels, and kernels as functions of channel counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from pfir.errors import UsageError
from pfir.frontends import load
from pfir.ir.costs.model_cost import kernels, model_cost, weights_of
from pfir.ir.costs.scalable import ScalableKernels
from pfir.ir.coupling.channels import channel_counts, channel_groups, remove_channels
from pfir.ir.model import Model
from pfir.ir.whole import sized_everywhere
from tests.support.models import REAL, shared_model
from tests.support.net import parsed, random


def conv_relu():
    body = """net (float[1,4,8,8] x) => (float[1,6,8,8] y) {
        c = Conv<pads = [1,1,1,1]>(x, weight, bias)
        y = Relu(c)
    }"""
    return parsed(body, weight=random(6, 4, 3, 3), bias=random(6))


def mobilenet_v1():
    """MobileNetV1 1.0 at 224 (Howard et al., arXiv:1704.04861, table 1)."""
    widths = [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1)]
    lines, arrays, at, channels = [], {"w": np.zeros((32, 3, 3, 3), np.float32)}, "s", 32
    lines.append("s = Conv<pads = [1,1,1,1], strides = [2,2]>(x, w)")
    for i, (width, stride) in enumerate(widths):
        arrays[f"d{i}"] = np.zeros((channels, 1, 3, 3), np.float32)
        arrays[f"p{i}"] = np.zeros((width, channels, 1, 1), np.float32)
        attributes = f"pads = [1,1,1,1], strides = [{stride},{stride}], group = {channels}"
        lines += [f"a{i} = Conv<{attributes}>({at}, d{i})", f"b{i} = Conv(a{i}, p{i})"]
        at, channels = f"b{i}", width
    lines += [f"g = GlobalAveragePool({at})", "f = Flatten(g)", "y = MatMul(f, head)"]
    arrays["head"] = np.zeros((1024, 1000), np.float32)
    return parsed(f"net (float[1,3,224,224] x) => (float[1,1000] y) {{ {' '.join(lines)} }}", **arrays)


def test_macs_of_mobilenet_v1_are_the_published_ones():
    assert model_cost(mobilenet_v1()).macs == pytest.approx(568.7e6, rel=2e-3)


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("efficientnet_lite0_in1k_fp32_static.onnx", 385e6, 4.65e6),
        ("mediapipe_face_landmark.onnx", 35e6, 603e3),
        ("mltk_image_classification_fp32.onnx", 12.5e6, 78e3),
        ("resnet56_cifar10_fp32.onnx", 125.5e6, 0.85e6),
    ],
)
def test_real_models_cost_what_is_known_of_them(name, macs, parameters):
    cost = model_cost(load(shared_model(name)))
    assert cost.macs == pytest.approx(macs, rel=1e-2)
    assert cost.parameters == pytest.approx(parameters, rel=1e-2)
    assert cost.size_bytes == 4 * cost.parameters


def test_each_contraction_counts_its_products():
    body = """net (float[2,4,5,5] x) => (float[2,7] y, float[2,6,10,10] z) {
        z = ConvTranspose<strides = [2,2], kernel_shape = [2,2], group = 2>(x, up)
        p = GlobalAveragePool(x)
        f = Flatten(p)
        y = Gemm<transB = 1>(f, dense)
    }"""
    model = parsed(body, up=random(4, 3, 2, 2), dense=random(7, 4))
    assert model_cost(model).macs == 2 * 4 * 25 * 3 * 4 + 2 * 7 * 4


def test_einsum_and_recurrent_layers_are_counted():
    body = """net (float[3,2,4] x) => (float[3,2,5] y, float[3,1,2,6] h) {
        y = Einsum<equation = "sbi,io->sbo">(x, m)
        h = LSTM<hidden_size = 6>(x, w, r)
    }"""
    model = parsed(body, m=random(4, 5), w=random(1, 24, 4), r=random(1, 24, 6))
    assert model_cost(model).macs == 3 * 2 * 4 * 5 + 3 * 2 * 24 * (4 + 6)


def test_peak_activations_are_what_is_alive_at_the_widest_place():
    # The input lives until both branches have read it: 1 + 1 + 1 tensors of 64 floats at the Add.
    model = parsed("net (float[1,64] x) => (float[1,64] y) { a = Relu(x) b = Neg(x) y = Add(a, b) }")
    assert model_cost(model).peak_activation_bytes == 3 * 64 * 4


def test_an_activation_is_part_of_the_convolution_in_front_of_it():
    (kernel,) = kernels(conv_relu())
    assert (kernel.family, kernel.workload.out[1], kernel.workload.channels) == ("conv3x3", 6, 4)
    assert kernel.macs == 6 * 64 * 4 * 9
    assert kernel.read_bytes == 4 * (4 * 64 + 6 * 4 * 9 + 6)
    assert kernel.written_bytes == 4 * 6 * 64


def test_a_residual_sum_is_part_of_the_convolution_that_feeds_it():
    body = """net (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        c = Conv<pads = [1,1,1,1]>(x, weight)
        s = Slice(x, starts, ends)
        r = Relu(s)
        a = Add(c, r)
        y = Relu(a)
    }"""
    starts, ends = np.array([0, 0, 0, 0]), np.array([1, 4, 8, 8])
    found = kernels(parsed(body, weight=random(4, 4, 3, 3), starts=starts, ends=ends))
    # The shortcut comes after the convolution in the file and before it in the order of kernels.
    assert [k.family for k in found] == ["move", "conv3x3"]


def test_a_value_that_two_nodes_read_ends_its_kernel():
    body = """net (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        c = Conv<pads = [1,1,1,1]>(x, weight)
        a = Relu(c)
        b = Sigmoid(c)
        y = Mul(a, b)
    }"""
    assert [k.family for k in kernels(parsed(body, weight=random(4, 4, 3, 3)))][0] == "conv3x3"
    assert len(kernels(parsed(body, weight=random(4, 4, 3, 3)))) == 3


def test_a_pad_is_part_of_the_convolution_behind_it():
    body = """net (float[1,4,8,8] x) => (float[1,4,8,8] y) {
        p = Pad(x, pads)
        y = Conv(p, weight)
    }"""
    (kernel,) = kernels(parsed(body, weight=random(4, 4, 3, 3), pads=np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    assert kernel.read_bytes == 4 * (4 * 64 + 4 * 4 * 9)


@pytest.mark.parametrize(
    ("attributes", "size", "family"),
    [("", 3, "conv3x3"), ("strides = [2,2]", 3, "conv"), ("dilations = [2,2]", 3, "conv"), ("", 5, "conv")],
)
def test_only_a_plain_3x3_convolution_is_one_for_winograd(attributes, size, family):
    body = f"net (float[1,4,8,8] x) => (float[N,M,H,W] y) {{ y = Conv<{attributes}>(x, weight) }}".replace("<>", "")
    (kernel,) = kernels(parsed(body, weight=random(4, 4, size, size)))
    assert kernel.family == family


@pytest.mark.parametrize(("group", "family", "each"), [(1, "conv", 8), (2, "grouped", 4), (8, "depthwise", 1)])
def test_groups_decide_the_family(group, family, each):
    body = f"net (float[1,8,4,4] x) => (float[1,8,4,4] y) {{ y = Conv<group = {group}>(x, weight) }}"
    (kernel,) = kernels(parsed(body, weight=random(8, 8 // group, 1, 1)))
    assert (kernel.family, kernel.workload.channels) == (family, each)
    assert kernel.macs == 8 * 16 * each


@pytest.mark.parametrize("name", REAL)
def test_kernels_hold_all_macs_of_the_model(name):
    model = load(shared_model(name))
    assert sum(k.macs for k in kernels(model)) == model_cost(model).macs


@pytest.mark.parametrize("name", REAL)
def test_scalable_kernels_equal_those_of_the_pruned_model(name):
    model = load(shared_model(name))
    coupling = channel_groups(model)
    scalable = ScalableKernels(model, channel_counts(coupling))
    assert scalable.at({}) == kernels(model)
    rng = np.random.default_rng(0)
    removed = {g.name: np.sort(rng.choice(g.size, g.size // 3, replace=False)) for g in coupling.free() if g.size > 2}
    kept = {g.name: g.size - len(removed.get(g.name, ())) for g in coupling.free()}
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    cost = model_cost(pruned)
    assert scalable.at(kept) == kernels(pruned)
    assert scalable.macs_at(kept) == cost.macs
    per_use = weights_of(sized_everywhere(pruned).graph)  # a file holds once what layers share
    assert scalable.parameters_at(kept) == sum(math.prod(w.shape) for w in per_use) >= cost.parameters
    assert cost.size_bytes <= scalable.size_bytes_at(kept) <= 1.01 * cost.size_bytes


def test_counts_may_be_plain_pairs():
    counts = {site: (0, {"c": 1}) for site in (("weight", 0), ("bias", 0), ("c", 1), ("y", 1))}
    (kernel,) = ScalableKernels(conv_relu(), counts).at({"c": 2})
    assert (kernel.workload.out[1], kernel.macs) == (2, 2 * 64 * 4 * 9)


def test_an_unknown_group_is_refused():
    with pytest.raises(UsageError, match="group 'zzz' is none of this model's groups"):
        ScalableKernels(conv_relu(), {}).at({"zzz": 1})


def test_a_recurrent_layer_with_a_vector_for_its_input_counts_nothing():
    proto = helper.make_model(
        helper.make_graph(
            [
                helper.make_node(
                    "DynamicQuantizeLSTM",
                    ["v", "w", "r", "", "", "", "", "", "ws", "wz", "rs", "rz"],
                    ["y"],
                    domain="com.microsoft",
                    hidden_size=4,
                )
            ],
            "net",
            [helper.make_tensor_value_info("v", TensorProto.FLOAT, [2])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [
                numpy_helper.from_array(np.zeros(shape, dtype), name)
                for name, shape, dtype in (
                    ("w", (2, 4, 16), np.uint8),
                    ("r", (2, 4, 16), np.uint8),
                    ("ws", (2,), np.float32),
                    ("wz", (2,), np.uint8),
                    ("rs", (2,), np.float32),
                    ("rz", (2,), np.uint8),
                )
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )
    assert model_cost(Model.from_proto(proto)).macs == 0
