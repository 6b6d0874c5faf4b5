"""Latency layer by layer."""

from pfir.artifact import Kernel
from pfir.compile.measuring.layer_latency import compared
from pfir.devices.estimation.estimate import EstimateDevice
from pfir.target import parse_target
from tests.support.kernels import of_macs

DEVICE = EstimateDevice(parse_target("arm"))


def _kernel(name: str, macs: int) -> Kernel:
    return of_macs(macs, name)


def test_layers_meet_by_name_and_what_takes_longest_comes_first():
    before = [_kernel("a", 10**6), _kernel("b", 10**8), _kernel("gone", 10**5)]
    after = [_kernel("a", 10**5), _kernel("b", 10**7), _kernel("new", 10**7)]
    found = compared((before, DEVICE), (after, DEVICE), {"a": "int8", "gone": "float32"})
    assert [x.name for x in found] == ["b", "new", "a", "gone"]
    by_name = {x.name: x for x in found}
    assert by_name["gone"].after_s is None and by_name["new"].before_s is None
    assert by_name["a"].arithmetic == "int8" and by_name["b"].arithmetic is None
    assert 0 < by_name["b"].after_s < by_name["b"].before_s


def test_layers_add_up_to_the_estimate_also_where_names_repeat():
    kernels = [_kernel("a", 10**6), _kernel("a", 10**7)]
    (layer,) = compared((kernels, DEVICE), (kernels, DEVICE), {})
    assert abs(layer.before_s - DEVICE.estimate(kernels).seconds) < 1e-12
