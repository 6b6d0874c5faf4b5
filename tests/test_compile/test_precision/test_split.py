"""Which layers are in eight bits, by what their kernels and the conversions cost."""

from dataclasses import replace

import pytest

from pfir.backends.tvm import TvmBackend
from pfir.compile.methods.pricing import Limits
from pfir.compile.methods.sizing import Sizing
from pfir.compile.precision.choice import needed
from pfir.compile.precision.layers import FLOATS, INTEGERS, Precision
from pfir.compile.precision.split import Prices, cheapest, relaxed
from pfir.compile.prepare import BASELINE
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from pfir.target import INT8, parse_target
from tests.support.jobs import small_net

LAYERS = ("Conv_1", "Conv_4", "Conv_7", "Gemm_11")


class Priced(EstimateDevice):
    """Takes a microsecond a kernel, of integers as many as are given by name, else a half."""

    def __init__(self, **integers: float):
        super().__init__(parse_target("arm"))
        self._integers = integers

    def seconds(self, kernel):
        return 1e-6 * (self._integers.get(kernel.name, 0.5) if kernel.workload.dtype == INT8 else 1.0)


def _prices(device=None):
    backend, target = TvmBackend(), parse_target("arm:cortex-a76")
    net, _ = run(BASELINE, small_net(), Context())
    return Prices(net, Sizing(fix_sizes, backend.grouping(target)), device or backend.estimator(target))


def test_layers_are_those_with_weights():
    assert _prices().layers == LAYERS


def test_all_layers_are_in_eight_bits_where_each_gains():
    assert cheapest(_prices(Priced())) == INTEGERS


def test_nothing_is_in_eight_bits_where_nothing_gains():
    slow = dict.fromkeys((*LAYERS, "in0_QuantizeLinear", "GlobalAveragePool_9"), 2.0)
    assert cheapest(_prices(Priced(**slow))) == FLOATS


def test_a_gain_below_what_estimates_err_by_is_none():
    slow = dict.fromkeys((*LAYERS, "in0_QuantizeLinear", "GlobalAveragePool_9"), 2.0) | {"Conv_7": 0.99}
    assert cheapest(_prices(Priced(**slow))) == FLOATS


def test_a_layer_that_is_slower_in_eight_bits_stays_in_float():
    found = cheapest(_prices(Priced(Conv_7=9.0)))
    assert found.integers and "Conv_7" in found.left_in_float and "Conv_4" not in found.left_in_float


def test_what_is_cheapest_takes_no_longer_than_floats_or_eight_bits_everywhere():
    prices = _prices()
    assert prices.seconds(cheapest(prices)) <= min(prices.seconds(FLOATS), prices.seconds(INTEGERS))


def test_layers_go_back_to_float_in_the_order_that_is_given_as_long_as_that_is_allowed():
    kept = relaxed(INTEGERS, LAYERS, lambda tried: len(tried.left_in_float) <= 2)
    assert kept == Precision(True, ("Conv_1", "Conv_4"))
    assert relaxed(Precision(True, ("Conv_1",)), LAYERS, lambda tried: False) == Precision(True, ("Conv_1",))


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (Limits(latency_s=1.0), FLOATS),
        (Limits(macs=1.0), FLOATS),
        (Limits(latency_s=1e-6), INTEGERS),
        (Limits(size_bytes=12_500.0), INTEGERS),
        (Limits(), INTEGERS),
    ],
    ids=str,
)
def test_eight_bits_come_where_floats_do_not_meet_the_goal(limits, wanted):
    assert needed(_prices(Priced()), limits) == wanted


def test_a_size_is_met_by_eight_bits_though_they_gain_no_time():
    slow = Priced(**dict.fromkeys((*LAYERS, "in0_QuantizeLinear", "GlobalAveragePool_9"), 2.0))
    prices = _prices(slow)
    assert needed(prices, Limits(size_bytes=12_500.0)) == INTEGERS and needed(prices, Limits()) == FLOATS
    assert prices.meets(INTEGERS, Limits(size_bytes=12_500.0)) and not prices.meets(FLOATS, Limits(size_bytes=12_500.0))
    assert not prices.meets(replace(INTEGERS, left_in_float=LAYERS), Limits(size_bytes=12_500.0))
