"""A job on disk is the job that was written."""

import dataclasses

import numpy as np

from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.distributed.job import Job
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import kinds_of_images
from tests.support.small_nets import after_conv, classifier


def test_a_job_trains_as_the_one_that_was_written(tmp_path):
    settings = Settings(epochs=2, batch=32, jobs=1, augment="flip-crop", checkpoint=tmp_path / "state.npz")
    graph = attach_teacher(classifier(), classifier(seed=1), DistillationSettings(label_weight=1.0))
    job = Job(graph, kinds_of_images(), settings, "ecq", True)
    (tmp_path / "job").mkdir()
    job.write(tmp_path / "job")
    back = Job.read(tmp_path / "job")
    assert (back.settings, back.compress, back.evaluates) == (settings, "ecq", True)
    assert dataclasses.replace(back.graph, model=graph.model, teacher=graph.teacher) == graph
    plain = dataclasses.replace(settings, checkpoint=None)
    one, other = (fit(j.graph, j.data, plain).arrays for j in (job, back))
    assert all(np.array_equal(one[n], other[n]) for n in one)


def test_a_job_without_teacher_or_checkpoint_has_none(tmp_path):
    graph = attach_teacher(after_conv("Relu"), after_conv("Relu"))
    Job(dataclasses.replace(graph, teacher=None), kinds_of_images(size=6, labelled=False), Settings(), "none").write(
        tmp_path
    )
    back = Job.read(tmp_path)
    assert back.graph.teacher is None and back.settings.checkpoint is None and back.data.labels is None
