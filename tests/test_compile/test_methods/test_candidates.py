import numpy as np
import pytest

from pfir.compile.methods.candidates import adopt
from pfir.passes.pruning.prune_channels import RATIO
from pfir.run.session import Session
from tests.support.jobs import images, small_net
from tests.test_compile.test_selection.search_context import channels, search_context


@pytest.fixture(scope="module")
def found(model, data):
    return search_context(model, data=data)


def _every(found, ratio):
    return {RATIO + g: ratio for g in channels(found).groups}


def test_removing_nothing_changes_nothing(found):
    score, details = found.score(_every(found, 0.0))
    assert score == pytest.approx(0, abs=1e-9) and details["fidelity"] == 1.0


def test_candidates_leave_the_original_alone(found):
    before = found.candidates.model.to_bytes()
    found.score(_every(found, 0.5))
    assert found.candidates.model.to_bytes() == before


def test_one_candidate_always_scores_the_same(found):
    assert found.score(_every(found, 0.6)) == found.score(_every(found, 0.6))


def test_removing_nearly_everything_scores_worse_than_a_little(found):
    assert found.score(_every(found, 0.9))[0] < found.score(_every(found, 0.2))[0] <= 0


def test_reconstruction_is_nearer_to_the_original_than_plain_removal(found):
    from pfir.ir.coupling.channels import remove_channels

    removed = found.candidates.choices(_every(found, 0.6))
    plain = found.candidates.model.clone()
    remove_channels(plain, channels(found).coupling, removed[0].removed)
    feeds = {"in0": images(64, seed=5)}
    expected, by_removal, rebuilt = (
        next(iter(Session(m).predict(feeds).values()))
        for m in (found.candidates.model, plain, found.candidates.build(removed))
    )
    assert np.square(rebuilt - expected).mean() < np.square(by_removal - expected).mean()


def test_adopting_takes_weights_by_node_and_keeps_names():
    ours, theirs = small_net(0), small_net(1)
    names = set(ours.initializers())
    adopt(ours, theirs)
    assert set(ours.initializers()) == names
    feeds = {"in0": images(4)}
    np.testing.assert_array_equal(*(next(iter(Session(m).predict(feeds).values())) for m in (ours, theirs)))


def test_adopting_takes_nothing_of_another_shape():
    ours = small_net(0)
    before = {n: t.values for n, t in ours.initializers().items()}
    other = ours.clone()
    other.set_arrays({n: np.ones((1, *v.shape), v.dtype) for n, v in before.items()})
    adopt(ours, other)
    assert all(np.array_equal(t.values, before[n]) for n, t in ours.initializers().items())
