"""The narrowed coupling describes the smaller model: sizes, and each channel's numbers where it says they are."""

from __future__ import annotations

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.coupling.narrowing import narrowed, still_there
from pfir.ir.weights import every_constant
from tests.support.structures import FAMILIES, build


def _half(coupling, seed=0):
    rng = np.random.default_rng(seed)
    return {g.name: rng.permutation(g.size)[: g.size // 2] for g in coupling.free()}


@pytest.mark.parametrize("name", FAMILIES)
def test_every_channel_has_the_numbers_that_it_had(name):
    model = build(name, 1)
    coupling = channel_groups(model)
    removed = _half(coupling)
    left = model.clone()
    remove_channels(left, coupling, removed)
    now = narrowed(coupling, removed)
    assert [g.name for g in now.groups] == [g.name for g in coupling.groups]
    before, after = ({n: t.values for n, t in every_constant(m).items()} for m in (model, left))
    for old, new in zip(coupling.groups, now.groups, strict=True):
        rows = still_there(old.size, removed.get(old.name, np.zeros(0, int)))
        assert new.size == len(rows)
        for was, part in zip((*old.producing, *old.consuming), (*new.producing, *new.consuming), strict=True):
            assert part.positions.shape == (new.size, was.positions.shape[1])
            there = np.take(before[was.tensor], was.positions[rows].ravel(), was.axis)
            here = np.take(after[part.tensor], part.positions.ravel(), part.axis)
            # Other axes of the array may have lost positions too; what is left of it is in order.
            assert here.shape[part.axis] == there.shape[part.axis] and np.isin(here, there).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_widths_are_those_of_the_smaller_model(name):
    model = build(name, 2)
    coupling = channel_groups(model)
    removed = _half(coupling)
    left = model.clone()
    remove_channels(left, coupling, removed)
    arrays = left.initializers()
    for (tensor, axis), size in narrowed(coupling, removed).sizes.items():
        if tensor in arrays:
            assert arrays[tensor].values.shape[axis] == size


def test_removing_nothing_narrows_nothing():
    coupling = channel_groups(build("residual", 0))
    now = narrowed(coupling, {})
    assert now.sizes == coupling.sizes
    for old, new in zip(coupling.groups, now.groups, strict=True):
        for was, part in zip(old.members, new.members, strict=True):
            np.testing.assert_array_equal(was.positions, part.positions)


def test_a_group_cannot_lose_all_its_channels():
    coupling = channel_groups(build("residual", 0))
    group = coupling.free()[0]
    with pytest.raises(UsageError, match="at least one must stay"):
        narrowed(coupling, {group.name: np.arange(group.size)})
