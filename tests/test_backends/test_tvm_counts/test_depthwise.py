"""Depthwise convolutions take what the emulator counted of them; the tile chosen is the one with the fewest cycles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pfir.backends.tvm.counts.convolutions.across import across
from pfir.backends.tvm.counts.convolutions.depthwise import depthwise
from pfir.backends.tvm.schedule.candidate_schedules import DEPTHWISE
from pfir.backends.tvm.schedule.channel_tiles import depthwise_tile, depthwise_tiles
from pfir.backends.tvm.schedule.crossing import across_tile
from pfir.backends.tvm.schedule.tile_kinds import AcrossTile, DepthwiseTile
from pfir.target import parse_target
from pfir.workload import Tail, Workload
from tests.test_backends.test_tvm_counts.kept import errors, exact, moved, rows
from tests.test_backends.test_tvm_counts.ours import ours

ROWS = rows("depthwise")
BLOCKS = [row for row in ROWS if isinstance(row.schedule, DepthwiseTile)]
TAIL = Tail(True, ("Relu",))


def _work(channels: int, size: int = 28, kernel: int = 3, **other) -> Workload:
    sizes = (1, channels, size, size)
    pads = (kernel // 2,) * 2
    return Workload("depthwise", sizes, sizes, (0, 2, 3, 1), (kernel, kernel), pads=pads, group=channels, **other)


def test_totals_are_those_of_the_emulator():
    found = errors(ROWS, ours)
    assert np.mean(found <= 0.03) > 0.8 and np.mean(found <= 0.06) > 0.95
    assert max(found) < 0.15


def test_multiply_adds_are_exact():
    assert all(exact(ROWS, ours))


def test_loads_and_stores_of_blocks_are_those_of_the_emulator():
    assert np.mean(np.abs(moved(BLOCKS, ours)) < 0.05) > 0.85


@pytest.mark.parametrize("name", ("arm", "cortex-a55", "x86-64:x86-64-v3"))
def test_more_channels_take_more_and_a_batch_takes_its_sum(name):
    on = parse_target(name)
    tile, strip = depthwise_tile(on, _work(64)), AcrossTile(on.lanes, 2, 28)
    for count, schedule in ((depthwise, tile), (across, strip)):
        totals = [count(on, _work(channels), TAIL, schedule).multiply for channels in range(16, 200)]
        assert totals == sorted(totals)
        one = count(on, _work(40), TAIL, schedule)
        two = count(on, replace(_work(40), data=(2, 40, 28, 28), out=(2, 40, 28, 28)), TAIL, schedule)
        assert two.multiply == 2 * one.multiply and two.total == pytest.approx(2 * one.total, rel=0.02)


@pytest.mark.parametrize(
    "work", (_work(64, 7, 7), _work(24), _work(19, 7), _work(17), _work(512, 14, strides=(2, 2)), _work(100, 10, 5))
)
def test_the_tile_chosen_costs_clearly_no_more_than_the_others(work):
    on = parse_target("arm")
    chosen, costs = DEPTHWISE.modelled(on, work), on.core.costs

    def cycles(schedule) -> float:
        count = across if isinstance(schedule, AcrossTile) else depthwise
        return costs.cycles(count(on, work, Tail(bias=True), schedule))

    first = depthwise_tiles(on, work)[:4]
    others = [*first, *filter(None, [across_tile(on, work)])]
    assert all(cycles(chosen) * 0.95 <= cycles(other) for other in others)


def test_a_wide_kernel_over_a_small_image_takes_whole_rows():
    assert str(DEPTHWISE.modelled(parse_target("arm"), _work(64, 7, 7))) == "tile 1 x 4 lanes x 7, 1 steps"
