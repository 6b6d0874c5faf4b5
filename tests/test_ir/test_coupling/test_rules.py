"""What single operators do to channels where it is not plain: what they pin, with which reason, and what stays free."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.ir.coupling.channels import channel_groups, remove_channels
from tests.support.masking import mask, removal
from tests.support.net import Net, feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import build


def _through(step, size=6, opset=13, **kwargs):
    """A convolution with `size` channels, a step, and whatever reads its result."""
    net = Net(0, opset=opset)
    x = net.relu(net.conv(net.input("N", 3, 4, 4), 3, size))
    return net.model(step(net, x, **kwargs))


def _rows(net: Net, x: str) -> str:
    """[N, 6, 4, 4] as [N, 16, 6]."""
    return net.op("Transpose", net.op("Reshape", x, net.ints(0, 0, 16)), perm=[0, 2, 1])


def _attention(net: Net, x: str, kind: str, *others: str) -> str:
    """In three heads, whose output has the width of its input."""
    rows = _rows(net, x)
    return net.op(kind, rows, *(rows if o == x else o for o in others), domain="com.microsoft", num_heads=3)


def _divided_by_its_length(net: Net, *shape: int) -> tuple[str]:
    w = net.w(*shape, 1, 1)
    return (net.op("Div", w, net.op("ReduceL2", w, axes=[1])),)


def _quantized(net: Net, x: str) -> str:
    return net.op("DynamicQuantizeLinear", x, outs=3)[0]


def _qconv(net: Net, x: str, points: tuple[int, int] = (7, 7), **given) -> str:
    """A QLinearConv on 6 channels, between floats; the zero points that its input was made with, and that it takes."""
    scale = net.const(0.1, np.float32)
    made, taken = (net.const(p, np.uint8) for p in points)
    ints, last = net.op("QuantizeLinear", x, scale, made), net.const(9, np.uint8)
    weights = net.const(net.rng.integers(-9, 9, (2, 6, 1, 1)), np.int8)
    made = given.pop("scale", net.const([0.1, 0.2], np.float32)), net.const([0, 0], np.int8), scale, last
    y = net.op("QLinearConv", ints, given.pop("read", scale), taken, weights, *made, **given)
    return net.op("DequantizeLinear", y, scale, last)


def _quantized_attention(net: Net, x: str, points: tuple[int, int], past: str = "") -> str:
    """In three heads, on integers; the zero points that they were made with, and that it takes."""
    scale, (made, taken) = net.const(0.1, np.float32), (net.const(p, np.uint8) for p in points)
    weights = net.const(np.ones((6, 18)), np.int8), net.w(18), scale, scale, "", taken, net.const(0, np.int8)
    ints = net.op("QuantizeLinear", _rows(net, x), scale, made)
    rest = {"domain": "com.microsoft", "num_heads": 3}
    return net.op("QAttention", ints, *weights, *([past] if past else []), **rest)


def _unpooled(net: Net, x: str, sizes: str) -> str:
    """[2, 6, 4, 4] pooled and put back into a tensor of these sizes."""
    y, places = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], outs=2)
    return net.op("MaxUnpool", y, places, sizes, kernel_shape=[2, 2], strides=[2, 2])


def _check(model, seed=1):
    coupling = channel_groups(model)
    removed = removal(coupling, seed, 0.9)
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    assert_valid(pruned)
    for got, wanted in zip(run(pruned, feeds(model)), run(mask(model, coupling, removed), feeds(model)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    return coupling


PINNED = {
    "softmax over channels": (
        lambda net, x: (net.conv(net.op("Softmax", x, axis=1), 6, 2),),
        "normalises over this axis",
    ),
    "mean over channels": (lambda net, x: (net.op("ReduceMean", x, axes=[1]),), "ReduceMean over this axis"),
    "every second channel": (
        lambda net, x: (net.conv(net.op("Slice", x, *(net.ints(v) for v in (0, 6, 1, 2))), 3, 2),),
        "takes every 2th position",
    ),
    "one channel by index": (lambda net, x: (net.op("Gather", x, net.ints(2), axis=1),), "picked by its index"),
    "reflected channels": (
        lambda net, x: (net.conv(net.op("Pad", x, net.ints(0, 1, 0, 0, 0, 1, 0, 0), mode="reflect"), 8, 2),),
        "crops, reflects or repeats",
    ),
    "an operator without a rule": (
        lambda net, x: (net.conv(net.op("SequenceAt", net.op("SequenceConstruct", x), net.ints(0)), 6, 2),),
        "SequenceConstruct is not followed",
    ),
    "a sequence that is turned around over channels": (
        lambda net, x: (net.conv(net.op("ReverseSequence", x, net.ints(4, 4), batch_axis=0, time_axis=1), 6, 2),),
        "picks positions of this axis",
    ),
    "a choice among all numbers": (
        lambda net, x: (net.op("Compress", x, net.const([True], np.bool_)),),
        "Compress is not followed here: it flattens its input",
    ),
    "picks by indices of other sizes": (
        lambda net, x: (net.op("GatherElements", x, net.const(np.zeros((2, 3, 1, 1)), np.int64), axis=2),),
        "picks positions of this axis",
    ),
    "writes by indices of other sizes": (
        lambda net, x: (
            net.conv(net.op("ScatterElements", x, net.const([[[[0]]]], np.int64), net.w(1, 1, 1, 1), axis=2), 6, 2),
        ),
        "picks positions of this axis",
    ),
    "a product with batches transposed": (
        lambda net, x: (net.op("FusedMatMul", x, net.w(1, 1, 4, 5), domain="com.microsoft", transBatchA=1),),
        "it transposes a batch",
    ),
    "attention with a bias of scores": (
        lambda net, x: (_attention(net, x, "Attention", net.w(6, 18), net.w(18), "", "", net.w(2, 3, 16, 16)),),
        "it has a past, a bias of scores",
    ),
    "attention without weights, but with a bias": (
        lambda net, x: (_attention(net, x, "MultiHeadAttention", x, x, net.w(18)),),
        "it has a bias, a mask or a past",
    ),
    "attention to fixed keys": (
        lambda net, x: (_attention(net, x, "MultiHeadAttention", net.input("N", 16, 6), x),),
        "meets an axis that keeps its size",
    ),
    "integers with another zero point": (
        lambda net, x: (net.op("MatMulInteger", _rows(net, _quantized(net, x)), net.const([[1]] * 6, np.int8)),),
        "another zero point than its input was quantized with",
    ),
    "a convolution with another zero point": (
        lambda net, x: (_qconv(net, x, (7, 8)),),
        "another zero point than its input was quantized with",
    ),
    "a convolution with zero points by channel": (
        lambda net, x: (
            net.op(
                "ConvInteger",
                _quantized(net, x),
                net.const(np.ones((2, 6, 1, 1)), np.uint8),
                net.const([3] * 6, np.uint8),
            ),
        ),
        "is not one number",
    ),
    "a product with a table of scales": (
        lambda net, x: (
            net.op(
                "MatMulIntegerToFloat",
                _quantized(net, _rows(net, x)),
                net.const(np.ones((6, 2)), np.uint8),
                net.const(0.1, np.float32),
                net.const([[0.1, 0.2]], np.float32),
                domain="com.microsoft",
            ),
        ),
        "is neither one number nor one for each output channel",
    ),
    "a convolution with its channels last": (
        lambda net, x: (_qconv(net, x, channels_last=1, domain="com.microsoft"),),
        "its channels come last",
    ),
    "an unpooling": (
        lambda net, x: (net.op("MaxUnpool", x, net.const(np.zeros((2, 6, 4, 4)), np.int64), kernel_shape=[2, 2]),),
        "its indices count the positions of all channels",
    ),
    "a norm of weights": (
        lambda net, x: (net.op("Conv", x, *_divided_by_its_length(net, 2, 6)),),
        "ReduceL2 of weights alone sums over this axis",
    ),
    "addition to the input": (
        lambda net, x: (net.conv(net.op("Add", x, net.input("N", 6, 4, 4)), 6, 2),),
        "meets an axis that keeps its size",
    ),
    "indices of a pool that are read as numbers": (
        lambda net, x: (net.op("Cast", net.op("MaxPool", x, kernel_shape=[2, 2], outs=2)[1], to=1),),
        "the indices it returns",
    ),
    "indices of a pool for a tensor of other sizes": (
        lambda net, x: (net.conv(_unpooled(net, x, net.ints(2, 6, 5, 5)), 6, 2),),
        "the indices it returns",
    ),
    "an unpooling to a size of a run": (
        lambda net, x: (
            _unpooled(net, x, net.op("Shape", net.relu(net.input(2, 6, 4, 4)))),
            _unpooled(net, x, net.input(4, dtype=np.int64)),
        ),
        "the indices it returns",
    ),
    "numbers that are dropped at random": (
        lambda net, x: (net.op("Dropout", x, "", net.const(True, np.bool_)),),
        "it may drop numbers at random",
    ),
    "quantized attention that goes on": (
        lambda net, x: (_quantized_attention(net, x, (7, 7), past=net.w(2, 2, 3, 1, 2)),),
        "it has a past",
    ),
    "quantized attention with another zero point": (
        lambda net, x: (_quantized_attention(net, x, (7, 8)),),
        "another zero point than its input was quantized with",
    ),
    "neighbouring channels": (lambda net, x: (net.conv(net.op("LRN", x, size=3), 6, 2),), "normalises over this axis"),
}


@pytest.mark.parametrize("case", PINNED)
def test_what_would_notice_a_missing_channel_pins_it_and_says_so(case):
    step, words = PINNED[case]
    group = channel_groups(_through(step)).group("Conv_1")
    assert any(words in pin.reason for pin in group.pins), group.pins


def test_the_width_under_a_layer_norm_stays_with_a_reason_and_what_is_beside_it_is_free():
    coupling = channel_groups(build("attention", 1))
    stream = next(g for g in coupling.groups if "MatMul_28" in g.producers)
    assert any(p.node == "LayerNormalization_24" and "even one that is always zero" in p.reason for p in stream.pins)
    assert [(g.producers, g.consumers) for g in coupling.free()] == [
        (("MatMul_2", "MatMul_5", "MatMul_8"), ("MatMul_21",)),
        (("MatMul_25",), ("MatMul_28",)),
    ]


@pytest.mark.parametrize(
    "family", ["attention", "fused_attention", "traced_attention", "split_qkv", "packed_qkv", "rotary"]
)
def test_heads_are_free_as_a_whole_however_attention_is_written(family):
    free = channel_groups(build(family, 1)).free()
    assert any(all(p.positions.size == p.positions.shape[1] * 3 for p in g.producing) and g.size == 3 for g in free)


ATTENTION = ["attention", "fused_attention", "traced_attention", "split_qkv", "packed_qkv", "sequence_first"]


@pytest.mark.parametrize("family", ATTENTION)
def test_all_heads_may_get_narrower_instead(family):
    """A position of q goes with that of k, one of v with the output's; where one axis holds all three, with both."""
    model = build(family, 1)
    coupling = channel_groups(model, within_heads=True)
    removed = removal(coupling, 1, 0.9)
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    assert_valid(pruned)
    for got, wanted in zip(run(pruned, feeds(model)), run(mask(model, coupling, removed), feeds(model)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    whole = {m.tensor for g in channel_groups(model).free() for m in g.members if m.constant}
    narrower = {m.tensor for g in coupling.free() for m in g.members if m.constant}
    assert whole == narrower and removed


def test_q_and_k_are_one_group_within_heads_and_v_with_the_output_another():
    free = channel_groups(build("attention", 1), within_heads=True).free()
    assert [(g.producers, g.size) for g in free] == [
        (("MatMul_2", "MatMul_5"), 4),
        (("MatMul_8",), 4),
        (("MatMul_25",), 5),
    ]


def test_the_former_name_of_scattering_is_followed():
    def step(net, x):
        return (net.conv(net.op("Scatter", x, net.const(np.zeros((2, 6, 1, 4)), np.int64), net.relu(x), axis=2), 6, 2),)

    assert channel_groups(_through(step, opset=10)).free()


def test_a_local_function_is_pinned_with_what_helps():
    group = channel_groups(build("local_function", 1)).group("Conv_3")
    assert "inline-functions helps" in group.pins[0].reason


FREE = {
    "softmax over space": lambda net, x: (net.conv(net.op("Softmax", x, axis=3), 6, 2),),
    "sum over channels": lambda net, x: (net.op("ReduceSum", x, net.ints(1)),),
    "norm over channels": lambda net, x: (net.conv(net.op("LpNormalization", x, axis=1), 6, 2),),
    "squeeze without axes": lambda net, x: (net.linear(net.op("Squeeze", net.op("GlobalMaxPool", x)), 6, 2),),
    "negative slice": lambda net, x: (net.conv(net.op("Slice", x, *(net.ints(v) for v in (-4, -1, 1))), 3, 2),),
    "negative gather": lambda net, x: (net.conv(net.op("Gather", x, net.ints(-1, 0, -1, 3), axis=1), 4, 2),),
    "running sum": lambda net, x: (net.conv(net.op("CumSum", x, net.const(1, np.int64)), 6, 2),),
    "tile": lambda net, x: (net.conv(net.op("Tile", x, net.ints(1, 2, 1, 1)), 12, 2),),
    "itself twice": lambda net, x: (net.conv(net.op("Concat", x, net.op("Mul", x, x), axis=1), 12, 2),),
    "mean of three": lambda net, x: (net.conv(net.op("Mean", x, net.relu(x), x), 6, 2),),
    "maxima of regions": lambda net, x: (
        net.conv(net.op("MaxRoiPool", x, net.const([[0, 0, 0, 3, 3]], np.float32), pooled_shape=[2, 2]), 6, 2),
    ),
    "indices of a pool that nobody reads": lambda net, x: (
        net.conv(net.op("MaxPool", x, kernel_shape=[2, 2], outs=2)[0], 6, 2),
    ),
    "global lp pool": lambda net, x: (net.conv(net.op("GlobalLpPool", x), 6, 2),),
}


@pytest.mark.parametrize("case", FREE)
def test_what_does_not_notice_a_missing_channel_leaves_it_free(case):
    model = _through(FREE[case])
    if case == "squeeze without axes":
        model.graph.inputs[0].shape = [2, 3, 4, 4]
    assert not _check(model).group("Conv_1").pins


@pytest.mark.parametrize("points", [(7, 7), (7, 8)])
def test_integers_go_only_where_zero_counts_as_zero(points):
    """What is pinned for its zero point stays; the other side of the convolution is free either way."""
    model = _through(lambda net, x: (net.conv(_qconv(net, x, points), 2, 3),))
    coupling = _check(model)
    assert bool(coupling.group("Conv_1").pins) == (points == (7, 8))
    assert not coupling.group("QLinearConv_4").pins


def test_a_squeeze_without_axes_keeps_a_single_channel():
    model = _through(FREE["squeeze without axes"])
    model.graph.inputs[0].shape = [2, 3, 4, 4]
    coupling = channel_groups(model)
    pruned = model.clone()
    remove_channels(pruned, coupling, {"Conv_1": np.arange(5)})
    assert run(pruned, feeds(model))[0].shape == (2, 2)


def test_whole_norm_groups_go_and_their_number_follows():
    net = Net(0, opset=21)
    x = net.conv(net.input("N", 3, 4, 4), 3, 12)
    x = net.op("GroupNormalization", x, net.positive(12), net.w(12), num_groups=4)
    model = net.model((net.head(x, 12),))
    group = _check(model).group("Conv_1")
    assert (group.size, group.members[0].positions.shape) == (4, (4, 3))
    remove_channels(model, channel_groups(model), {"Conv_1": np.array([1])})
    assert next(n for n in model.nodes() if n.op == "GroupNormalization").attrs["num_groups"] == 3


def test_a_depthwise_convolution_follows_its_input_and_its_group_count():
    model = _through(lambda net, x: (net.head(net.conv(x, 6, 12, group=6), 12),))
    group = _check(model).group("Conv_1")
    assert group.size == 6
    remove_channels(model, channel_groups(model), {"Conv_1": np.array([0, 5])})
    deep = [n for n in model.nodes() if n.op == "Conv"][1]
    assert (deep.attrs["group"], deep.inputs[1].shape) == (4, (8, 1, 3, 3))


def test_heads_of_attention_are_groups_with_all_their_width():
    net = Net(0)
    x = net.input("N", "S", 12)
    heads = [net.op("Reshape", net.linear(x, 12, 12), net.ints(0, 0, 4, 3)) for _ in range(3)]
    q, k, v = (net.op("Transpose", t, perm=[0, 2, 1, 3]) for t in heads)
    scores = net.op("Softmax", net.op("MatMul", q, net.op("Transpose", k, perm=[0, 1, 3, 2])), axis=-1)
    y = net.op("Transpose", net.op("MatMul", scores, v), perm=[0, 2, 1, 3])
    model = net.model((net.linear(net.op("Reshape", y, net.ints(0, 0, 12)), 12, 5),))
    free = _check(model).free()
    assert [(g.size, g.producing[0].positions.shape) for g in free] == [(4, (4, 3))]


def test_padded_channels_may_go_and_the_pads_follow():
    model = _through(lambda net, x: (net.head(net.op("Pad", x, net.ints(0, 2, 0, 0, 0, 3, 0, 0)), 11),))
    coupling = _check(model)
    padding = next(g for g in coupling.free() if not g.producers)
    remove_channels(model, coupling, {padding.name: np.array([0, 4])})
    pad = next(n for n in model.nodes() if n.op == "Pad")
    assert pad.inputs[1].values.tolist() == [0, 1, 0, 0, 0, 2, 0, 0]


def test_two_groups_of_one_node_get_different_names():
    model = _through(lambda net, x: tuple(net.conv(p, 3, 2) for p in net.op("Split", x, axis=1, outs=2)))
    assert {"Conv_1", "Conv_1#2"} <= {g.name for g in channel_groups(model).free()}


def test_a_node_that_contradicts_its_shapes_is_pinned_and_not_a_crash():
    model = _through(lambda net, x: (net.conv(net.op("DepthToSpace", x, blocksize=1), 6, 2),))
    next(n for n in model.nodes() if n.op == "DepthToSpace").attrs["blocksize"] = 4
    group = channel_groups(model).group("Conv_1")
    assert any("could not be followed" in pin.reason or "not followed" in pin.reason for pin in group.pins)
