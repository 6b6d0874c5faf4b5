"""Device texts at the edge of the program."""

import pytest

from pfir.devices import open_device
from pfir.errors import DeviceError, UsageError
from pfir.target import parse_target


def test_without_a_text_the_device_is_the_estimator_of_the_target():
    assert open_device(None, parse_target("rpi5")).name == "estimate rpi5"


@pytest.mark.parametrize("text", ["", "hots", "tcp://a:1", "estimate"])
def test_an_unknown_device_is_refused_with_the_known_ones(text):
    with pytest.raises(UsageError, match="rpc://HOST:PORT"):
        open_device(text, parse_target("arm"))


def test_only_the_estimator_estimates_and_it_runs_nothing():
    target = parse_target("arm")
    with open_device("host", target) as host, open_device(None, target) as estimator:
        assert (host.runs, host.measures, host.estimates) == (True, True, False)
        assert (estimator.runs, estimator.measures, estimator.estimates) == (False, False, True)
        with pytest.raises(DeviceError, match="estimates nothing"):
            host.estimate([])
        assert host.instructions(None, {}) is None
