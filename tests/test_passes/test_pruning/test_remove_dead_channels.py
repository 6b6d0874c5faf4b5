"""The pass is lossless, finds every channel that was made dead, and a second run changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, numpy_helper

from pfir.ir.constants.dead_channels import find_dead
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.weights import every_constant
from pfir.passes.base import Context
from pfir.passes.pruning.remove_dead_channels import RemoveDeadChannels
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import FAMILIES, build

LAYERED = [
    *("chain", "residual", "option_a", "dense_block", "inception", "unet", "resized", "grouped_conv", "separable"),
    *("prelu", "flatten_gemm", "reshape_matmul", "nhwc", "split_slice_gather", "shuffle_v2", "one_dimension"),
    *("three_dimensions", "several_outputs", "squeeze_excite", "dynamic_flatten", "every_second", "dynamic_group_norm"),
    *("group_norm", "instance_norm", "einsum", "stacked_matmul", "experts", "tied_embedding", "attention", "split_qkv"),
    *("sequence_first", "rotary", "grouped_query", "sampled", "folded_columns", "microsoft", "microsoft_attention"),
    *("microsoft_convolutions", "by_index", "unpooled"),
]
# What reads their channels without weights reads them whatever the weights are.
MADE = [("einsum_attention", "producers"), ("reductions", "producers")]


def kill(model, coupling, seed: int, how: str) -> dict[str, np.ndarray]:
    """Make a random half of each free group's channels dead by zeroing what makes or what reads them."""
    rng = np.random.default_rng(seed)
    constants = every_constant(model)
    killed, arrays = {}, {n: t.values.copy() for n, t in constants.items()}
    for group in coupling.free():
        channels = np.sort(rng.choice(group.size, group.size // 2, replace=False))
        for part in group.producing if how == "producers" else group.consuming:
            if part.role not in ("mean", "variance", "slope"):
                index = [slice(None)] * arrays[part.tensor].ndim
                index[part.axis] = part.positions[channels].ravel()
                arrays[part.tensor][tuple(index)] = 0
        killed[group.name] = channels
    for name, array in arrays.items():
        constants[name].values = array
    return killed


@pytest.mark.parametrize(("family", "how"), [*((f, how) for f in LAYERED for how in ("producers", "consumers")), *MADE])
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16))
def test_the_pass_finds_all_dead_channels_and_changes_no_output(family, how, seed):
    model = build(family, seed)
    coupling = channel_groups(model)
    killed = kill(model, coupling, seed, how)
    before = run(model, feeds(model, seed))
    dead = find_dead(model, coupling).removed
    assert all(set(channels) <= set(dead.get(name, ())) for name, channels in killed.items())
    change = RemoveDeadChannels().apply(model, Context())
    assert change.changed == any(c.size for c in killed.values())
    assert_valid(model)
    for got, wanted in zip(run(model, feeds(model, seed)), before, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert not RemoveDeadChannels().apply(model, Context()).changed


@pytest.mark.parametrize("family", FAMILIES)
def test_removing_dead_channels_changes_no_output_on_any_structure(family):
    model = build(family, 5)
    kill(model, channel_groups(model), 5, "producers")
    before = run(model, feeds(model))
    RemoveDeadChannels().apply(model, Context())
    assert_valid(model)
    for got, wanted in zip(run(model, feeds(model)), before, strict=True):
        tolerance = 2e-2 if got.dtype == np.float16 else 1e-4
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance / 10)


def _constant_first_channels(model, node: str, count: int) -> None:
    """The first channels of a convolution forget its input and keep their bias."""
    weight = channel_groups(model).group(node).producing[0].tensor
    array = model.initializers()[weight].values.copy()
    array[:count] = 0
    model.set_arrays({weight: array})


