import numpy as np
import pytest

from pfir.compile.calibration.samples import LEAST_SCORING, MOST_CALIBRATION
from pfir.compile.request import Goals
from pfir.errors import DataError
from tests.support.jobs import images, write_model
from tests.support.net import Net
from tests.test_compile.test_selection.search_context import run_context


def _open(tmp_path, net=None, **options):
    return run_context(write_model(tmp_path, net), **options).samples


def _write(tmp_path, x, name="d.npz", **more):
    np.savez(tmp_path / name, x=x, **more)
    return str(tmp_path / name)


def _ids(dataset):
    return {x.tobytes() for x in dataset.batch(np.arange(len(dataset)))["in0"]}


@pytest.mark.parametrize("count", [2, 3, 10, 200])
def test_samples_that_measure_train_nothing(tmp_path, count):
    found = _open(tmp_path, data=_write(tmp_path, images(count), y=np.zeros(count, int)))
    kept_back = _ids(found.judging) - _ids(found.train)
    assert len(found.train) + len(kept_back) + len(found.validation) == count
    assert not _ids(found.validation) & (_ids(found.train) | _ids(found.judging))
    assert _ids(found.scoring) <= _ids(found.train) | kept_back and _ids(found.calibration) <= _ids(found.train)
    assert min(len(found.scoring), len(found.calibration), len(found.judging), len(found.validation)) >= 1


def test_fine_tuning_is_judged_by_samples_that_it_has_not_seen(tmp_path):
    found = _open(tmp_path, data=_write(tmp_path, images(100)))
    assert len(found.judging) == 9 and not _ids(found.judging) & _ids(found.train)
    assert _ids(found.judging) <= _ids(found.scoring)


def test_candidates_are_not_ranked_on_what_they_were_fitted_to(tmp_path):
    found = _open(tmp_path, data=_write(tmp_path, images(300)))
    assert not _ids(found.scoring) & _ids(found.calibration)
    assert len(found.calibration) <= MOST_CALIBRATION and len(found.scoring) >= LEAST_SCORING


def test_the_parts_are_the_same_for_the_same_seed(tmp_path):
    data = _write(tmp_path, images(50))
    one, two, other = (_open(tmp_path, data=data, seed=s) for s in (0, 0, 1))
    assert one.validation.fingerprint() == two.validation.fingerprint() != other.validation.fingerprint()


def test_given_validation_measures_and_all_data_trains(tmp_path):
    data, unseen = _write(tmp_path, images(20)), _write(tmp_path, images(7, seed=9), "v.npz")
    found = _open(tmp_path, data=data, validation=unseen)
    assert (len(found.train), len(found.judging), len(found.validation)) == (18, 2, 7)
    assert not any("may flatter" in note for note in found.notes)


def test_without_data_inputs_are_generated(tmp_path):
    found = _open(tmp_path)
    assert found.kind == "generated" and not found.labelled and any("No data was given" in n for n in found.notes)
    assert not _ids(found.validation) & _ids(found.train)


def test_generated_samples_that_measure_train_in_no_turn(tmp_path):
    found = _open(tmp_path)
    some = found.train.subset(np.arange(200))
    trained = set().union(*(_ids(some.anew(turn)) for turn in range(3)))
    assert not trained & (_ids(found.validation) | _ids(found.judging))
    assert not _ids(found.validation) & _ids(found.judging)


@pytest.mark.parametrize("part", ["data", "validation"])
def test_labels_outside_the_classes_are_refused_with_file_and_index(tmp_path, part):
    wrong = _write(tmp_path, images(10), "wrong.npz", y=np.arange(10))
    right = _write(tmp_path, images(10), "right.npz", y=np.zeros(10, int))
    with pytest.raises(DataError, match="wrong.npz: label 5 at index 5 lies outside the model's 5 classes"):
        _open(tmp_path, **({"data": right} | {part: wrong}))


def test_labels_of_a_model_that_is_no_classifier_are_not_checked(tmp_path):
    net = Net(0)
    x = net.conv(net.input("N", 3, 16, 16), 3, 4)
    assert _open(tmp_path, net.model((x,)), data=_write(tmp_path, images(10), y=np.arange(10))).labelled


@pytest.mark.parametrize(
    ("options", "word"), [({"goals": Goals(max_drop=1.0)}, "--max-drop"), ({"metric": "accuracy"}, "--metric accuracy")]
)
def test_labels_that_a_goal_needs_are_asked_for(tmp_path, options, word):
    with pytest.raises(DataError, match=f"no labels y, and {word}"):
        _open(tmp_path, data=_write(tmp_path, images(10)), **options)
    net = Net(0)
    two = net.model((net.conv(net.input("N", 3, 16, 16), 3, 4),))
    with pytest.raises(DataError, match="needs a classifier"):
        _open(tmp_path, two, data=_write(tmp_path, images(10), y=np.arange(10)), **options)


def test_labels_that_are_needed_may_be_those_of_the_validation(tmp_path):
    data, unseen = _write(tmp_path, images(20)), _write(tmp_path, images(7), "v.npz", y=np.zeros(7, int))
    assert _open(tmp_path, data=data, validation=unseen, metric="accuracy").validation.labels is not None
    with pytest.raises(DataError, match="d.npz: has no labels"):
        _open(tmp_path, data=unseen, validation=data, metric="accuracy")


def test_a_single_sample_is_too_little(tmp_path):
    with pytest.raises(DataError, match="at least 2"):
        _open(tmp_path, data=_write(tmp_path, images(1)))


def test_bytes_without_preprocessing_are_refused_with_a_suggestion(tmp_path):
    data = _write(tmp_path, np.zeros((4, 16, 16, 3), np.uint8))
    with pytest.raises(DataError, match="--preprocess"):
        _open(tmp_path, data=data)
    assert len(_open(tmp_path, data=data, preprocess="scale=1/255").train) == 3
