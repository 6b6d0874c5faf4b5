"""Settings out of range are refused before any work."""

import pytest

from pfir.errors import UsageError
from pfir.train.settings import Settings

WRONG = [
    {"epochs": 0},
    {"batch": 0},
    {"learning_rate": 0},
    {"learning_rate": float("nan")},
    {"learning_rate": float("inf")},
    {"accumulate": 0},
    {"optimizer": "lion"},
    {"schedule": "linear"},
    {"milestones": (0.5, 0.5)},
    {"milestones": (0.5, 1.0)},
    {"factor": 1.0},
    {"ema": 1.0},
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


def test_every_setting_that_changes_the_result_is_part_of_its_identity():
    plain = Settings().identity()
    changes = {"optimizer": "adamw", "schedule": "step", "milestones": (0.3,), "factor": 0.5, "ema": 0.9, "batch": 64}
    assert all(Settings(**{name: value}).identity() != plain for name, value in changes.items())
    assert Settings(accumulate=2).identity() != plain and Settings(accumulate=2).samples_per_step == 256


def test_threads_are_no_part_of_what_decides_the_result():
    assert Settings(jobs=1).identity() == Settings(jobs=8).identity() != Settings(seed=1).identity()