@pytest.mark.parametrize("consumer", ["conv", "shared bias", "gemm", "matmul", "grouped"])
def test_a_constant_channel_moves_into_the_bias_of_its_consumer(consumer):
    net = Net(1)
    x = net.op("Sigmoid", net.conv(net.input("N", 3, 4, 4), 3, 6))
    if consumer in ("conv", "grouped"):
        x = net.conv(x, 6, 4, k=1, bias=consumer == "grouped", group=2 if consumer == "grouped" else 1)
        x = net.head(x, 4)
    elif consumer == "shared bias":
        bias = net.w(4)
        first, second = (net.op("Conv", x, net.w(4, 6, 1, 1), bias) for _ in range(2))
        x = net.head(net.op("Sub", first, second), 4)
    else:
        x = net.op("Flatten", net.op("GlobalAveragePool", x))
        gemm = net.op("Gemm", x, net.w(3, 6), net.w(1, 3), transB=1, alpha=0.5, beta=2.0)
        x = gemm if consumer == "gemm" else net.op("MatMul", x, net.w(6, 3))
    model = net.model((x,))
    _constant_first_channels(model, "Conv_1", 6 if consumer == "grouped" else 2)
    before = run(model, feeds(model))
    change = RemoveDeadChannels().apply(model, Context())
    assert change.changed
    assert_valid(model)
    np.testing.assert_allclose(run(model, feeds(model))[0], before[0], rtol=1e-5, atol=1e-6)
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_a_constant_that_is_not_zero_stays_behind_padding():
    net = Net(1)
    x = net.op("Sigmoid", net.conv(net.input("N", 3, 4, 4), 3, 6))
    model = net.model((net.head(net.conv(x, 6, 4), 4),))
    _constant_first_channels(model, "Conv_1", 2)
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_a_constant_that_is_read_by_one_consumer_alone_asks_nothing_of_the_others():
    """Behind padding it could not be folded, but there all weights for it are zero."""
    net = Net(1)
    x = net.op("Sigmoid", net.conv(net.input("N", 3, 4, 4), 3, 6))
    padded, plain = net.conv(x, 6, 4), net.conv(x, 6, 4, k=1)
    model = net.model((net.head(net.op("Add", padded, plain), 4),))
    _constant_first_channels(model, "Conv_1", 2)
    assert not RemoveDeadChannels().apply(model.clone(), Context()).changed
    weight = next(n for n in model.nodes() if n.outputs[0].name == padded).inputs[1]
    model.set_arrays({weight.name: weight.values * np.array([0, 0, 1, 1, 1, 1], np.float32).reshape(1, 6, 1, 1)})
    before = run(model, feeds(model))
    assert RemoveDeadChannels().apply(model, Context()).notes == ("2 dead channels removed",)
    np.testing.assert_allclose(run(model, feeds(model))[0], before[0], rtol=1e-5, atol=1e-6)


def _in_heads(net: Net, x: str, kind: str) -> str:
    """Two heads of two positions, the first of which the last third of the weights leaves at its bias."""
    own = {"domain": "com.microsoft", "num_heads": 2}
    kept = np.array([0, 0, 1, 1])
    values = net.rng.standard_normal((5, 4)) * kept
    if kind == "Attention":
        rows = net.const(np.concatenate([net.rng.standard_normal((5, 8)) * np.tile(kept, 2), values], 1), np.float32)
        return net.op(kind, x, rows, net.w(12), **own)
    parts = [net.op("Add", net.op("MatMul", x, net.const(values, np.float32)), net.w(4)) for _ in range(3)]
    return net.op(kind, *parts, **own)


FUSED = {
    "FusedConv": lambda net, x: net.op(
        "Transpose",
        net.op(
            "FusedConv",
            net.op("Transpose", x, perm=[0, 2, 1]),
            net.w(4, 5, 1),
            net.w(4),
            "",
            domain="com.microsoft",
            activation="Relu",
        ),
        perm=[0, 2, 1],
    ),
    "FusedGemm": lambda net, x: net.op(
        "Unsqueeze",
        net.op(
            "FusedGemm",
            net.op("ReduceMax", x, axes=[1], keepdims=0),
            net.w(5, 4),
            net.w(4),
            domain="com.microsoft",
            activation="LeakyRelu",
            activation_alpha=0.1,
            alpha=0.5,
            beta=2.0,
        ),
        net.ints(1),
    ),
    "FusedMatMul": lambda net, x: net.op("FusedMatMul", x, net.w(4, 5), domain="com.microsoft", transB=1, alpha=0.5),
    "BiasGelu": lambda net, x: net.linear(
        net.op(
            "BiasGelu",
            net.op("Mul", x, net.const([0, 0, 1, 1, 1], np.float32)),
            net.const([0, 0, 1, 1, 1], np.float32),
            domain="com.microsoft",
        ),
        5,
        4,
    ),
}


