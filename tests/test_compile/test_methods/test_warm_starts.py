"""The first candidates of a search lie in its space, and some of them keep whole what many layers read."""

import pytest

from pfir.compile.methods.branch_ranking import BRANCHES
from pfir.compile.methods.warm_starts import SHARES, wide_read
from pfir.ir.coupling.groups import Group
from pfir.passes.pruning.prune_channels import RATIO
from tests.support.jobs import CLASSES, write_data, write_model
from tests.support.net import Net
from tests.test_compile.test_selection.search_context import channels, search_context


def residual_net():
    """A stem, three residual blocks and a classifier: the stream has four readers, each block's inside has one."""
    net = Net(0)
    x = net.relu(net.conv(net.input("N", 3, 16, 16), 3, 16))
    for _ in range(3):
        x = net.relu(net.op("Add", net.conv(net.relu(net.conv(x, 16, 16)), 16, 16), x))
    x = net.op("Flatten", net.op("GlobalAveragePool", x))
    return net.model((net.dense(x, 16, CLASSES),))


@pytest.fixture(scope="module")
def residual(tmp_path_factory):
    folder = tmp_path_factory.mktemp("residual")
    model = residual_net()
    return search_context(write_model(folder, model), data=str(write_data(folder, model)))


def groups(**readers):
    return {name: Group(name, 8, (), consumers=tuple("abcdef"[:count])) for name, count in readers.items()}


def test_what_more_layers_read_than_usual_is_wide_read():
    assert wide_read(groups(stream=5, one=1, two=1, three=1)) == {"stream"}


def test_where_all_are_read_alike_none_is_wide_read():
    assert wide_read(groups(one=2, two=2)) == frozenset()


def test_each_start_names_every_group_within_its_bounds(model, data):
    found = search_context(model, data=data)
    starts = channels(found).warm_starts()
    space = found.pricing.space()
    narrow = [s for s in starts if not s.get(BRANCHES)]
    assert len(narrow) in (1 + len(SHARES), 2 * (1 + len(SHARES)))
    for start in starts:
        assert set(start) == set(space.names)
        assert all(p.low <= start[p.name] <= p.high for p in space.parameters)


def test_half_of_the_starts_keep_a_wide_read_group_whole(residual):
    spared = wide_read(channels(residual).groups)
    starts = channels(residual).warm_starts()
    whole = [s for s in starts if all(s[RATIO + g] == 0 for g in spared)]
    assert spared and len(whole) >= len(starts) // 2
    assert all(any(v > 0 for v in s.values()) for s in whole)


def test_where_branches_may_go_some_starts_are_without_them(residual):
    most = len(channels(residual).branches)
    starts = channels(residual).warm_starts()
    assert most == 2
    assert [s[BRANCHES] for s in starts if s[BRANCHES]] == [1, 1, 2, 2]


def test_a_residual_stream_is_the_wide_read_group(residual):
    (stream,) = wide_read(channels(residual).groups)
    assert len(channels(residual).groups[stream].producers) == 4
