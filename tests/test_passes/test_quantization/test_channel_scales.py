import numpy as np
import pytest

from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.channel_scales import ChannelScales, clip_bound
from pfir.passes.quantization.placement import layers_of
from tests.support.net import parsed, random
from tests.support.quantization import residual

CONVS = "a = Conv<kernel_shape=[1,1]>(x, v)  {}  z = Conv<kernel_shape=[1,1]>(b, w)"


def _scales(between, reads=4):
    net = parsed(
        f"net (float[N,4,6,6] x) => (float[N,3,H,W] z) {{ {CONVS.format(between)} }}",
        v=random(4, 4, 1, 1),
        w=random(3, reads, 1, 1),
        s=random(4, 1, 1),
        zero=np.float32(0),
        six=np.float32(6),
        p=np.array([0, 1, 0, 0, 0, 2, 0, 0]),
        one=np.float32(1),
        c=random(1, 4, 1, 1),
        flat=np.array([0, -1]),
    )
    infer_shapes(net)
    return ChannelScales(net, layers_of(net))


@pytest.mark.parametrize(
    "between",
    [
        "b = Relu(a)",
        "b = PRelu(a, s)",
        "b = Clip(a, zero, six)",
        "b = MaxPool<kernel_shape=[2,2]>(a)",
        "t = LeakyRelu(a)  b = GlobalAveragePool(t)",
        "t = Relu(a)  b = Add(t, a)",
    ],
)
def test_channels_pass_what_is_homogeneous(between):
    scales = _scales(between)
    assert (scales.labels["a"] == scales.labels["b"]).all() and scales.free[scales.labels["b"]].all()


@pytest.mark.parametrize(
    "between",
    [
        "b = Sigmoid(a)",
        "b = Add(a, c)",
        "b = Clip(a, one, six)",
        "b = Mul(a, a)",
        "b = Transpose<perm=[0,1,3,2]>(a)",
        "b = Add(a, x)",
        "b = Add(a, one)",
    ],
)
def test_what_is_not_homogeneous_or_leaves_the_net_fixes_channels(between):
    assert not _scales(between).free[_scales(between).labels["a"]].any()


def test_inputs_and_outputs_of_the_graph_are_fixed():
    scales = _scales("b = Relu(a)")
    assert not scales.free[scales.labels["x"]].any() and not scales.free[scales.labels["z"]].any()


def test_channels_lie_where_concatenation_and_padding_put_them():
    scales = _scales("b = Concat<axis=1>(a, a)", reads=8)
    assert (scales.labels["b"] == np.tile(scales.labels["a"], 2)).all()
    scales = _scales("b = Pad(a, p)", reads=7)
    assert (scales.labels["b"][1:5] == scales.labels["a"]).all() and len(set(scales.labels["b"])) == 7
    assert not _scales("b = Pad(a, p, one)", reads=7).free[scales.labels["a"]].any()
    assert not _scales("b = Concat<axis=2>(a, a)").free[scales.labels["a"]].any()


def test_a_flattened_channel_is_many_inputs():
    net = parsed(
        "net (float[N,2,3,3] x) => (float[N,5] y)"
        "{ a = Conv<kernel_shape=[2,2]>(x, v)  f = Flatten(a)  y = Gemm(f, w) }",
        v=random(3, 2, 2, 2),
        w=random(12, 5),
    )
    infer_shapes(net)
    scales = ChannelScales(net, layers_of(net))
    assert (scales.labels["f"] == np.repeat(scales.labels["a"], 4)).all() and scales.free[scales.labels["a"]].all()


def test_residual_channels_of_several_layers_go_together():
    net = residual()
    infer_shapes(net)
    scales = ChannelScales(net, layers_of(net))
    assert (scales.makes["Conv_1"] == scales.makes["Conv_5"]).all()
    assert not set(scales.makes["Conv_3"]) & set(scales.makes["Conv_1"])


def test_the_bound_of_a_clip_is_known_if_it_starts_at_zero():
    net = parsed(
        "net (float[N] x) => (float[N] y) { a = Clip(x, zero, six)  b = Clip(a, zero)  c = Clip(b, six)  y = Clip(c) }",
        zero=np.float32(0),
        six=np.float32(6),
    )
    assert [clip_bound(n) for n in net.nodes()][:2] == [6.0, np.inf]
    assert all(np.isnan(clip_bound(n)) for n in list(net.nodes())[2:])