@pytest.mark.parametrize("step", FUSED)
def test_fused_layers_take_constants_over(step):
    net = Net(2)
    kept = net.const([0, 0, 1, 1, 1], np.float32)
    x = net.op("Sigmoid", net.op("Mul", net.linear(net.input(2, 3, 4), 4, 5), kept))
    model = net.model((net.linear(FUSED[step](net, x), 4, 3),))
    before = run(model, feeds(model))
    assert RemoveDeadChannels().apply(model, Context()).changed
    assert channel_groups(model).group("MatMul_1").size == 3
    np.testing.assert_allclose(run(model, feeds(model))[0], before[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["Attention", "MultiHeadAttention"])
def test_heads_whose_values_are_constants_move_into_the_bias_behind_attention(kind):
    net = Net(2)
    y = _in_heads(net, net.linear(net.input(2, 3, 4), 4, 5), kind)
    model = net.model((net.linear(y, 4, 3),))
    before = run(model, feeds(model))
    assert RemoveDeadChannels().apply(model, Context()).changed
    assert next(n for n in model.nodes() if n.op == kind).attrs["num_heads"] == 1
    np.testing.assert_allclose(run(model, feeds(model))[0], before[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("value", "found"), [(6, True), (7, False), (2**31 - 1, False)])
def test_integers_that_divide_evenly_and_do_not_overflow_are_constants(value, found):
    net = Net(1)
    x = net.op("Cast", net.linear(net.input(2, 4), 4, 3), to=TensorProto.INT32)
    x = net.op("Mul", x, net.const([0, 1, 1], np.int32))
    x = net.op("Add", net.op("Add", x, net.const([value, 0, 0], np.int32)), net.const([2, 0, 0], np.int32))
    x = net.op("Div", x, net.const([2, 1, 1], np.int32))
    y = net.op("MatMul", x, net.const([[3, 5], [1, 2], [4, 1]], np.int32))
    model = net.model((net.op("Cast", y, to=TensorProto.FLOAT),))
    before = run(model, feeds(model))
    assert RemoveDeadChannels().apply(model, Context()).changed == found
    np.testing.assert_array_equal(run(model, feeds(model))[0], before[0])


def test_a_constant_that_half_precision_rounds_by_much_on_its_way_stays():
    """1000 * 1.1 is 1100.15 for a runtime that keeps more digits between two nodes, and 1100 for another one."""
    for value, found in ((1000.0, False), (2.0, True)):
        net = Net(1, dtype=np.float16)
        x = net.op("Mul", net.linear(net.input("N", 4), 4, 3), net.const([0, 1, 1], np.float16))
        x = net.op("Add", x, net.const([value, 0, 0], np.float16))
        x = net.op("Mul", x, net.const([1.1, 1, 1], np.float16))
        model = net.model((net.op("MatMul", x, net.const([[0.01], [1], [1]], np.float16)),))
        assert RemoveDeadChannels().apply(model, Context()).changed == found


def test_weights_in_constant_nodes_are_read_like_initializers():
    net = Net(2)
    weights = net.rng.standard_normal((5, 3)).astype(np.float32)
    weights[:2] = 0
    node = net.op("Constant", value=numpy_helper.from_array(weights))
    model = net.model((net.op("MatMul", net.linear(net.input(2, 4), 4, 5), node),))
    assert RemoveDeadChannels().apply(model, Context()).notes == ("2 dead channels removed",)
    assert_valid(model)


HALVES = {
    "its steps are fine": (2.5, 0.5, True),
    "it is exact though its steps are coarse": (1500.0, 2.0, True),
    "its steps are coarse": (1000.0, 1.1, False),
    "it is too large": (300.0, 300.0, False),
}


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("case", HALVES)
def test_a_constant_moves_into_a_bias_of_half_precision_where_that_can_hold_it(case, dense):
    """Channels that are always some number, read with equal weights by a layer with or without a bias."""
    value, weight, fits = HALVES[case]
    net = Net(1, dtype=np.float16)
    kept = np.array([0, 1, 1], np.float16)
    x = net.op(
        "Add",
        net.op("Mul", net.linear(net.input("N", 4), 4, 3), net.const(kept)),
        net.const(np.array([value, 0, 0]), np.float16),
    )
    rows = net.const(np.concatenate([np.full((1, 2), weight), net.rng.standard_normal((2, 2))]), np.float16)
    y = net.op("Gemm", x, rows, net.const(np.zeros(2), np.float16)) if dense else net.op("MatMul", x, rows)
    model = net.model((y,))
    before = run(model, feeds(model))
    assert RemoveDeadChannels().apply(model, Context()).changed == fits
    assert_valid(model)
    np.testing.assert_allclose(run(model, feeds(model))[0], before[0], rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("kind", ["Concat", "ScatterND"])
def test_what_is_zero_beside_numbers_of_an_input_is_not_zero(kind):
    """Rows of a graph input are put below, or in the place of, those of the first channel, which is zero."""
    net = Net(1)
    x, other = net.op("Conv", net.input(2, 3, 4, 4), net.w(5, 3, 1, 1)), net.input(2, 5, 4, 4)
    if kind == "Concat":
        y = net.op("Concat", x, other, axis=2)
    else:
        y = net.op("ScatterND", x, net.const([[0], [1]], np.int64), other)
    model = net.model((net.head(net.op("Conv", y, net.w(6, 5, 1, 1)), 6),))
    arrays = {n: t.values.copy() for n, t in model.initializers().items() if n in ("c0", "c1", "c2")}
    made, read = arrays["c0"], arrays["c1" if kind == "Concat" else "c2"]
    made[0] = 0
    read[:2, 1:] = 0
    model.set_arrays(arrays)
    before = run(model, feeds(model))
    assert not RemoveDeadChannels().apply(model, Context()).changed
    np.testing.assert_array_equal(run(model, feeds(model))[0], before[0])


@pytest.mark.parametrize("kind", ["mask", "pool", "training"])
def test_a_constant_that_becomes_another_number_stays(kind):
    """A mask says what was kept; the last windows of a pool count what is beyond the border; a Dropout drops some."""
    net = Net(1)
    x = net.op("Conv", net.input("N", 3, 5, 5), net.w(5, 3, 1, 1), net.w(5))
    if kind == "mask":
        y = net.op("Cast", net.op("Dropout", x, outs=2)[1], to=1)
    elif kind == "training":
        y = net.op("Dropout", x, net.const(0.5, np.float32), net.const(True, np.bool_))
    else:
        y = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, count_include_pad=1)
    model = net.model((net.head(net.op("Conv", y, net.w(6, 5, 1, 1)), 6),))
    made, bias = (model.initializers()[n].values.copy() for n in ("c0", "c1"))
    made[0], bias[0] = 0, 0.0 if kind == "mask" else 1.5
    model.set_arrays({"c0": made, "c1": bias})
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_zeros_stay_behind_padding_with_another_number_of_an_old_opset():
    net = Net(1, opset=9)
    x = net.op("Conv", net.input("N", 3, 4, 4), net.w(5, 3, 1, 1))
    x = net.op("Pad", x, pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.5)
    model = net.model((net.head(net.op("Conv", x, net.w(6, 5, 1, 1)), 6),))
    array = model.initializers()["c0"].values.copy()
    array[:2] = 0
    model.set_arrays({"c0": array})
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_a_constant_stays_where_the_bias_behind_it_counts_for_nothing():
    net = Net(1)
    x = net.op("Sigmoid", net.dense(net.input("N", 3), 3, 6))
    model = net.model((net.op("Gemm", x, net.w(6, 4), net.w(4), beta=0.0),))
    array = model.initializers()["c0"].values.copy()
    array[:, :2] = 0
    model.set_arrays({"c0": array})
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_channels_that_only_feed_each_other_are_dead():
    net = Net(1)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, 6))
    y = net.conv(net.relu(net.conv(x, 6, 5)), 5, 6)
    model = net.model((net.head(net.op("Add", x, y), 6),))
    arrays = {n: t.values.copy() for n, t in model.initializers().items()}
    inner, outer, head = "c2", "c4", "c6"
    arrays[head][:3] = 0
    arrays[inner][1:, :3] = 0
    model.set_arrays(arrays)
    assert find_dead(model, channel_groups(model)).removed == {}
    arrays[outer][3:, 0] = 0
    model.set_arrays(arrays)
    removed = find_dead(model, channel_groups(model)).removed
    assert {name: found.tolist() for name, found in removed.items()} == {"Conv_1": [0, 1, 2], "Conv_3": [0]}


