"""A dry run tells the ranges that goals can be chosen from, without running data through the model."""

import pytest

from pfir.compile.calibration import samples
from pfir.compile.methods import channels as pruned_channels
from pfir.compile.methods import pruning
from pfir.compile.methods.reach import Reach
from pfir.compile.request import Goals
from pfir.errors import Infeasible
from tests.support.jobs import run, write_model
from tests.test_compile.test_methods.test_branch_ranking import net_of_branches
from tests.test_compile.test_selection.search_context import channels, search_context


@pytest.fixture
def no_data_runs(monkeypatch):
    """What takes long: made inputs, statistics of activations, trials without branches."""
    for place, name in ((samples, "generated"), (pruning, "collect"), (pruned_channels, "ranked_branches")):
        monkeypatch.setattr(place, name, lambda *_: pytest.fail("data was run through the model"))


def test_a_dry_run_tells_ranges_for_every_goal_and_runs_no_data(model, tmp_path, no_data_runs, capsys):
    done = run(model, tmp_path / "out", dry_run=True)
    done.print()
    said = capsys.readouterr().out
    assert all(option in said for option in ("--speedup", "--latency", "--size", "--macs"))
    assert done.report["reachable_speedup"] > 2 and done.report["reachable_size"] > 2
    assert 0 < done.report["reachable_macs"] < 0.5 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("passes", ["prune-channels{ratio=0.3}", "prune-channels{macs=0.7}", "prune-channels"])
def test_fixed_choices_change_nothing_of_what_could_be_reached(passes, model, tmp_path, no_data_runs):
    told = [run(model, tmp_path / "out", dry_run=True, passes=p).report for p in (passes, "prune-channels")]
    assert told[0] == told[1]


@pytest.mark.parametrize("key", ["speedup", "macs", "size_bytes"])
def test_what_a_search_can_reach_lies_between_the_ends_that_are_told(key, tmp_path):
    found = search_context(write_model(tmp_path, net_of_branches()))
    branches = channels(found).coupling.branches
    assert len(branches) > 1
    bounded = [channels(found).bounded(found.pricing.device, costly) for costly in (False, True)]
    ends = [getattr(Reach(found.pricing.of((method,)), found.baseline_s), key) for method in bounded]
    assert min(ends) <= getattr(Reach(found.pricing, found.baseline_s), key) <= max(ends)


def test_a_goal_out_of_reach_ends_a_dry_run_with_what_is_within(model, tmp_path, no_data_runs):
    with pytest.raises(Infeasible, match="at most .*x faster"):
        run(model, tmp_path / "out", dry_run=True, goals=Goals(speedup=1000.0))


def test_a_dry_run_says_where_nothing_is_searched(model, tmp_path, no_data_runs):
    done = run(model, tmp_path / "out", dry_run=True, passes="simplify")
    assert "prunes nothing" in done.lines[0] and done.met
