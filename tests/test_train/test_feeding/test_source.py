"""What a step reads: the teacher's answers are for these inputs, whatever became of the samples."""

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.errors import UsageError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.run.session import Session
from pfir.train.feeding.mixing import Mixing
from pfir.train.feeding.source import VIEWS, Source
from pfir.train.settings import Settings
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier

GENERATED = generated([TensorSpec("image", "float32", ("N", 3, 8, 8))], 48)
WAYS = {
    "as they are": (kinds_of_images(48), {}),
    "moved": (kinds_of_images(48), {"augment": "flip-crop"}),
    "mixed": (kinds_of_images(48), {"mixing": Mixing(0.3, 1.0)}),
    "moved and mixed": (kinds_of_images(48), {"augment": "flip-crop", "mixing": Mixing(mixup=1.0)}),
    "renewed and mixed": (GENERATED, {"renew": True, "mixing": Mixing(cutmix=1.0)}),
    "generated": (GENERATED, {}),
    "renewed": (GENERATED, {"renew": True}),
}


@pytest.mark.parametrize("way", WAYS)
def test_the_teacher_answers_for_what_the_student_sees(way):
    data, chosen = WAYS[way]
    teacher = classifier(seed=1, norm=False)
    source = Source(attach_teacher(classifier(), teacher), data, Settings(batch=16, jobs=1, **chosen))
    session = Session(teacher)
    for feeds in source.feeds(0, (VIEWS + 2) * source.steps_per_epoch):
        answers = session.predict({"image": feeds["image"]})["logits"]
        np.testing.assert_allclose(feeds["pfir_loss_teacher_logits"], answers, rtol=1e-5, atol=1e-5)
    source.close()


def labelled(two=True, **chosen):
    settings = DistillationSettings(label_weight=1.0, mixed=two)
    return Source(attach_teacher(classifier(), None, settings), kinds_of_images(48), Settings(batch=16, **chosen))


def test_mixed_samples_have_two_labels_and_a_share():
    data = kinds_of_images(48)
    images = data.batch(np.arange(48))["image"]
    source = labelled(mixing=Mixing(mixup=1.0))
    for feeds in source.feeds(0, 6):
        first, second, share = (feeds[f"pfir_loss_{n}"] for n in ("labels", "label_partners", "label_shares"))
        for image, a, b, s in zip(feeds["image"], first, second, share, strict=True):
            left = [(image - s * x) / max(1 - s, 1e-3) for x in images[data.labels == a]]
            others = images[data.labels == b]
            assert min(np.abs(x - y).max() for x in left for y in others) < 1e-2 or s > 0.999


def test_a_sample_is_mixed_in_as_many_ways_as_there_are_views():
    source = Source(
        attach_teacher(classifier(), classifier(seed=1)), kinds_of_images(16), Settings(batch=16, mixing=Mixing(0.5))
    )
    seen = [np.sort(feeds["image"].sum((1, 2, 3))) for feeds in source.feeds(0, VIEWS + 1)]
    source.close()
    np.testing.assert_allclose(seen[VIEWS], seen[0], rtol=1e-4)
    assert not np.allclose(seen[1], seen[0], rtol=1e-4)


@pytest.mark.parametrize(
    ("two", "mixing", "said"), [(False, Mixing(1.0), "takes one label"), (True, Mixing(), "takes two labels")]
)
def test_a_loss_of_one_label_takes_no_mixed_samples_nor_the_reverse(two, mixing, said):
    with pytest.raises(UsageError, match=said):
        labelled(two, mixing=mixing)


def test_images_with_values_are_not_moved():
    data = kinds_of_images(48)
    data.targets = np.zeros((48, 5), np.float32)
    graph = attach_teacher(classifier(), None, DistillationSettings(target_weight=1.0))
    with pytest.raises(UsageError, match="augment is flip-crop; values of moved images would move too"):
        Source(graph, data, Settings(batch=16, augment="flip-crop"))
    (feeds,) = Source(graph, data, Settings(batch=16)).feeds(0, 1)
    assert feeds["pfir_loss_targets"].shape == (16, 5)
