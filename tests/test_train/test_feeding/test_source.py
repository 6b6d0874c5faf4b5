"""What a step reads: the teacher's answers are for these inputs, whatever became of the samples."""

import numpy as np
import pytest

from pfir.artifact import TensorSpec
from pfir.data.generated import generated
from pfir.passes.distillation.attach_teacher import attach_teacher
from pfir.run.session import Session
from pfir.train.feeding.source import VIEWS, Source
from pfir.train.settings import Settings
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier

GENERATED = generated([TensorSpec("image", "float32", ("N", 3, 8, 8))], 48)
WAYS = {
    "as they are": (kinds_of_images(48), {}),
    "moved": (kinds_of_images(48), {"augment": "flip-crop"}),
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
