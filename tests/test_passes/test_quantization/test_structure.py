"""The structure of a quantized model is that of the model that the pass writes."""

import numpy as np
import pytest

from pfir.data.generated import generated
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.edit import opset
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.batch_norm.fold import FoldBatchNorm
from pfir.passes.pipeline import run
from pfir.passes.quantization.placement import KERNELS
from pfir.passes.quantization.quantize_uniform import QuantizeUniform
from pfir.passes.quantization.structure import structure
from pfir.passes.simplification.simplify import Simplify
from pfir.run.activations import activations
from tests.support.jobs import small_net
from tests.support.net import Net


def _folded(net):
    return fix_sizes(run((Simplify(), FoldBatchNorm()), net, Context())[0])


def _calibrating(model, left):
    data = generated(model.inputs(), 16, 0)
    return Context(lambda other, names: activations(other, names, data, 8), keep=left)


def _net_of_clips():
    net = Net(0)
    bounds = (net.const(value, np.float32) for value in (0, 6))
    x = net.op("Clip", net.conv(net.input(1, 3, 16, 16), 3, 8), *bounds)
    return net.model((net.conv(x, 8, 4),))


def _said(model):
    """Operators, with the type and the shape of each result."""
    return [(n.op, str(np.dtype(n.outputs[0].dtype)), tuple(n.outputs[0].shape)) for n in model.nodes()]


@pytest.mark.parametrize("left", [(), ("Conv_4",)], ids=["all", "one in float"])
def test_a_structure_has_the_nodes_types_and_sizes_of_what_the_pass_writes(left):
    net = _folded(small_net())
    for way in (QuantizeUniform(), QuantizeUniform(weight_bits=4, eight_bit_share=0.3, pairs=KERNELS)):
        written, _ = run((way,), net, _calibrating(net, left))
        assert _said(structure(net, left, way.bits)) == _said(written)
        assert model_cost(structure(net, left, way.bits)) == model_cost(written)


def test_a_structure_keeps_the_bounds_of_a_clip_so_that_saturation_does_them():
    found = structure(_folded(_net_of_clips()))
    quantize = [n for n in found.nodes() if n.op == "QuantizeLinear" and n.inputs[0].inputs]
    assert [float(n.inputs[1].values) for n in quantize] == [pytest.approx(6 / 255)]


def test_a_model_without_layers_is_its_own_structure():
    net = Net(0)
    model = net.model((net.relu(net.input(1, 3, 4, 4)),))
    assert _said(structure(fix_sizes(model))) == [("Relu", "float32", (1, 3, 4, 4))]


def test_an_old_model_is_lifted_to_an_opset_that_has_scales_for_channels():
    net = Net(0, opset=11)
    model = net.model((net.conv(net.relu(net.conv(net.input(1, 3, 8, 8), 3, 4)), 4, 4),))
    found = structure(fix_sizes(model))
    assert opset(found.graph) == 13 and [n.op for n in found.nodes()].count("DequantizeLinear") == 6
    assert opset(model.graph) == 11
