"""What a worker makes of the settings of all, and how it ends."""

import json
import sys

import pytest

from pfir.errors import DataError, WorkerError
from pfir.train.distributed import worker as module
from pfir.train.distributed.job import Job
from pfir.train.distributed.worker import LEAST_S, LOST, main, notes_on, shared
from pfir.train.settings import Settings


def test_what_it_took_to_start_comes_out_of_the_time_budget():
    assert shared(Settings(time_budget_s=60.0), 2, 4.0).time_budget_s == 56.0
    assert shared(Settings(time_budget_s=3.0), 2, 4.0).time_budget_s == LEAST_S
    assert shared(Settings(), 2, 4.0).time_budget_s is None


@pytest.mark.parametrize("count,batch", [(1, 30), (2, 30), (4, 32)])
def test_a_batch_grows_until_all_can_share_it(count, batch):
    assert shared(Settings(batch=30), count, 0.0).batch == batch


@pytest.mark.parametrize(
    ("batch", "compress", "said"), [(32, "none", []), (31, "none", [31]), (31, "ecq", [31, "ecq"])]
)
def test_what_is_otherwise_than_in_one_process_is_noted(batch, compress, said):
    job = Job(None, None, Settings(batch=batch), compress)
    notes = notes_on(job, shared(job.settings, 2, 0.0).batch)
    assert len(notes) == len(said) and all(str(word) in note for word, note in zip(said, notes, strict=True))


@pytest.mark.parametrize(
    "error,code,told",
    [
        (DataError("no data"), 3, {"type": "DataError", "text": "no data"}),
        (WorkerError("lost the other workers"), LOST, None),
        (KeyError("w"), None, {"type": "WorkerError", "text": "training process 1 failed: KeyError: 'w'"}),
    ],
)
def test_an_error_is_left_for_the_process_that_waits(tmp_path, monkeypatch, error, code, told):
    def fail(places):
        raise error

    def leave(code):
        raise SystemExit(code)

    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path)])
    monkeypatch.setenv("RANK", "1")
    for name, replaced in {"take_part": fail, "leave": leave, "end_with_parent": lambda how: None}.items():
        monkeypatch.setattr(module, name, replaced)
    with pytest.raises(KeyError if code is None else SystemExit) as ended:
        main()
    assert code is None or ended.value.code == code
    left = list(tmp_path.glob("error.1.json"))
    assert [json.loads(path.read_text()) for path in left] == ([] if told is None else [told])
