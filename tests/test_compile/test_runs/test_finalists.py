"""A run whose finalists are compared by a short training: told in its report, and gone on with when it was killed."""

import json

import pytest

from pfir.compile.selection import comparing
from pfir.compile.training import finalists
from pfir.compile.training.teaching import Teaching
from pfir.errors import TrainingError
from tests.support.jobs import run

EPOCHS = 30


def _shorten(patch):
    """Few steps are enough."""
    for module in (finalists, comparing):
        patch.setattr(module, "LEAST_STEPS", 2)


@pytest.fixture
def short(monkeypatch):
    _shorten(monkeypatch)


@pytest.fixture(scope="module")
def whole(place, model, data):
    """A run whose finalists are trained."""
    with pytest.MonkeyPatch.context() as patch:
        _shorten(patch)
        return run(model, place / "finalists", data=data, trials=12, epochs=EPOCHS)


def test_finalists_are_trained_briefly_and_one_of_them_at_length(whole):
    told = whole.report["finalists"]
    assert 2 <= len(told) <= finalists.MOST and sum(f["chosen"] for f in told) == 1
    assert [f["place"] for f in told] == list(range(1, len(told) + 1)) and len(whole.report["training"]) == EPOCHS
    assert "train finalists" in [s["name"] for s in whole.report["stages"]]
    assert any("of the search got the long one" in note for note in whole.report["notes"])
    assert "got the long training" in (whole.folder / "report.html").read_text()
    assert sum(t["chosen"] for t in json.loads((whole.folder / "report.json").read_text())["trials"]) == 1


def test_a_run_killed_among_its_finalists_goes_on_with_those_that_are_trained(
    whole, model, data, tmp_path, short, monkeypatch
):
    given, count = Teaching.of, []

    def killed(self, student):
        count.append(student)
        if len(count) == 2:
            raise KeyboardInterrupt
        return given(self, student)

    monkeypatch.setattr(Teaching, "of", killed)
    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path / "out", data=data, trials=12, epochs=EPOCHS)
    monkeypatch.setattr(Teaching, "of", given)
    again = run(model, tmp_path / "out", data=data, trials=12, epochs=EPOCHS, resume=True).folder
    assert (again / "model.onnx").read_bytes() == (whole.folder / "model.onnx").read_bytes()


def test_with_few_epochs_the_best_of_the_search_is_trained_as_it_is(model, data, tmp_path):
    done = run(model, tmp_path / "out", data=data, epochs=2)
    assert done.report["finalists"] == [] and "train finalists" not in [s["name"] for s in done.report["stages"]]


def test_finalists_that_cannot_be_trained_are_not_compared(model, data, tmp_path, short, monkeypatch):
    def refuse(*_):
        raise TrainingError("no gradient")

    monkeypatch.setattr(Teaching, "of", refuse)
    done = run(model, tmp_path / "out", data=data, trials=12, epochs=EPOCHS)
    assert done.report["finalists"] == [] and any("not fine-tuned: no gradient" in n for n in done.report["notes"])
