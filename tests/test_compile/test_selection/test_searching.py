import numpy as np
import pytest

from pfir.compile.methods.channels import pruning_text
from pfir.compile.methods.pricing import Limits
from pfir.compile.plan import plan
from pfir.compile.request import Goals
from pfir.compile.selection.searching import SearchRun, built_by, check_reachable, largest_speedup, search_for
from pfir.errors import Infeasible, UsageError
from pfir.passes.pruning.prune_channels import PruneChannels
from pfir.passes.spec import parse
from pfir.report.progress import Silent
from tests.support.jobs import request
from tests.test_compile.test_selection.search_context import channels, search_context, with_pruning, without


@pytest.fixture(scope="module")
def found(model, data):
    return search_context(model, data=data)


def _search(found, tmp_path, limits, **options):
    asked = request(tmp_path / "net.onnx", tmp_path, **options)
    return search_for(found, limits, SearchRun(plan(asked), asked, tmp_path / "search.jsonl", Silent()))


@pytest.mark.parametrize("share", [0.8, 0.5, 0.25])
def test_what_is_found_is_within_the_limit(found, tmp_path, share):
    limits = Limits(latency_s=found.baseline_s * share)
    best = _search(found, tmp_path, limits)
    kept = {n: after for n, (_, after) in best.changes.items()}
    assert found.pricing.device.estimate(channels(found).scalable.at(kept)).seconds <= limits.latency_s * (1 + 1e-9)
    assert 3 <= len(best.trials) <= 4 and sum(trial.chosen for trial in best.trials) == 1
    assert all(trial.latency_s <= limits.latency_s * (1 + 1e-9) for trial in best.trials)
    assert all(trial.macs > 0 and trial.size_bytes > 0 and trial.divergence >= 0 for trial in best.trials)


def test_candidates_can_be_scored_in_processes(found, tmp_path):
    best = _search(found, tmp_path, Limits(latency_s=found.baseline_s * 0.5), jobs=2)
    alone = found.score(best.parameters)
    assert len(best.trials) >= 3
    assert max(-trial.divergence for trial in best.trials) == pytest.approx(alone[0])


def test_a_search_can_rank_by_discrimination(found, model, data):
    judged = channels(search_context(model, data=data, passes="prune-channels{criterion=dcp}")).importance
    assert judged.keys() == channels(found).importance.keys()
    for name, values in judged.items():
        assert np.isfinite(values).all() and (values > 0).all()
        assert not np.array_equal(values, channels(found).importance[name])


def test_the_journal_of_another_goal_is_refused(found, tmp_path):
    _search(found, tmp_path, Limits(macs=4e5))
    with pytest.raises(UsageError, match="another problem"):
        _search(found, tmp_path, Limits(macs=4e5), goals=Goals(macs=0.5))


def test_what_the_range_promises_can_be_reached(found, tmp_path):
    most = largest_speedup(found)
    check_reachable(found, Limits(latency_s=found.baseline_s / most * 1.0001))
    with pytest.raises(Infeasible, match=f"at most about {most:.2g}x faster by estimate, "):
        check_reachable(found, Limits(latency_s=found.baseline_s / most * 0.99))


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(size_bytes=1), r"at most \d+\.\d\dx smaller \("),
        (Limits(macs=1), r"at most down to 0\.\d+ of the MACs \("),
        (Limits(latency_s=1e-9), r"at most about \d+(\.\d)?x faster by estimate"),
    ],
)
def test_what_can_be_reached_begins_with_what_was_asked_for(limits, text, found):
    with pytest.raises(Infeasible, match=text):
        check_reachable(found, limits)


def test_the_text_of_a_removal_removes_the_same(found):
    widths = {"Conv_1": (16, 12), "Conv_4": (24, 16), "Conv_7": (32, 31)}
    (again,) = parse(pruning_text(widths))
    chosen = built_by(with_pruning(found, again), {})
    changed = {g: w for g, w in chosen.changes.items() if g in widths}
    assert changed == widths
    assert chosen.model.provenance[-1] == pruning_text(widths)


def test_nothing_removed_has_no_text_and_no_provenance(found):
    assert pruning_text({"a": (4, 4)}) == ""
    assert without(found, {}).model.provenance == found.candidates.model.provenance


def test_names_that_need_quotes_keep_their_meaning():
    name = 'a,b:"c"{ }'
    (again,) = parse(pruning_text({name: (8, 4)}))
    assert again == PruneChannels(ratios=((name, 0.5),))


@pytest.mark.parametrize(("group", "word"), [("Conv_99", "no group"), ("Gemm_11", "must stay")])
def test_a_ratio_for_a_group_that_cannot_be_pruned_is_refused(found, group, word):
    with pytest.raises(UsageError, match=word):
        built_by(with_pruning(found, PruneChannels(ratios=((group, 0.5),))), {})


def test_a_share_of_the_macs_that_cannot_be_is_refused(found):
    with pytest.raises(Infeasible, match="allow"):
        built_by(with_pruning(found, PruneChannels(macs=1e-6)), {})


def test_removal_and_widths_agree(found):
    kept = without(found, {"Conv_4": np.arange(5)})
    weights = {n.name: n.inputs[1].values.shape for n in kept.model.nodes() if n.op == "Conv"}
    assert kept.changes["Conv_4"] == (24, 19) and weights["Conv_4"][0] == 19 and weights["Conv_7"][1] == 19
