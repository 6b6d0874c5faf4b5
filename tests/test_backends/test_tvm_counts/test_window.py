"""Windows multiply and add once for each tap of each vector, and are told for every target."""

from __future__ import annotations

import pytest

from pfir.backends.tvm.counts.convolutions.window import window
from pfir.target import parse_target
from pfir.workload import Tail, Workload


def _work(channels: int, out: int, size: int, kernel: int) -> Workload:
    sizes, pads = {"data": (1, channels, size, size), "out": (1, out, size, size)}, (kernel // 2,) * 2
    return Workload("depthwise", **sizes, order=(0, 2, 3, 1), kernel=(kernel,) * 2, pads=pads, group=channels)


@pytest.mark.parametrize(
    ("work", "multiplies"), [(_work(3, 3, 56, 3), 28224), (_work(16, 32, 28, 3), 56448), (_work(32, 32, 28, 9), 508032)]
)
def test_multiply_adds_are_those_that_the_emulator_counted(work, multiplies):
    assert window(parse_target("arm"), work, Tail(True)).multiply == multiplies


def test_nine_by_nine_takes_what_the_emulator_counted():
    assert window(parse_target("arm"), _work(32, 32, 28, 9), Tail(True, ("Relu",))).total == pytest.approx(
        798275, rel=0.05
    )


@pytest.mark.parametrize("name", ("x86-64:x86-64-v4", "armv7", "cortex-a55"))
def test_more_channels_take_more(name):
    totals = [window(parse_target(name), _work(c, c, 28, 9), Tail()).total for c in (16, 64, 256)]
    assert totals == sorted(set(totals))
