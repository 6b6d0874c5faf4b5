"""Every way to compute a kernel is a way to compute the same, and the modelled one comes first."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.backends.tvm import TvmBackend
from pfir.backends.tvm.families import candidates, modelled
from pfir.backends.tvm.schedule.blocks import Direct
from pfir.backends.tvm.schedule.tile_kinds import DotsTile, DottedTile
from pfir.backends.tvm.schedule.winograd import Winograd
from pfir.backends.tvm.tuning.tunable import group_kernels
from pfir.devices.feeds import sample
from pfir.target import known_targets, parse_target
from pfir.workload import Workload
from tests.support.net import Net
from tests.test_backends import devices
from tests.test_backends.bundle import error, sized, under_construction

SIZES = st.integers(1, 200)
NHWC = (0, 2, 3, 1)


def _works(channels: int, out: int, height: int, width: int, groups: int) -> list[Workload]:
    def conv(kernel: int, **other) -> Workload:
        sizes = (1, channels * groups, height, width), (1, out * groups, height, width)
        return Workload("conv", *sizes, NHWC, (kernel, kernel), group=groups, **other)

    deep = Workload("depthwise", (1, out, height, width), (1, out, height, width), NHWC, (3, 3), group=out)
    return [
        conv(3),
        conv(5),
        conv(3, strides=(2, 2)),
        deep,
        Workload("product", (height, channels), (height, out), (0, 1)),
    ]


@settings(max_examples=30, deadline=None)
@given(
    target=st.sampled_from(known_targets()),
    channels=SIZES,
    out=SIZES,
    sizes=st.tuples(SIZES, SIZES),
    groups=st.sampled_from((1, 1, 3)),
    threads=st.integers(1, 4),
)
def test_the_modelled_way_is_first_and_each_is_there_once(target, channels, out, sizes, groups, threads):
    target = replace(target, threads=threads)
    for workload in _works(channels, out, *sizes, groups):
        found = candidates(target, workload)
        assert found[0] == modelled(target, workload)
        assert len({str(schedule) for schedule in found}) == len(found)
        for schedule in found:
            tile = schedule.tile if isinstance(schedule, Winograd | Direct) else schedule
            values = workload.channels * (workload.kernel[1] if isinstance(schedule, Direct) else 1)
            steps = tile.copies if isinstance(tile, DotsTile) else getattr(tile, "unroll", 1)
            assert tile.threads == threads and 1 <= steps <= values
            assert not isinstance(schedule, Winograd) or -(-workload.out[2] // schedule.outputs) % schedule.strip == 0


def _net() -> Net:
    b = under_construction()
    x = b.op("Conv", b.input(1, 3, 9, 11), b.w(12, 3, 3, 3), b.w(12), strides=[2, 2], pads=[1, 1, 1, 1])
    x = b.op("Relu", x)
    y = b.op("Add", x, b.op("Conv", x, b.w(12, 12, 3, 3), pads=[1, 1, 1, 1]))
    y = b.op("Conv", y, b.w(12, 1, 3, 3), b.w(12), group=12, pads=[1, 1, 1, 1])
    y = b.op("Sigmoid", b.op("Conv", y, b.w(20, 12, 1, 1)))
    b.output("y", y)
    return b


def test_the_last_way_computes_what_the_first_does():
    kernels = TvmBackend().tunables(sized(_net()), parse_target("host"))
    assert [kernel.name.split()[0] for kernel in kernels] == ["conv", "conv", "depthwise", "product"]
    for kernel in kernels:
        first, other = (kernel.build(schedule) for schedule in (kernel.candidates[0], kernel.candidates[-1]))
        feeds = dict(zip((spec.name for spec in first.inputs), sample(first), strict=True))
        wanted, found = (devices.host().run(built, feeds) for built in (first, other))
        assert all(error(found[name], wanted[name]) < 1e-5 and np.any(wanted[name]) for name in wanted)


@pytest.mark.parametrize("inner", (16, 24, 30))
def test_what_is_summed_across_lanes_of_input_channels_takes_whole_vectors_of_them(inner):
    found = candidates(parse_target("arm"), Workload("product", (49, inner), (49, 9), (0, 1)))
    dotted = [schedule for schedule in found if isinstance(schedule, DottedTile)]
    assert dotted and all(schedule.unroll % 4 == 0 for schedule in dotted)


def test_what_follows_a_kernel_is_part_of_its_work_and_its_calls_are_counted():
    b = under_construction()
    x = b.op("Relu", b.op("Conv", b.input(1, 4, 8, 8), b.w(8, 4, 3, 3), pads=[1] * 4))
    for _ in range(3):
        x = b.op("Relu", b.op("Conv", x, b.w(8, 8, 3, 3), pads=[1] * 4))
    y = b.op("Add", b.op("Conv", x, b.w(8, 8, 3, 3), pads=[1] * 4), x)
    b.output("y", b.op("Mul", y, b.op("Sigmoid", y)))
    kernels = group_kernels(sized(b), parse_target("arm"))
    assert [(kernel.workload.after, kernel.calls) for kernel in kernels.values()] == [
        ("plain", 1),
        ("plain", 3),
        ("reads+computes", 1),
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"strides": (2, 2)},
        {"pads": (1, 1)},
        {"dilations": (2, 2)},
        {"spread": (2, 2)},
        {"after": "reads"},
        {"kernel": (5, 3)},
        {"order": (0, 1, 2, 3)},
        {"data": (1, 16, 8, 9)},
        {"out": (1, 16, 8, 9)},
        {"family": "depthwise"},
    ],
)
def test_other_work_has_another_name(change):
    workload = Workload("conv", (1, 16, 8, 8), (1, 16, 8, 8), NHWC, (3, 3))
    assert str(replace(workload, **change)) != str(workload)
