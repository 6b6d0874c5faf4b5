"""Schedules of pruning: the same widths by every schedule, costs as asked, statistics taken anew on what is left."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.errors import Infeasible, UsageError
from pfir.ir.costs.model_cost import model_cost
from pfir.ir.coupling.channels import channel_groups
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.spec import format_pass, parse
from tests.support.calibration import context, outputs, samples
from tests.support.runs import assert_valid
from tests.support.small_nets import dense_layers, residual, separable, two_convolutions
from tests.support.structures import FAMILIES, build

SCHEDULES = [{"steps": 3}, {"group_wise": True}, {"steps": 2, "group_wise": True}]


def _sizes(model) -> dict[str, int]:
    return {g.name: g.size for g in channel_groups(model).groups}


def _macs(model) -> int:
    return model_cost(fix_sizes(model)).macs


def _pruned(model, context=None, **fields):
    clone = model.clone()
    change = PruneChannels(**fields).apply(clone, context or Context())
    return clone, change


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_schedule_leaves_a_valid_net_of_the_same_widths(name, schedule):
    model = build(name, 0)
    if not channel_groups(model).free():
        pytest.skip("no free group")
    once, _ = _pruned(model, ratio=0.6)
    more, _ = _pruned(model, ratio=0.6, **schedule)
    assert_valid(more)
    shapes = [{n: t.values.shape for n, t in m.initializers().items()} for m in (once, more)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("share", [0.8, 0.5, 0.3])
def test_a_share_of_macs_is_met_by_every_schedule(share, schedule):
    model = residual(16)
    result, change = _pruned(model, macs=share, **schedule)
    assert change.changed and 0.6 * share * _macs(model) < _macs(result) <= share * _macs(model)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_widths_are_aligned_at_the_end_of_every_schedule(schedule):
    result, _ = _pruned(residual(16), ratio=0.4, align=4, **schedule)
    assert {size % 4 for name, size in _sizes(result).items() if name != "head"} == {0}


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_channels_that_others_can_stand_for_cost_nothing_by_any_schedule(schedule):
    model = _twins(residual(12))
    result, _ = _pruned(model, context(model), ratio=0.5, criterion="reconstruction", reconstruct=True, **schedule)
    feeds = samples(model)
    assert model_cost(result).parameters < 0.5 * model_cost(model).parameters
    np.testing.assert_allclose(outputs(result, feeds), outputs(model, feeds), rtol=0.02, atol=0.02)


def _twins(model):
    """Channel c + 6 of every convolution is channel c."""
    arrays = {n: t.values for n, t in model.initializers().items() if n in ("w0", "b0", "w1", "b1", "w2", "b2")}
    model.set_arrays({n: np.concatenate([a[:6], a[:6]]) for n, a in arrays.items()})
    return model


def test_each_step_looks_at_what_the_step_before_left():
    model = residual(12)
    assert _widths_seen(model, criterion="activation", steps=3) == [12, 10, 8]
    assert _widths_seen(model, criterion="activation") == [12]


def test_going_by_groups_looks_at_each_group_after_those_before():
    seen = _widths_seen(residual(12), criterion="activation", group_wise=True)
    assert seen == [12, 12, 6]  # How many go is told first, on all groups.


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("criterion", ["magnitude", "reconstruction"])
@pytest.mark.parametrize("net", [residual, separable, dense_layers, two_convolutions])
def test_no_schedule_ends_further_from_the_original_than_one_shot(net, criterion, schedule):
    model = net()
    fields = {"ratio": 0.5, "criterion": criterion, "reconstruct": True}
    once, more = (_pruned(model, context(model), **fields, **s)[0] for s in ({}, schedule))
    assert _error(model, more) <= 1.001 * _error(model, once)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_schedules_make_up_for_what_layers_before_could_not(schedule):
    model = residual()
    fields = {"ratio": 0.5, "reconstruct": True}
    once, more = (_pruned(model, context(model), **fields, **s)[0] for s in ({}, schedule))
    assert _error(model, more) < 0.5 * _error(model, once)


def _error(model, other) -> float:
    feeds = samples(model)
    return float(np.mean((outputs(model, feeds) - outputs(other, feeds)) ** 2))


def _widths_seen(model, **schedule) -> list[int]:
    """Channels of the stem in each run over the calibration data."""
    inner, seen = context(model).activations, []

    def activations(given, names):
        seen.append(given.initializers()["w0"].values.shape[0])
        return inner(given, names)

    _pruned(model, Context(activations=activations), ratio=0.5, **schedule)
    return seen


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_nothing_to_remove_changes_nothing_by_any_schedule(schedule):
    model = residual()
    result, change = _pruned(model, ratio=0.0, **schedule)
    assert not change.changed and result.to_bytes() == model.to_bytes()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_what_is_kept_by_request_stays_by_every_schedule(schedule):
    result, _ = _pruned(residual(), Context(keep=("inner",)), ratio=0.5, **schedule)
    assert _sizes(result)["inner"] == 8 and _sizes(result)["stem"] == 4


def test_a_share_out_of_reach_is_told_before_any_step():
    model = residual()
    with pytest.raises(Infeasible, match=r"macs is 0.001; this model's channels allow 0.0"):
        PruneChannels(macs=0.001, steps=4).apply(model, Context())
    assert _sizes(model) == _sizes(residual())


def test_schedules_are_fields_with_a_text():
    text = "prune-channels{macs=0.5 steps=4 group_wise=true}"
    assert format_pass(*parse(text)) == text
    with pytest.raises(UsageError, match="steps is 0; it must be at least 1"):
        PruneChannels(ratio=0.5, steps=0)
