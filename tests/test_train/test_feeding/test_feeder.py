"""Batches follow from seed and step, and are made ahead."""

import threading

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.train.feeding.feeder import Feeder, ahead
from tests.support.samples import kinds_of_images

IMAGE = TensorSpec("image", "float32", ("N", 3, 8, 8))


def test_an_epoch_visits_each_sample_at_most_once():
    feeder = Feeder(kinds_of_images(100), batch=32, seed=0)
    seen = np.concatenate([feeder.indices(s) for s in range(feeder.steps_per_epoch)])
    assert feeder.steps_per_epoch == 3 and len(set(seen)) == 96


def test_epochs_differ_and_repeat_with_their_seed():
    one, two = Feeder(kinds_of_images(100), 32, seed=0), Feeder(kinds_of_images(100), 32, seed=0)
    assert np.array_equal(one.indices(4), two.indices(4))
    assert not np.array_equal(one.indices(0), one.indices(3))


def test_augmentation_depends_on_the_step_alone():
    feeder = Feeder(kinds_of_images(), 16, seed=5, augment="flip-crop")
    later = feeder.arrays(2)["image"]
    feeder.arrays(0)
    assert np.array_equal(later, feeder.arrays(2)["image"])


def test_views_come_again_sample_by_sample_and_others_do_not():
    feeder = Feeder(kinds_of_images(), 16, seed=5, augment="flip-crop", views=2)
    per = feeder.steps_per_epoch

    def seen(epoch):
        steps = range(epoch * per, (epoch + 1) * per)
        return {i: x for s in steps for i, x in zip(feeder.indices(s), feeder.arrays(s)["image"], strict=True)}

    first, second, third = seen(0), seen(1), seen(2)
    assert all(np.array_equal(first[i], third[i]) for i in first.keys() & third.keys())
    assert any(not np.array_equal(first[i], second[i]) for i in first.keys() & second.keys())


def test_renewed_epochs_have_other_samples_and_repeat_with_their_seed():
    one, two = (Feeder(generated([IMAGE], 64), 16, seed=5, renew=True) for _ in range(2))
    later = two.arrays(9)["image"]
    steps = [one.arrays(s)["image"] for s in range(12)]
    assert np.array_equal(later, steps[9])
    assert len({x.tobytes() for batch in steps for x in batch}) == 12 * 16


def test_given_samples_stay_the_same():
    plain, renewed = (Feeder(kinds_of_images(), 16, seed=5, renew=r) for r in (False, True))
    assert np.array_equal(plain.arrays(20)["image"], renewed.arrays(20)["image"])


def test_labels_belong_to_their_images():
    data = kinds_of_images()
    feeder = Feeder(data, 16, seed=0)
    assert np.array_equal(feeder.labels(3), data.labels[feeder.indices(3)])


def test_what_is_made_ahead_comes_in_order():
    assert list(ahead(lambda i: i * i, 2, 6)) == [4, 9, 16, 25]


def test_what_goes_wrong_ahead_is_raised_at_its_turn():
    items = ahead(lambda i: 1 // (2 - i), 0, 5)
    assert [next(items), next(items)] == [0, 1]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_a_closed_iterator_leaves_no_thread():
    before = threading.active_count()
    items = ahead(lambda i: i, 0, 10**9)
    next(items)
    items.close()
    assert threading.active_count() == before
