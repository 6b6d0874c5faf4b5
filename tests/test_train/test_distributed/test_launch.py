"""Training in processes that torchrun starts: what one learns, and what becomes of them when one dies."""

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

pytest.importorskip("torch", reason="processes are joined by torch.distributed")

from pfir.errors import DataError, UsageError, WorkerError
from pfir.passes.distillation.attach_teacher import DistillationSettings, attach_teacher
from pfir.train.distributed.compression.choice import hook_named
from pfir.train.distributed.group import Group
from pfir.train.distributed.job import Places
from pfir.train.distributed.launch import failure, fit_in
from pfir.train.distributed.processes import ONE, Processes
from pfir.train.distributed.worker import tell_error
from pfir.train.fitting.judges import Judges
from pfir.train.settings import Settings
from pfir.train.trainer import fit
from tests.support.samples import kinds_of_images
from tests.support.small_nets import classifier
from tests.support.together import together

ROOT = Path(__file__).resolve().parents[3]
FAST = Settings(epochs=4, batch=32, learning_rate=0.1, jobs=2, clip=None)
TWO = Processes(2)


def graph_of(frozen=True):
    return attach_teacher(classifier(), None, DistillationSettings(label_weight=1.0, frozen_batch_norm=frozen))


def at(folder, processes=TWO):
    return dataclasses.replace(processes, folder=folder)


def near(a, b, within=1e-6):
    return a.keys() == b.keys() and all(np.abs(a[n] - b[n]).max() < within for n in a)


def test_one_process_is_this_one(tmp_path):
    result = fit_in(at(tmp_path / "job", ONE), graph_of(), kinds_of_images(), FAST)
    assert near(result.arrays, fit(graph_of(), kinds_of_images(), FAST).arrays, 1e-30)
    assert not (tmp_path / "job").exists()


def test_a_job_learns_by_low_rank_gradients_and_leaves_no_process_behind_where_it_is_interrupted(tmp_path):
    found, losses = [], []
    settings = dataclasses.replace(FAST, epochs=4000, learning_rate=0.05, warmup_share=0.0, engine="torch")

    def interrupt(progress):
        losses.append(progress.loss)
        if progress.loss < 0.8 * losses[0]:
            found.extend(workers_of(tmp_path / "job"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_in(at(tmp_path / "job", Processes(2, "powersgd")), graph_of(), kinds_of_images(), settings, interrupt)
    assert len(found) == 2 and not any(map(psutil.pid_exists, found))


def test_a_job_whose_worker_is_killed_ends_with_one_line_and_goes_on_with_the_same_bits(tmp_path):
    settings = dataclasses.replace(
        FAST, batch=31, checkpoint=tmp_path / "state.npz", checkpoint_every_s=0.0, epochs=100
    )
    two, victims, steps = at(tmp_path / "job", Processes(2, "ecq")), [], []

    def kill(progress):
        if not victims and progress.step > 3:
            victims.extend(workers_of(tmp_path / "job"))
            os.kill(max(victims), signal.SIGKILL)

    with pytest.raises(WorkerError, match=r"^training process \d of 2 was killed by SIGKILL; go on from the last .*$"):
        fit_in(two, graph_of(), kinds_of_images(), settings, kill)
    assert len(victims) == 2 and not any(map(psutil.pid_exists, victims))
    resumed = fit_in(two, graph_of(), kinds_of_images(), settings, lambda p: steps.append(p.step))
    assert steps[0] > 3 and resumed.notes[0].startswith("a batch has 32 samples in place of 31")
    plain = dataclasses.replace(settings, batch=32, jobs=1, checkpoint=None)
    whole = together(2, lambda c: fit(graph_of(), kinds_of_images(), plain, workers=Group(c, hook_named("ecq"))))
    assert all(np.array_equal(resumed.arrays[n], x) for n, x in whole[0].arrays.items())
    assert not (tmp_path / "job").exists()


def test_processes_of_two_machines_with_half_the_batch_each_are_one_with_all_of_it(tmp_path):
    """Those of the other machine are started by hand."""
    settings, told = dataclasses.replace(FAST, batch=128), []
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torchrun = f"--nnodes 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:{port} --local-addr 127.0.0.1"
    worker = ["-m", "pfir.train.distributed.worker", str(tmp_path / "job")]
    other = [sys.executable, "-m", "torch.distributed.run", *torchrun.split(), "--nproc-per-node", "1", *worker]

    def learnt(processes, tell):
        scores = iter([0.1, 0.9, 0.3, 0.2])
        job, judges = at(tmp_path / "job", processes), Judges(lambda arrays: next(scores))
        return fit_in(job, graph_of(frozen=False), kinds_of_images(256), settings, tell, judges)

    with subprocess.Popen(other, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as joining:
        try:
            two = learnt(Processes(1, torchrun=torchrun), told.append)
        finally:
            joining.terminate()
    one = learnt(ONE, lambda progress: None)
    assert near(two.arrays, one.arrays) and two.best_epoch == one.best_epoch == 2
    assert np.allclose([e["loss"] for e in two.curve], [e["loss"] for e in one.curve], atol=1e-6)
    assert told[-1].step == told[-1].steps == 8 and (two.processes, one.processes) == (2, 1)


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty, and holds no training job"):
        fit_in(at(tmp_path), graph_of(), kinds_of_images(), FAST)
    assert (tmp_path / "mine.txt").exists()


@pytest.mark.parametrize(
    "code,said",
    [
        (75, "training process 1 of 2 ended because one on another machine did"),
        (-64, "was killed by signal 64|was killed by SIGRTMAX"),
        (3, r"ended with exit code 3 \(it said this\)"),
    ],
)
def test_a_failure_says_how_a_process_ended(tmp_path, code, said):
    places = Places(tmp_path)
    places.log.write_text("something\nit said this\n\n")
    places.failure.write_text(json.dumps({"rank": 1, "code": code}))
    with pytest.raises(WorkerError, match=f"{said}.*; there is no checkpoint yet"):
        raise failure(places, TWO, FAST)


def test_an_error_of_ours_in_a_worker_is_raised_here(tmp_path):
    places = Places(tmp_path)
    places.failure.write_text(json.dumps({"rank": 1, "code": 3}))
    tell_error(places, 1, "DataError", "the loss needs labels")
    with pytest.raises(DataError, match="^the loss needs labels$"):
        raise failure(places, TWO, FAST)


def test_what_torchrun_says_where_it_starts_no_worker_is_told(tmp_path):
    places = Places(tmp_path)
    places.log.write_text("usage: torchrun\ntorchrun: error: unrecognized arguments: --nodes-of-mine\n")
    with pytest.raises(WorkerError, match="torchrun ended before the training did: .*--nodes-of-mine$"):
        raise failure(places, TWO, FAST)


def workers_of(job: Path) -> list[int]:
    """The processes that train in this folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if (
            "pfir.train.distributed.worker" in words
            and "pfir.train.distributed.launcher" not in words
            and str(job) in words
        ):
            found.append(process.pid)
    return found
