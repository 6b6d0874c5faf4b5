"""The laws of coupling on every structure family: pruned equals masked, and nothing removed is nothing changed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.ir.coupling.channels import channel_groups, remove_channels, widths
from tests.support.masking import mask, removal
from tests.support.net import feeds
from tests.support.runs import assert_valid, run
from tests.support.structures import FAMILIES, build

TOLERANCE = {"float16": 3e-2, "float32": 2e-4, "float64": 1e-9}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=3, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16))
def test_the_pruned_net_equals_the_masked_net(family, seed):
    model = build(family, seed)
    coupling = channel_groups(model)
    removed = removal(coupling, seed)
    pruned = model.clone()
    remove_channels(pruned, coupling, removed)
    assert_valid(pruned)
    inputs = feeds(model, seed)
    tolerance = TOLERANCE.get(np.dtype(model.graph.inputs[0].dtype).name, TOLERANCE["float32"])
    for got, wanted in zip(run(pruned, inputs), run(mask(model, coupling, removed), inputs), strict=True):
        assert got.shape == wanted.shape
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)
    expected = widths(coupling, removed)
    tensors = pruned.graph.tensors()
    for (name, axis), width in expected.items():
        shape = tensors[name].shape if name in tensors else None
        assert shape is None or shape[axis] == width


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_a_free_group(family):
    assert channel_groups(build(family, 1)).free()


@pytest.mark.parametrize("family", FAMILIES)
def test_removing_nothing_changes_nothing(family):
    model = build(family, 2)
    before = model.to_proto().SerializeToString()
    coupling = channel_groups(model)
    assert model.to_proto().SerializeToString() == before
    remove_channels(model, coupling, {g.name: np.array([], int) for g in coupling.groups})
    assert model.to_proto().SerializeToString() == before
