from pfir.ir.shapes import infer_shapes
from pfir.passes.quantization.output_error import OutputError
from pfir.passes.quantization.sensitivity import most_sensitive, sensitivities, within_share
from tests.support.calibration import context
from tests.support.quantization import residual


def test_each_layer_costs_what_the_net_loses_by_it_alone():
    net = residual()
    infer_shapes(net)

    def without(name):
        copy = net.clone()
        tensor = next(n for n in copy.nodes() if n.name == name).inputs[1]
        tensor.values = tensor.values * 0
        return copy

    found = sensitivities(["Conv_1", "Conv_3"], OutputError(net, context(net).activations), without)
    assert set(found) == {"Conv_1", "Conv_3"} and min(found.values()) > 0


def test_what_loses_most_for_its_cost_stays_in_float():
    net = residual()
    infer_shapes(net)
    shapes = {"in0": [1, 3, 12, 12]}
    alike = dict.fromkeys(("Conv_1", "Conv_3", "Conv_5", "Gemm_10"), 0.1)
    assert most_sensitive(net, alike, 1, shapes) == ("Gemm_10",)  # It costs least.
    assert most_sensitive(net, alike | {"Conv_1": 9.0}, 2, shapes) == ("Conv_1", "Gemm_10")
    assert len(most_sensitive(net, alike, 9, shapes)) == 4


def test_a_share_of_the_work_stays_in_float_where_most_is_lost_for_it():
    net = residual()
    infer_shapes(net)
    shapes = {"in0": [1, 3, 12, 12]}
    alike = dict.fromkeys(("Conv_1", "Conv_3", "Conv_5", "Gemm_10"), 0.1)
    assert within_share(net, alike, 0.0, shapes) == ()
    assert within_share(net, alike, 0.01, shapes) == ()  # The Gemm does hardly any work, and has 6 % of the weights.
    assert within_share(net, alike, 0.07, shapes) == ("Gemm_10",)
    assert "Conv_1" not in within_share(net, alike, 0.5, shapes)  # It does most of the work.
    assert set(within_share(net, alike | {"Conv_5": 0.0}, 1.0, shapes)) == {"Conv_1", "Conv_3", "Gemm_10"}
