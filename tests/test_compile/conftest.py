"""The fixtures of whole runs; models are tried in this process."""

import pytest

from tests.support.job_fixtures import copied, data, finished, model, place, plain, report, runs_are_short
from tests.support.jobs import trials_here

__all__ = ["copied", "data", "finished", "model", "place", "plain", "report", "runs_are_short"]


@pytest.fixture(scope="package", autouse=True)
def models_are_tried_here():
    with trials_here():
        yield
