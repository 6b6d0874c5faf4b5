import ml_dtypes
import numpy as np
import onnx
import pytest

from pfir.ir.edit import array, is_op
from pfir.passes.quantization.grids import Grid, WeightGrid
from pfir.passes.quantization.opset import lift_opset
from pfir.passes.quantization.placement import Placement
from pfir.passes.quantization.writing import Quantized, write, written
from tests.support.net import feeds, parsed, random
from tests.support.quantization import PLAIN, operators_in_a_run, quantized, residual
from tests.support.runs import ops, run

NET = "net (float[N,3] x) => (float[N,4] y) { t = Gemm(x, w, b)  y = Relu(t) }"


def _net(**more):
    return parsed(NET, **{"w": random(3, 4), "b": random(4, seed=1), **more})


def _plan(model, bits=8, activation_bits=8, tensors=("x",)):
    weight = model.initializers()["w"].values
    limit = 2 ** (bits - 1) - 1
    grid = WeightGrid((np.abs(weight).max(axis=0) / limit).astype(np.float32), 1, bits)
    activations = dict.fromkeys(
        ("x", "y"), Grid(0.05 * 2 ** (8 - activation_bits), 2 ** (activation_bits - 1), activation_bits)
    )
    name = next(n.name for n in model.nodes() if n.op == "Gemm")
    placement = Placement((name,), tuple((t,) for t in tensors), (), {})
    return Quantized(placement, activations, {name: grid}, {name: grid.integers(weight)})


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("activation_bits", [4, 8])
def test_what_is_written_computes_what_the_integers_say(bits, activation_bits):
    net, x = _net(), feeds(_net(), dynamic=50)["x"]
    plan = _plan(net, bits, activation_bits, ("x", "y"))
    ((name, grid),) = plan.weights.items()
    rounded = plan.activations["x"].nearest(x)
    scale = plan.activations["x"].scale * grid.scale
    bias = np.rint(net.initializers()["b"].values / scale) * scale
    wanted = plan.activations["y"].nearest(np.maximum(rounded @ grid.numbers(plan.integers[name]) + bias, 0))
    (given,) = run(written(net, plan), {"x": x})
    np.testing.assert_allclose(given, wanted, atol=1.01 * plan.activations["y"].scale)
    assert np.mean(np.abs(given - wanted) < 1e-4) > 0.97  # A sum that lies on a half is rounded either way.


def test_a_copy_is_written_and_the_model_stays():
    net = _net()
    written(net, _plan(net))
    assert ops(net) == ["Gemm", "Relu"]


def test_the_interface_keeps_names_and_types_where_outputs_have_few_bits_too():
    net = _net()
    made = written(net, _plan(net, tensors=("x", "y")))
    assert made.inputs() == net.inputs() and made.outputs() == net.outputs()
    onnx.checker.check_model(made.to_proto(), full_check=True)
    assert ops(made)[-2:] == ["QuantizeLinear", "DequantizeLinear"]


def test_layers_keep_their_names_and_order():
    net = residual()
    layers = [n.name for n in net.nodes() if n.op in ("Conv", "Gemm")]
    assert [n.name for n in quantized(net, **PLAIN).nodes() if n.op in ("Conv", "Gemm")] == layers


def test_four_bits_are_stored_in_four_where_the_opset_has_them():
    old, new = _net(), _net()
    lift_opset(new, 21)
    for net, kind in ((old, np.int8), (new, ml_dtypes.int4)):
        write(net, _plan(net, bits=4))
        assert {t.values.dtype for n, t in net.initializers().items() if n == "w_quantized"} == {np.dtype(kind)}
    assert np.abs(run(old, feeds(old))[0] - run(new, feeds(new))[0]).max() < 1e-6


def test_one_scale_for_a_whole_weight_has_no_axis():
    net = quantized(_net(), per_channel=False, **PLAIN)
    made = [n for n in net.nodes() if is_op(n, "DequantizeLinear") and array(n.inputs[0]) is not None]
    assert all("axis" not in n.attrs and n.inputs[1].values.shape == () for n in made)


def test_onnx_runtime_computes_with_integers_throughout(tmp_path):
    found = operators_in_a_run(quantized(residual(), pairs="operators", **PLAIN), tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"], found["QGemm"]) == (3, 1, 1)
    assert not {"Conv", "Add", "Gemm", "Relu"} & set(found)


@pytest.mark.parametrize(("bits", "share"), [(8, 0.35), (4, 0.25)])
def test_the_file_shrinks_as_the_bits_say(bits, share):
    net = parsed("net (float[N,300] x) => (float[N,300] y) { y = MatMul(x, w) }", w=random(300, 300))
    assert len(quantized(net, weight_bits=bits, **PLAIN).to_bytes()) < share * len(net.to_bytes())
