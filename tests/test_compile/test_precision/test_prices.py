"""Channels at eight-bit prices: what a search is told is what the quantized model costs."""

from dataclasses import replace

import numpy as np
import pytest

from pfir.compile.methods.channels import PrunedCost, scalable_kernels
from pfir.compile.methods.sizing import Sizing
from pfir.compile.precision.layers import INTEGERS, Precision
from pfir.compile.prepare import BASELINE
from pfir.errors import Infeasible
from pfir.ir.costs.model_cost import kernels, model_cost
from pfir.ir.coupling.channels import channel_groups, remove_channels
from pfir.ir.shapes import fix_sizes
from pfir.passes.base import Context
from pfir.passes.pipeline import run
from tests.support.jobs import small_net
from tests.test_compile.test_selection.search_context import channels, search_context


@pytest.mark.parametrize("precision", [INTEGERS, Precision(True, ("Conv_4",))], ids=["all", "one in float"])
def test_prices_at_any_widths_are_those_of_the_pruned_model_in_eight_bits(precision):
    net, _ = run(BASELINE, small_net(), Context())
    coupling = channel_groups(net)
    scalable = scalable_kernels(net, coupling, Sizing(fix_sizes, precision=precision))
    kept = {"Conv_1": 8, "Conv_4": 20, "Conv_7": 12}
    removed = {g.name: np.arange(kept[g.name], g.size) for g in coupling.free()}
    remove_channels(net, coupling, removed)
    seen = precision.seen(fix_sizes(net))
    assert scalable.at(kept) == kernels(seen)
    assert scalable.size_bytes_at(kept) == model_cost(seen).size_bytes


def test_a_search_context_is_priced_anew_in_another_precision(model):
    found = search_context(model)
    widths = channels(found).sizes
    ints = found.priced(Sizing(fix_sizes, precision=INTEGERS))
    assert ints.precision == INTEGERS and channels(ints).importance is channels(found).importance
    sizes = [PrunedCost(channels(each), widths).size_bytes for each in (found, ints)]
    assert sizes[0] > 3 * sizes[1] and ints.pricing.original.size_bytes == sizes[1]


def test_channels_that_run_in_other_ways_in_eight_bits_are_not_priced(model):
    net, _ = run(BASELINE, small_net(), Context())
    coupling = channel_groups(net)
    first = replace(coupling.groups[0], name="elsewhere")
    other = replace(coupling, groups=(first, *coupling.groups[1:]))
    with pytest.raises(Infeasible, match="elsewhere"):
        scalable_kernels(net, other, Sizing(fix_sizes, precision=INTEGERS))