@pytest.mark.parametrize("family", ["recurrent", "long_short_term", "both_directions"])
def test_hidden_units_that_nobody_reads_are_dead_whatever_they_read_of_each_other(family):
    model = build(family, 1)
    coupling = channel_groups(model)
    node = next(n for n in model.nodes() if n.op in ("LSTM", "GRU", "RNN"))
    group, states = coupling.group(node.name), node.inputs[2].name
    arrays = {p.tensor: model.initializers()[p.tensor].values.copy() for p in group.consuming}
    for part in group.consuming:
        rows = np.moveaxis(arrays[part.tensor], part.axis, 0)
        if part.tensor != states:
            rows[part.positions[:2].ravel()] = 0
        else:  # [reader's gate, ..]: units 0 and 1 go on reading each other, the rest reads neither.
            readers = ~np.isin(np.arange(rows.shape[-1]) % group.size, [0, 1])
            rows[:2, ..., readers] = 0
    model.set_arrays(arrays)
    before = run(model, feeds(model))
    assert find_dead(model, coupling).removed[group.name].tolist() == [0, 1]
    assert RemoveDeadChannels().apply(model, Context()).changed
    for got, wanted in zip(run(model, feeds(model)), before, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


def test_nodes_that_are_kept_keep_their_dead_channels():
    model = build("chain", 1)
    kill(model, channel_groups(model), 1, "producers")
    before = channel_groups(model).group("Conv_1").size
    RemoveDeadChannels().apply(model, Context(keep=("Conv_1",)))
    assert channel_groups(model).group("Conv_1").size == before


def test_positions_within_heads_that_are_dead_in_all_of_them_are_found():
    model = build("attention", 1)
    group = channel_groups(model, within_heads=True).free()[1]
    (weight, bias) = group.producing
    arrays = {p.tensor: model.initializers()[p.tensor].values.copy() for p in (weight, bias)}
    arrays[weight.tensor][:, weight.positions[:2].ravel()] = 0
    arrays[bias.tensor][bias.positions[:2].ravel()] = 0
    model.set_arrays(arrays)
    before = run(model, feeds(model))
    assert RemoveDeadChannels().apply(model, Context()).notes == ("2 dead channels removed",)
    assert_valid(model)
    np.testing.assert_allclose(run(model, feeds(model))[0], before[0], rtol=1e-4, atol=1e-5)


def test_a_constant_without_elements_tells_nothing_of_what_it_is_added_to():
    net = Net(0)
    x = net.conv(net.input("N", 3, 4, 4), 3, 4)
    model = net.model((net.conv(net.op("Add", x, net.w(4, 1, 1)), 4, 2),))
    constant = next(t for n in model.nodes() if n.op == "Add" for t in n.inputs[1:])
    constant.values = np.zeros((0, 1, 1), np.float32)
    assert not RemoveDeadChannels().apply(model, Context()).changed


def test_a_layer_that_has_no_weights_for_its_input_is_no_fault_of_the_pass():
    """Behind an operator of another domain onnx compares no sizes, so that such a model is loaded."""
    net = Net(0)
    x = net.op("Gelu", net.linear(net.input("N", 4), 4, 3), domain="com.microsoft")
    model = net.model((net.linear(net.op("MatMul", x, net.w(3, 4)), 4, 2),))
    gelu = next(n for n in model.nodes() if n.op == "Gelu")
    weight = gelu.outputs[0].outputs[0].inputs[1]
    weight.values = np.zeros((0, 4), np.float32)
    RemoveDeadChannels().apply(model, Context())
    assert [n.op for n in model.nodes()][-2:] == ["MatMul", "Add"]
