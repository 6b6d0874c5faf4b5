"""Settings out of range are refused before any work."""

import pytest

from pfir.errors import UsageError
from pfir.train.settings import Settings

WRONG = [
    {"epochs": 0},
    {"batch": 0},
    {"learning_rate": 0},
    {"learning_rate": float("nan")},
    {"momentum": 1.0},
    {"weight_decay": -1},
    {"warmup_share": 1.0},
    {"clip": 0},
    {"time_budget_s": -1},
    {"jobs": 0},
    {"augment": "twirl"},
    {"engine": "jax"},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_values_out_of_range_are_refused_by_name(wrong):
    with pytest.raises(UsageError, match=f"{next(iter(wrong))} is"):
        Settings(**wrong)


def test_threads_are_no_part_of_what_decides_the_result():
    assert Settings(jobs=1).identity() == Settings(jobs=8).identity() != Settings(seed=1).identity()
