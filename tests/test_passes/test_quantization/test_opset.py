import pytest

from pfir.errors import FrontendError
from pfir.ir.edit import opset
from pfir.passes.quantization.opset import lift_opset
from tests.support.net import Net, parsed, random
from tests.support.runs import assert_same

NET = "net (float[N,3] x) => (float[N,4] y) { a = MatMul(x, w)  y = Relu(a) }"


@pytest.mark.parametrize("wanted", [13, 21])
def test_a_newer_opset_computes_the_same(wanted):
    net = parsed(NET, 11, w=random(3, 4))
    lifted = net.clone()
    lift_opset(lifted, wanted)
    assert opset(lifted.graph) == wanted and lifted.ir_version >= (10 if wanted == 21 else 7)
    assert_same(net, lifted)
    assert [n.name for n in lifted.nodes()] == [n.name for n in net.nodes()]


def test_a_model_that_is_new_enough_stays():
    net = parsed(NET, 17, w=random(3, 4))
    graph = net.graph
    lift_opset(net, 13)
    assert net.graph is graph


def test_what_cannot_be_converted_is_refused():
    net = Net(0, opset=8)
    given = (net.input("N", 3, 4), net.w(3, 4), net.w(3, 4), net.w(3, 4), net.positive(3, 4))
    model = net.model((net.op("BatchNormalization", *given, spatial=0),))
    with pytest.raises(FrontendError, match="onnx cannot convert opset 8 to 13: Attribute spatial must have value 1"):
        lift_opset(model, 13)
    assert opset(model.graph) == 8
