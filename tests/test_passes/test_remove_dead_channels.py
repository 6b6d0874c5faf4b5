"""The pass is lossless, finds every channel that was made dead, and a second run changes nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pfir.ir.channels import channel_groups, consumer_slices, producer_slices
from pfir.ir.dead import find_dead
from pfir.passes.base import Context
from pfir.passes.remove_dead_channels import RemoveDeadChannels
from tests.masking import assert_valid, run
from tests.structures import FAMILIES, build, feeds

LAYERED = [
    *("chain", "residual", "option_a", "dense_block", "inception", "unet", "resized", "grouped_conv", "separable"),
    *("prelu", "flatten_gemm", "reshape_matmul", "nhwc", "split_slice_gather", "shuffle_v2", "one_dimension"),
    *("three_dimensions", "several_outputs", "squeeze_excite", "dynamic_flatten"),
]


def kill(model, coupling, seed: int, how: str) -> dict[str, np.ndarray]:
    """Make a random half of each free group's channels dead by zeroing what makes or what reads them."""
    rng = np.random.default_rng(seed)
    killed, arrays = {}, {n: t.values.copy() for n, t in model.initializers().items()}
    for group in coupling.free():
        channels = np.sort(rng.choice(group.size, group.size // 2, replace=False))
        for part in producer_slices(model, group) if how == "producers" else consumer_slices(model, group):
            if part.role not in ("mean", "variance", "slope"):
                index = [slice(None)] * arrays[part.tensor].ndim
                index[part.axis] = part.positions[channels].ravel()
                arrays[part.tensor][tuple(index)] = 0
        killed[group.name] = channels
    model.set_arrays(arrays)
    return killed


@pytest.mark.parametrize("how", ["producers", "consumers"])
@pytest.mark.parametrize("family", LAYERED)
@settings(max_examples=2, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**16))
def test_it_finds_all_dead_channels_and_changes_no_output(family, how, seed):
    model = build(family, seed)
    coupling = channel_groups(model)
    killed = kill(model, coupling, seed, how)
    before = run(model, feeds(model, seed))
    dead = find_dead(model, coupling).removed
    assert all(set(channels) <= set(dead.get(name, ())) for name, channels in killed.items())
    change = RemoveDeadChannels().apply(model, Context())
    assert change.changed == any(c.size for c in killed.values())
    assert_valid(model)
    for got, wanted in zip(run(model, feeds(model, seed)), before, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)
    assert not RemoveDeadChannels().apply(model, Context()).changed


@pytest.mark.parametrize("family", FAMILIES)
def test_it_changes_no_output_on_any_structure(family):
    model = build(family, 5)
    kill(model, channel_groups(model), 5, "producers")
    before = run(model, feeds(model))
    RemoveDeadChannels().apply(model, Context())
    assert_valid(model)
    for got, wanted in zip(run(model, feeds(model)), before, strict=True):
        tolerance = 2e-2 if got.dtype == np.float16 else 1e-4
        np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance / 10)
