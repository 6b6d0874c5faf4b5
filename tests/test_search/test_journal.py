import json
from pathlib import Path

import numpy as np
import pytest

from pfir.errors import UsageError
from pfir.search.journal import Journal
from pfir.search.problem import Trial
from pfir.space import Parameter, Space
from tests.test_search.problems import SPACE

NONE = dict.fromkeys(SPACE.names, 0.0)
TRIALS = tuple(
    Trial(i, NONE | {"g0": 0.1 * i}, NONE | {"g0": 0.2}, 0.5, None if i == 1 else -0.1, {"f": 1.0}, 2.5)
    for i in range(3)
)


@pytest.fixture
def path(tmp_path):
    book = Journal(tmp_path / "search.jsonl", "f", SPACE)
    for trial in TRIALS:
        book.append(trial)
    book.close()
    return tmp_path / "search.jsonl"


def read(path, fingerprint="f", space=SPACE):
    book = Journal(path, fingerprint, space)
    book.close()
    return book.trials


def test_trials_come_back_as_they_were(path):
    assert read(path) == TRIALS


def test_a_journal_grows_over_several_runs(path):
    book = Journal(path, "f", SPACE)
    book.append(Trial(3, NONE, NONE, 1.0, 2.0))
    book.close()
    assert [t.number for t in read(path)] == [0, 1, 2, 3]


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_torn_last_line_is_dropped_and_written_over(path, cut):
    path.write_bytes(path.read_bytes()[:-cut])
    book = Journal(path, "f", SPACE)
    assert book.trials == TRIALS[:2]
    book.append(TRIALS[2])
    book.close()
    assert read(path) == TRIALS


def test_a_last_line_of_zeros_is_dropped(path):
    path.write_bytes(path.read_bytes() + bytes(20) + b"\n")
    assert read(path) == TRIALS
    assert read(path) == TRIALS


def test_numpy_numbers_are_kept_as_plain_ones(tmp_path):
    book = Journal(tmp_path / "j", "f", SPACE)
    book.append(Trial(0, NONE, NONE, 1.0, 0.5, {"agreement": np.float32(0.5), "hits": np.int64(3)}))
    with pytest.raises(TypeError, match="does not fit into JSON"):
        book.append(Trial(1, NONE, NONE, 1.0, 0.5, {"agreement": object()}))
    book.close()
    assert read(tmp_path / "j")[0].details == {"agreement": 0.5, "hits": 3}


def test_the_journal_of_another_problem_is_refused(path):
    with pytest.raises(UsageError, match="another problem"):
        read(path, "g")
    with pytest.raises(UsageError, match="another problem"):
        read(path, space=Space((Parameter("h", 0, 1, 0),)))


def test_a_file_that_is_no_journal_is_refused_and_kept(tmp_path):
    (tmp_path / "j").write_text("hello\n")
    with pytest.raises(UsageError, match="no search journal"):
        read(tmp_path / "j")
    assert (tmp_path / "j").read_text() == "hello\n"


@pytest.mark.parametrize(
    "change",
    [
        {"score": "NaN"},
        {"score": float("nan")},
        {"cost": None},
        {"details": 1e308},
        {"parameters": 3},
        {"parameters": {}},
        {"asked": {**NONE, "g0": []}},
        {"number": "0"},
        {"seconds": 10**400},
        {"more": 1},
    ],
)
def test_a_line_whose_values_are_none_of_a_trial_is_refused(path, change):
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], json.dumps(json.loads(lines[1]) | change), *lines[2:], ""]))
    with pytest.raises(UsageError, match="line 2 is damaged"):
        read(path)


@pytest.mark.parametrize("damage", [b"{damage}\n", b"[" * 100_000 + b"\n", b"\xff\n"])
def test_a_damaged_line_is_refused_by_number(path, damage):
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], damage, *lines[2:]]))
    with pytest.raises(UsageError, match="line 2 is damaged"):
        read(path)


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(UsageError, match="cannot be written"):
        read(tmp_path / "absent" / "j")
    with pytest.raises(UsageError, match="cannot be read"):
        read(tmp_path)


def test_a_full_disk_is_one_clear_line(tmp_path):
    book = Journal(tmp_path / "j", "f", SPACE)
    book.close()
    with Path("/dev/full").open("wb", buffering=0) as book._file, pytest.raises(UsageError, match="No space left"):
        book.append(TRIALS[0])
