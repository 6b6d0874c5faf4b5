"""Settings of every test run: the same examples each time, no time limits, nothing stored."""

import gc
from pathlib import Path

import pytest
from hypothesis import settings

from pfir.backends.tvm.tuning import database

settings.register_profile("pfir", derandomize=True, deadline=None, database=None)
settings.load_profile("pfir")


@pytest.fixture(autouse=True, scope="session")
def no_measured_kernels_of_the_users():
    """What whoever runs the tests has tuned changes no library of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "user_file", lambda: Path("/nowhere/kernels.json"))
        yield


@pytest.fixture(autouse=True, scope="module")
def what_lives_on_is_passed_over_by_collections():
    """Each stage of a run collects, which takes long beside ten thousand tests and all modules that they import."""
    gc.collect()
    gc.freeze()
